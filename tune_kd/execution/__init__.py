"""Does on Ray what tuning decides."""
