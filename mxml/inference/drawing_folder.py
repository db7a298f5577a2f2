"""Where drawn images go: images in different folders may have the same name."""

from __future__ import annotations

import os
from collections import Counter

from mxml import atomic
from mxml.images.picture_file import mark_of
from mxml.inference.prediction import drawing_mark, result_name


class DrawingFolder:
    """A folder for drawn images, which is made: each gets a file of its own there, whatever their folders are.

    The files are called NAME_KIND.jpg, and with ``beside`` there is one of this suffix beside each. A file that is
    there is replaced only where it is an earlier drawing of the same image.

    Raises StorageError where it cannot be made.
    """

    def __init__(self, folder: str, kind: str = "res", beside: str | None = None):
        self._folder = folder
        self._kind = kind
        self._beside = beside
        self._used: Counter[str] = Counter()
        self._taken: set[str] = set()
        atomic.make_folder(folder)
        atomic.require_place(os.path.join(folder, f"NAME_{kind}.jpg"))

    def location(self, path: str, frame: int | None = None) -> str:
        """Return NAME_KIND.jpg in the folder; where another image or file has it, NAME_2_KIND.jpg and so on."""
        first = result_name(path, ".jpg", frame=frame, kind=self._kind)
        number = self._used[first] + 1
        name = result_name(path, ".jpg", number, frame, self._kind)
        while (taken := name in self._taken) or self._is_another(name, path, frame):
            # What this run has taken need not be looked at again; a file may be the drawing of a later image.
            self._used[first] += taken and number == self._used[first] + 1
            number += 1
            name = result_name(path, ".jpg", number, frame, self._kind)
        self._taken.add(name)
        return os.path.join(self._folder, name)

    def _is_another(self, name: str, path: str, frame: int | None) -> bool:
        file = os.path.join(self._folder, name)
        if os.path.lexists(file):
            return mark_of(file) != drawing_mark(path, frame)
        return self._beside is not None and os.path.lexists(os.path.splitext(file)[0] + self._beside)
