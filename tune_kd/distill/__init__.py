"""Losses that pass a teacher's knowledge to a student."""
