"""Ctrl-C and SIGTERM as a request that a run, and what it needs before it begins, check between two batches."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
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


class AnsweredStop(StopRequest):
    """A request that is answered as it arrives, by one line to ``say``; a second signal ends the process, unsaved.

    Python's handlers wait until MXNet has computed what it is at, which may take many seconds. So a thread reads the
    signals as well, and calls ``say``. Only for a process that may be ended so: the command's own.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    def __enter__(self) -> AnsweredStop:
        self._read_from, self._written_to = os.pipe()
        os.set_blocking(self._written_to, False)
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()
        self._wakeup_before = signal.set_wakeup_fd(self._written_to, warn_on_full_buffer=False)
        super().__enter__()
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number

    def _answer(self) -> None:
        asked = False
        # The end of the pipe is closed in the end, and then there is nothing to read.
        while found := os.read(self._read_from, 1):
            number = found[0]
            if number not in self.SIGNALS:
                continue
            again = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            # Nobody may read stderr any more.
            with contextlib.suppress(OSError, ValueError):
                self._say(
                    "ended at once: nothing is saved of what came after the last save"
                    if asked
                    else f"stopping: this batch is finished and the run saved; {again} again ends at once, without that"
                )
            if asked:
                os._exit(128 + number)
            asked = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._written_to)
        self._thread.join()
        os.close(self._read_from)


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
