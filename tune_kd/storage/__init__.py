"""Where results and checkpoints are kept."""
