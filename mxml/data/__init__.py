"""Lists, label names and batches."""
