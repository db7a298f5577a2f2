"""Where drawn images go: images in different folders may have the same name."""

from __future__ import annotations

import os
from collections import Counter

from mxml import atomic
from mxml.inference.prediction import result_name


class DrawingFolder:
    """A folder for drawn images, which is made: each gets a file of its own there, whatever their folders are.

    The files are called NAME_KIND.jpg.

    Raises StorageError where it cannot be made.
    """

    def __init__(self, folder: str, kind: str = "res"):
        self._folder = folder
        self._kind = kind
        self._used: Counter[str] = Counter()
        self._taken: set[str] = set()
        atomic.make_folder(folder)

    def location(self, path: str, frame: int | None = None) -> str:
        """Return NAME_KIND.jpg in the folder; where an earlier image has it, NAME_2_KIND.jpg and so on."""
        first = name = result_name(path, ".jpg", frame=frame, kind=self._kind)
        while name in self._taken:
            self._used[first] += 1
            name = result_name(path, ".jpg", self._used[first] + 1, frame, self._kind)
        self._taken.add(name)
        return os.path.join(self._folder, name)
