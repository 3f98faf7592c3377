"""Making the teacher, and its logits."""
