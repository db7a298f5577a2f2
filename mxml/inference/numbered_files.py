"""Numbered files for drawn images, as jetson-inference names them: ``tagging_%i.jpg``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from mxml import atomic
from mxml.errors import StorageError
from mxml.inference.named_output import files_called

_NUMBERED = re.compile(r"%(0?[1-9]?)[id](?=[^%/]*\.(?:jpe?g|png)$)", re.IGNORECASE)


class NumberedFiles:
    """The files ``pattern`` % 0, ``pattern`` % 1, ... in the order of the images; their folder is made.

    Raises StorageError where it cannot be made.
    """

    def __init__(self, pattern: str):
        self._pattern = pattern
        self._next = 0
        self._folder = os.path.realpath(os.path.dirname(pattern))
        self._names = _names(pattern)
        atomic.make_folder(os.path.dirname(pattern))

    def following(self, path: str) -> str:
        """Return the next file, for the drawing of the image at ``path``.

        Raises StorageError for an image that is called like the files: they would replace it, or others like it.
        """
        if self._names.fullmatch(os.path.basename(path)) and os.path.realpath(os.path.dirname(path)) == self._folder:
            raise StorageError(
                f"{path}: is called like the pictures {self._pattern}, which would replace such images; give them "
                "another name or folder"
            )
        number, self._next = self._next, self._next + 1
        return _numbered(self._pattern, number)


def first_numbered(pattern: str) -> str:
    """Return the first picture that ``NumberedFiles`` names."""
    return _numbered(pattern, 0)


def existing_numbered(pattern: str) -> list[str]:
    """Return the files that are called like the pictures of ``pattern``."""
    return files_called(os.path.dirname(pattern), _names(pattern))


def split_numbered(inputs: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """Return the inputs without a last one that names numbered pictures, and that one or None.

    ``%i``, ``%d`` and ``%03i`` stand for the number; the name ends in .jpg, .jpeg or .png. An image of this very name
    is an input.
    """
    if inputs and _NUMBERED.search(inputs[-1]) and not os.path.exists(inputs[-1]):
        return tuple(inputs[:-1]), inputs[-1]
    return tuple(inputs), None


def _numbered(pattern: str, number: int) -> str:
    return _NUMBERED.sub(lambda match: f"{number:{match[1]}d}", pattern)


def _names(pattern: str) -> re.Pattern[str]:
    return re.compile(r"\d+".join(map(re.escape, _NUMBERED.split(os.path.basename(pattern))[::2])))
