"""Where the pixels of a batch come from: image i of a list of files, of records, or of a source of one's own."""

from __future__ import annotations

from typing import Callable, Protocol, Union

import numpy as np

from mxml.data.image_list import ImageList
from mxml.errors import ImageError
from mxml.images.decode import Limits, Pixels, decode_reduced, read_file, reduced
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()

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
    """Images that are files under a root; a source for ``Batches``.

    Parameters
    ----------
    images : ImageList
        Their paths; its labels are not used.
    """

    def __init__(self, images: ImageList):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def name(self, position: int) -> str:
        """Return the path of one image.

        Parameters
        ----------
        position : int
            The image's position in the list, from 0.

        Returns
        -------
        str
        """
        return self._images.path(position)

    def read(self, position: int, limits: Limits) -> bytes:
        """Return the content of one image file.

        Parameters
        ----------
        position : int
            The image's position in the list, from 0.
        limits : Limits
            How large the file may be.

        Returns
        -------
        bytes

        Raises
        ------
        ImageError
            If the file is missing, too large or not a regular file.
        """
        return read_file(self._images.path(position), limits)


class ChosenImages:
    """Some images of a source, as a source of their own: those at ``positions``, (n,) int64."""

    def __init__(self, source: ImageSource, positions: np.ndarray):
        self._source = source
        self._positions = positions

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self._positions)

    def name(self, position: int) -> str:
        """Return what messages call the image."""
        return self._source.name(int(self._positions[position]))

    def read(self, position: int, limits: Limits) -> ImageContent:
        """Return the image as it is stored. Raises ImageError for one that cannot be read."""
        return self._source.read(int(self._positions[position]), limits)


def to_pixels(content: ImageContent, reduction_for: Callable[[int, int], int], limits: Limits, name: str) -> Pixels:
    """Decode bytes as ``decode_reduced`` does, or reduce pixels that are there already.

    Raises ImageError, with ``name``, for bytes that cannot be decoded and for an array that is no RGB image.
    """
    if not isinstance(content, np.ndarray):
        return decode_reduced(content, reduction_for, limits=limits, path=name)
    if content.dtype != np.uint8 or content.ndim != 3 or content.shape[2] != 3 or not content.size:
        shape = " x ".join(map(str, content.shape)) or "one number"
        raise ImageError(f"is an array of {shape} {content.dtype}, should be (height, width, 3) uint8, RGB", name)
    height, width = content.shape[:2]
    if width * height > limits.max_pixels:
        raise ImageError(
            f"has {width:,} x {height:,} pixels, more than the {limits.max_pixels:,} pixels allowed", name, "too_large"
        )
    reduction = reduction_for(width, height)
    smaller = reduced(np.ascontiguousarray(content), reduction)
    return Pixels(cv2.cvtColor(smaller, cv2.COLOR_RGB2BGR), (width, height), reduction)
