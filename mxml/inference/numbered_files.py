"""Numbered files for drawn images, as jetson-inference names them: ``tagging_%i.jpg``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from mxml import atomic

_NUMBERED = re.compile(r"%(0?[1-9]?)[id](?=[^%/]*\.(?:jpe?g|png)$)", re.IGNORECASE)


class NumberedFiles:
    """The files ``pattern`` % 0, ``pattern`` % 1, ... in the order of the images; their folder is made.

    Raises StorageError where it cannot be made.
    """

    def __init__(self, pattern: str):
        self._pattern = pattern
        self._next = 0
        atomic.make_folder(os.path.dirname(pattern))

    def location(self, path: str, frame: int | None = None) -> str:
        """Return the next file, whatever the image is."""
        number, self._next = self._next, self._next + 1
        return _NUMBERED.sub(lambda match: f"{number:{match[1]}d}", self._pattern)


def split_numbered(inputs: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """Return the inputs without a last one that names numbered pictures, and that one or None.

    ``%i``, ``%d`` and ``%03i`` stand for the number; the name ends in .jpg, .jpeg or .png. An image of this very name
    is an input.
    """
    if inputs and _NUMBERED.search(inputs[-1]) and not os.path.exists(inputs[-1]):
        return tuple(inputs[:-1]), inputs[-1]
    return tuple(inputs), None
