"""From image i of a source to a row of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from mxml.data.image_cache import ImageCache
from mxml.data.image_sources import ImageSource, to_pixels
from mxml.images.decode import Limits, Pixels
from mxml.images.network_input import Plan


class RowTransform(Protocol):
    """Makes a row of a batch from an image, as ``Transform`` does."""

    def plan(self, width: int, height: int, draws: Any = None) -> Plan:
        """Decide what happens to an image of that size."""

    def write(self, image: np.ndarray, plan: Plan, out: np.ndarray) -> None:
        """Write the row."""


class RowLoader(Protocol):
    """Brings images into the rows of a batch."""

    def load(self, position: int, draws: np.ndarray, out: np.ndarray) -> Any:
        """Load one image in a thread; raises ImageError."""

    def finish(self, loaded: Sequence[Any], data: np.ndarray) -> None:
        """Do what is left to do, in the thread that asks for the batch.

        ``loaded`` has for each row what ``load`` returned, or its ImageError.
        """


class TransformLoader:
    """Reads an image, decodes it and writes it as its transform says."""

    def __init__(self, source: ImageSource, transform: RowTransform, limits: Limits, cache: ImageCache):
        self._source = source
        self._transform = transform
        self._limits = limits
        self._cache = cache

    def load(self, position: int, draws: np.ndarray, out: np.ndarray) -> None:
        """Write one row."""
        pixels = self._cache.get(position)
        if pixels is not None:
            plan = self._transform.plan(*pixels.size, draws)
            if plan.reduction == pixels.reduction:
                self._transform.write(pixels.bgr, plan, out)
                return
        pixels = self._read(position, draws)
        self._cache.put(position, pixels)
        self._transform.write(pixels.bgr, self._transform.plan(*pixels.size, draws), out)

    def finish(self, loaded: Sequence[Any], data: np.ndarray) -> None:
        """Do nothing: the rows are written."""

    def _read(self, position: int, draws: np.ndarray) -> Pixels:
        return to_pixels(
            self._source.read(position, self._limits),
            lambda width, height: self._transform.plan(width, height, draws).reduction,
            self._limits,
            self._source.name(position),
        )
