"""Where the pixels of a batch come from: image i of a list of files, of records, or of what is in memory."""

from __future__ import annotations

from typing import Protocol, Union

import numpy as np

from mxml.data.image_list import ImageList
from mxml.images.decode import Limits, read_file

ImageContent = Union[bytes, np.ndarray]
"""The bytes of an image file, or RGB pixels (H, W, 3) uint8."""


class ImageSource(Protocol):
    """Gives the images of a list by their position; threads share it."""

    def __len__(self) -> int:
        """Return how many images there are."""

    def name(self, position: int) -> str:
        """Return what messages call the image."""

    def read(self, position: int, limits: Limits) -> ImageContent:
        """Return the image as it is stored. Raises ImageError, with ``name``, for one that cannot be read."""


class ImageFiles:
    """Images that are files under a root."""

    def __init__(self, images: ImageList):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def name(self, position: int) -> str:
        """Return the path."""
        return self._images.path(position)

    def read(self, position: int, limits: Limits) -> bytes:
        """Return the file's content."""
        return read_file(self._images.path(position), limits)
