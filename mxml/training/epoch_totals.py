"""Sums over the batches of an epoch, from which its training metrics come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mxml.model.losses import Loss, Settings


class EpochTotals:
    """Loss, right answers, known labels (or images with a known single label), seconds and images of an epoch so far.

    ``loss`` is what the network is trained with, under ``settings``. ``sums`` is what a pause stores; ``start`` gives
    one back.
    """

    def __init__(self, loss: Loss, settings: Settings, start: Mapping[str, float] | None = None):
        self._loss = loss
        self._settings = settings
        self.sums = {"loss": 0.0, "right": 0.0, "known": 0.0, "seconds": 0.0, "images": 0.0, **(start or {})}

    def add(self, logits: np.ndarray, labels: np.ndarray, images: int) -> float:
        """Add one batch and return its mean loss per known label, or per image with a single one."""
        loss, known = self._loss.value(logits, labels, self._settings)
        self.sums["loss"] += loss
        self.sums["right"] += self._right(logits, labels)
        self.sums["known"] += known
        self.sums["images"] += images
        return loss / known if known else 0.0

    def _right(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """Count the right answers: of a soft label as much as it gives to the answer; a hard one is right or wrong."""
        known = labels >= 0
        if self._loss.single_label:
            chosen = labels[np.arange(len(labels)), logits.argmax(axis=1)]
            return float(chosen[known.all(axis=1)].sum(dtype=np.float64))
        return float(np.where(logits >= 0, labels, 1 - labels)[known].sum(dtype=np.float64))

    def metrics(self) -> dict[str, Any]:
        """Return the training metrics of the epoch."""
        sums = self.sums
        return {
            "train_loss": sums["loss"] / max(1.0, sums["known"]),
            "train_accuracy": sums["right"] / max(1.0, sums["known"]),
            "seconds": round(sums["seconds"], 3),
            "images_per_second": round(sums["images"] / max(1e-9, sums["seconds"]), 2),
        }
