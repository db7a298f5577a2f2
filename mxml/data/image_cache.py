"""Decoded images kept in memory, up to a budget."""

from __future__ import annotations

import threading

from mxml.errors import SettingError
from mxml.images.decode import Pixels


class ImageCache:
    """Keeps the first images it is given until ``budget`` bytes are full, and lets none go.

    An epoch visits every image once, in an order of its own: dropping one for another would gain nothing. Threads may
    share it. A file that changes on disk is not read again.
    """

    def __init__(self, budget: int):
        if budget < 0:
            raise SettingError("cache_bytes", budget, "at least 0")
        self._left = budget
        self._images: dict[int, Pixels] = {}
        self._lock = threading.Lock()

    def get(self, position: int) -> Pixels | None:
        """Return what is kept for a position of the list."""
        return self._images.get(position)

    def put(self, position: int, image: Pixels) -> None:
        """Keep an image, if there is none for this position and room is left."""
        with self._lock:
            if position not in self._images and image.bgr.nbytes <= self._left:
                self._left -= image.bgr.nbytes
                self._images[position] = image
