"""Searches on a shared cluster: sent there as jobs, and taking turns."""
