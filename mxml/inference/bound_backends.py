"""The backends that a classifier has bound, one for each size of images."""

from __future__ import annotations

import threading
from typing import Callable

from mxml.images.transforms import Preprocess
from mxml.inference.backend import Backend

Binder = Callable[[Preprocess, int], Backend]
"""Binds a network for inputs as the preprocessing makes them, for batches of so many images."""


class BoundBackends:
    """Binds backends when they are asked for, and keeps the last one of each size; several threads may ask."""

    def __init__(self, bind: Binder):
        self._bind = bind
        self._bound: dict[tuple[int, int, int], tuple[int, Backend]] = {}
        self._binding = threading.Lock()

    def backend(self, preprocess: Preprocess, count: int) -> Backend:
        """Return one for batches of ``count`` images: the bound one, unless it is far larger or smaller."""
        size = preprocess.data_shape
        with self._binding:
            if size not in self._bound or not count <= self._bound[size][0] <= 2 * count:
                # Its memory first.
                self._bound.pop(size, None)
                self._bound[size] = (count, self._bind(preprocess, count))
            return self._bound[size][1]
