"""From a checkpoint and images to predictions and metrics."""
