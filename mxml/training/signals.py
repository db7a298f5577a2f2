"""Ctrl-C and SIGTERM as a request that a run, and what it needs before it begins, check between two batches."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Union

from mxml.errors import Interrupted
from mxml.progress import Progress

_Handler = Union[Callable[[int, "FrameType | None"], object], int, None]


class StopRequest:
    """While entered, turns the first SIGINT or SIGTERM into ``number``; a second one has its usual effect.

    Use it as a context manager in the main thread.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, _Handler] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()


class StoppableProgress:
    """Passes on the progress of a task that has nothing to save, and ends the task once a signal was noted.

    Raises Interrupted with ``message``, whose ``{}`` becomes the signal's name, and ``can_resume``.
    """

    def __init__(self, progress: Progress, stop: StopRequest | None, message: str, can_resume: bool):
        self._progress = progress
        self._stop = stop
        self._message = message
        self._can_resume = can_resume

    def start(self, total: int, what: str, done: int = 0) -> None:
        """Begin a part."""
        self._end_if_asked()
        self._progress.start(total, what, done)

    def advance(self, count: int = 1, detail: str = "") -> None:
        """Count more images as done."""
        self._progress.advance(count, detail)
        self._end_if_asked()

    def note(self, text: str) -> None:
        """Pass on a line."""
        self._progress.note(text)

    def _end_if_asked(self) -> None:
        number = None if self._stop is None else self._stop.number
        if number is not None:
            raise Interrupted(self._message.format(signal.Signals(number).name), number, self._can_resume)
