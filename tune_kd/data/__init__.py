"""Where images come from, who gets which of them, and how they vary."""
