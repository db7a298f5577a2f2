"""Some of the images of an input stream: those that are not left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

from mxml.data.image_stream import StreamItem
from mxml.errors import ImageError
from mxml.inference.inputs import InputStream
from mxml.progress import SILENT, Progress


class SelectedInputs:
    """The images of ``stream`` but for those whose name ``skip`` returns True for, which nothing reads.

    ``skip`` is called once per image, in their order. ``count`` is that of all images, since only reading the stream
    tells how many are left; those that are left out count as done. ``faults`` has the positions among those that stay.
    """

    def __init__(self, stream: InputStream, skip: Callable[[str], bool], progress: Progress = SILENT):
        self.count = stream.count
        self.faults: dict[int, ImageError] = {}
        self._stream = stream
        self._skip = skip
        self._progress = progress

    def __iter__(self) -> Iterator[StreamItem]:
        taken = 0
        for position, item in enumerate(self._stream):
            if self._skip(item.name):
                self._progress.advance()
                continue
            if position in self._stream.faults:
                self.faults[taken] = self._stream.faults[position]
            taken += 1
            yield item
