"""The interface to what runs a network: a batch of inputs to logits."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Backend(Protocol):
    """A network bound to a device, ready to compute; used from one thread at a time."""

    @property
    def num_classes(self) -> int:
        """Return how many logits an image has."""

    def logits(self, data: np.ndarray) -> np.ndarray:
        """Return the logits (N, C) float32 of inputs (N, 3, H, W) float32, for any N up to the batch size."""
