"""Sums over the batches of an epoch, from which its training metrics come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class EpochTotals:
    """Loss, right answers, known labels, seconds and images of an epoch so far.

    ``sums`` is what a pause stores; ``start`` gives one back.
    """

    def __init__(self, start: Mapping[str, float] | None = None):
        self.sums = {"loss": 0.0, "right": 0.0, "known": 0.0, "seconds": 0.0, "images": 0.0, **(start or {})}

    def add(self, logits: np.ndarray, labels: np.ndarray, images: int) -> float:
        """Add one batch and return its mean loss; softplus(x) - y x per known label, exact for any logit."""
        known = labels >= 0
        x, y = logits[known].astype(np.float64), labels[known].astype(np.float64)
        loss = float((np.logaddexp(0, x) - y * x).sum())
        self.sums["loss"] += loss
        self.sums["right"] += float(((x >= 0) == (y > 0.5)).sum())
        self.sums["known"] += x.size
        self.sums["images"] += images
        return loss / x.size if x.size else 0.0

    def metrics(self) -> dict[str, Any]:
        """Return the training metrics of the epoch."""
        sums = self.sums
        return {
            "train_loss": sums["loss"] / max(1.0, sums["known"]),
            "train_accuracy": sums["right"] / max(1.0, sums["known"]),
            "seconds": round(sums["seconds"], 3),
            "images_per_second": round(sums["images"] / max(1e-9, sums["seconds"]), 2),
        }
