"""The interface to what runs a network: a batch of inputs to logits, and to the features that they are made of."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mxml.evaluation.calibration import Calibration
from mxml.runtime.types import NDArray


class Scorer(Protocol):
    """A network bound to a device, ready to compute logits; used from one thread at a time."""

    @property
    def num_classes(self) -> int:
        """Return how many logits an image has."""

    def logits(self, data: np.ndarray | NDArray) -> np.ndarray:
        """Return the logits (N, C) float32 of inputs (N, 3, H, W) float32, for any N up to the batch size.

        Batches come as MXNet holds them, so that it need not copy them; ``as_numpy`` is for other engines.
        """


class Backend(Scorer, Protocol):
    """A ``Scorer`` that also gives the features."""

    def outputs(self, data: np.ndarray | NDArray) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits as ``logits`` does, and the features (N, D) float32 that the head makes them of."""


class CalibratedBackend:
    """A backend whose logits are calibrated: whatever makes scores of logits then needs to know nothing of it."""

    def __init__(self, backend: Backend, calibration: Calibration):
        self._backend = backend
        self._calibration = calibration

    @property
    def num_classes(self) -> int:
        """Return how many logits an image has."""
        return self._backend.num_classes

    def logits(self, data: np.ndarray | NDArray) -> np.ndarray:
        """Return the calibrated logits (N, C) float32 of inputs (N, 3, H, W) float32."""
        return self._calibration.apply(self._backend.logits(data))

    def outputs(self, data: np.ndarray | NDArray) -> tuple[np.ndarray, np.ndarray]:
        """Return the calibrated logits, and the features as they are."""
        logits, features = self._backend.outputs(data)
        return self._calibration.apply(logits), features


def as_numpy(data: np.ndarray | NDArray) -> np.ndarray:
    """Return inputs as a NumPy array; those that MXNet holds are copied."""
    return data if isinstance(data, np.ndarray) else data.asnumpy()
