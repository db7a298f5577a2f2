"""Predictions for a program that sends paths, one per line, and waits for each answer."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Iterator
from typing import Any

from mxml.data.image_stream import StreamItem
from mxml.errors import MxmlError
from mxml.inference.classifier import Classifier
from mxml.inference.limits import BATCH_SIZE
from mxml.inference.prediction import Prediction

_MOST_LINE_BYTES = 64 << 10


def answers(
    classifier: Classifier, source: int, *, batch_size: int = BATCH_SIZE, **options: Any
) -> Iterator[Prediction]:
    """Predict the images whose paths come from a file descriptor, as soon as they come, until it ends.

    Each line gives one prediction, in their order; what is no image gives one with an ``error``. An image is computed
    alone, for the shortest wait, unless a whole batch of them is waiting. A path is taken as it is: it names one file,
    never a pattern or a folder's images.

    Parameters
    ----------
    classifier : Classifier
        What predicts.
    source : int
        The descriptor, such as that of stdin.
    batch_size : int, default 32
        How many waiting images are computed at once.
    **options
        As for ``Classifier.predict``.

    Returns
    -------
    iterator of Prediction

    Raises
    ------
    MxmlError
        For a line of more than 64 KiB, which cannot be a path; and what ``Classifier.predict`` raises.
    """
    for paths in _waiting(source, batch_size):
        items = [StreamItem(path) for path in paths]
        yield from classifier.predict(items, batch_size=len(items), **options)


def _waiting(source: int, batch_size: int) -> Iterator[list[str]]:
    """Yield the next path, or a whole batch of them where so many have come."""
    lines = _Lines(source)
    while lines.wait():
        count = batch_size if len(lines) >= batch_size else 1
        yield [lines.take() for _ in range(count)]


class _Lines:
    """Lines of a descriptor, which is read as far as it has something."""

    def __init__(self, source: int):
        self._source = source
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._ended = False

    def __len__(self) -> int:
        return len(self._lines)

    def wait(self) -> bool:
        """Wait for a line, and take what else has come; return False at the end."""
        while not self._ended and (not self._lines or self._is_ready()):
            self._read()
        return bool(self._lines)

    def take(self) -> str:
        """Return the next line without its end, as the path that it names."""
        line = self._lines.popleft()
        return os.fsdecode(line[:-1] if line.endswith(b"\r") else line)

    def _is_ready(self) -> bool:
        # What a client sends without reading answers waits in the pipe, where it is told to stop.
        return len(self._lines) < 1024 and bool(select.select([self._source], [], [], 0)[0])

    def _read(self) -> None:
        chunk = os.read(self._source, _MOST_LINE_BYTES)
        if not chunk:
            self._ended = True
            self._lines += [self._rest] if self._rest else []
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._lines += lines
        if len(self._rest) > _MOST_LINE_BYTES:
            raise MxmlError(
                f"a line on stdin has more than {_MOST_LINE_BYTES:,} bytes, should be the path of one image"
            )
