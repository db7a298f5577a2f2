"""Where drawn images go: images in different folders may have the same name."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from mxml.errors import StorageError


class DrawingFolder:
    """A folder for drawn images, which is made: each gets a file of its own there, whatever their folders are.

    Raises StorageError where it cannot be made.
    """

    def __init__(self, folder: str):
        self._folder = folder
        self._names: Counter[str] = Counter()
        self._taken: set[str] = set()
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error

    def location(self, path: str) -> str:
        """Return NAME_res.jpg in the folder; where an earlier image has it, NAME_2_res.jpg and so on."""
        stem = Path(path).stem or "image"
        name = ""
        while not name or name in self._taken:
            self._names[stem] += 1
            count = self._names[stem]
            name = f"{stem}_res.jpg" if count == 1 else f"{stem}_{count}_res.jpg"
        self._taken.add(name)
        return os.path.join(self._folder, name)
