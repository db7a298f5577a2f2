"""From lists and a network to a checkpoint."""
