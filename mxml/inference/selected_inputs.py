"""Some of the images of an input stream: those that are not left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

from mxml.data.image_stream import StreamItem
from mxml.inference.inputs import InputStream
from mxml.progress import SILENT, Progress


class SelectedInputs:
    """The images of ``stream`` but for those whose name ``skip`` returns True for, which nothing reads.

    ``skip`` is called once per image, in their order; a frame's name is that of its video, ``#`` and its number.
    ``count`` is that of all images, since only reading the stream tells how many are left; those that are left out
    count as done.
    """

    def __init__(self, stream: InputStream, skip: Callable[[str], bool], progress: Progress = SILENT):
        self.count = stream.count
        self.live = stream.live
        self._stream = stream
        self._skip = skip
        self._progress = progress

    def __iter__(self) -> Iterator[StreamItem]:
        for item in self._stream:
            if self._skip(item.called):
                self._progress.advance()
            else:
                yield item

    def close(self) -> None:
        """Give up what is still being fetched."""
        self._stream.close()
