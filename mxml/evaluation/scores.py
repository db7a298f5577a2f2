"""Scores of a whole list, and logits as probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mxml.data.batches import BadImage
from mxml.errors import NotFiniteError


@dataclass(frozen=True, eq=False)
class Scores:
    """A model's scores for each image of a list.

    ``probabilities`` and ``logits`` are (N, C) float32; the rows of images in ``bad``, which could not be read, hold
    NaN.
    """

    probabilities: np.ndarray
    logits: np.ndarray
    bad: tuple[BadImage, ...]

    @property
    def readable(self) -> np.ndarray:
        """Return (N,) bool: False where the image could not be read."""
        readable = np.ones(len(self.probabilities), dtype=bool)
        readable[[image.position for image in self.bad]] = False
        return readable


def probabilities(logits: np.ndarray, single_label: bool = False) -> np.ndarray:
    """Return the sigmoid of logits (N, C), or for single labels their softmax, in their own precision.

    No logits overflow.
    """
    if single_label:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return shares
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, logits.dtype.type(1), small) / (1 + small)


def require_finite(logits: np.ndarray) -> None:
    """Raise NotFiniteError for logits that are not finite."""
    if not np.isfinite(logits).all():
        raise NotFiniteError(
            "the model's output is not finite: its training diverged, or its parameters are damaged; take an earlier "
            "epoch, or train again with a lower learning rate"
        )
