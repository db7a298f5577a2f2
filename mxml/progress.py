"""What shows the user how a long task goes: one protocol for every long task, and what shows it on a terminal."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Protocol, TextIO

from mxml.text import duration, printable

if TYPE_CHECKING:
    from tqdm import tqdm

# Where no bar can be drawn, a line says how far a part has come where nothing was printed for so many seconds. They
# become more the longer the task has run: a log of ten hours should still be one that a person reads.
_FIRST_LINE = 2.0
_SHORTEST_SILENCE = 10.0
_LONGEST_SILENCE = 300.0
_SILENCE_SHARE = 0.05
# A part of so many images says its name as it starts, since it may be long until the first of them is done.
_MANY_IMAGES = 10_000
_LARGE_BYTES = 64 << 20
# The rate is that of the last seconds: the first batches are slow, and the load of a machine changes.
_RATE_SECONDS = 30.0
_RATE_STEP = 0.1
# The unit stands for all that follows the bar: tqdm would put a comma before a postfix.
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {unit}"


class Progress(Protocol):
    """Receives the progress of a task, which may consist of several parts; each part begins with ``start``."""

    def start(self, total: int, what: str, done: int = 0) -> None:
        """Begin a part called ``what`` with ``total`` images, ``done`` of them done before; the part before it ends."""

    def advance(self, count: int = 1, detail: str = "") -> None:
        """Count more images as done; ``detail`` adds a few words, such as ``loss 0.31``."""

    def note(self, text: str) -> None:
        """Take one line that the user should read."""


class _Silent:
    def start(self, total: int, what: str, done: int = 0) -> None:
        pass

    def advance(self, count: int = 1, detail: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        pass


SILENT: Progress = _Silent()
"""Ignores everything."""


class NotesOnly:
    """Passes on the notes of a task, and not how far it has come."""

    def __init__(self, progress: Progress):
        self.note = progress.note

    def start(self, total: int, what: str, done: int = 0) -> None:
        """Show nothing."""

    def advance(self, count: int = 1, detail: str = "") -> None:
        """Show nothing."""


def note_reading(progress: Progress, path: str | os.PathLike[str], name: str | None = None) -> None:
    """Note that a file of labels is being read, where it is so large that a person would wonder what takes so long.

    The note has ``name`` in place of the path where it is given.
    """
    with contextlib.suppress(OSError):
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and status.st_size >= _LARGE_BYTES:
            progress.note(f"reading {name or os.fspath(path)} ({status.st_size >> 20:,} MiB)")


class ConsoleProgress:
    """Shows a task on stderr: one live line with rate and time left on a terminal, elsewhere a line now and then.

    With ``log_path``, notes are also added to that file with the time, once ``begin_log`` was called: a task that is
    refused leaves no log. Use it as a context manager, which closes the bar that an error left open and logs the error.
    ``wording`` changes the text of notes. A log that cannot be written costs no task: a line on stderr says so, and
    what is missing is added once that is possible.
    """

    def __init__(self, log_path: str | None = None, wording: Callable[[str], str] = str):
        self._log_path = log_path
        self._wording = wording
        self._logging = False
        self._unwritten: list[str] = []
        self._said_unwritten = False
        self._bar: tqdm[Any] | None = None
        self._part: _Part | None = None
        self._silence = _Silence()

    def __enter__(self) -> ConsoleProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_part()
        if error is not None:
            self.log(f"{type(error).__name__}: {error}")

    def start(self, total: int, what: str, done: int = 0) -> None:
        """Open the part's bar."""
        from tqdm import tqdm

        self._end_part()
        stream = _stream()
        self._part = _Part(what, total, done)
        if stream.isatty():
            self._bar = tqdm(
                desc=what,
                total=total,
                initial=done,
                unit="",
                leave=False,
                file=stream,
                mininterval=0.3,
                bar_format=_BAR,
                **_assumed_size(stream),
            )
        elif total - done >= _MANY_IMAGES:
            self._write(self._part.line())

    def advance(self, count: int = 1, detail: str = "") -> None:
        """Advance the bar."""
        if self._part is None:
            return
        measured = self._part.advance(count)
        if self._bar is not None:
            if measured:
                self._bar.unit = ", ".join([*self._part.pace(), *filter(None, [detail])])
            self._bar.update(count)
        elif measured and not self._part.is_done and self._silence.is_long():
            self._write(", ".join([self._part.line(), *self._part.pace(), *filter(None, [detail])]))

    def note(self, text: str) -> None:
        """Print and log one line."""
        text = printable(self._wording(text))
        self.log(text)
        with self.bar_hidden():
            self._write(text)

    def say(self, text: str) -> None:
        """Print one line that the log does not get; any thread may."""
        with self.bar_hidden():
            self._write(text)

    @contextlib.contextmanager
    def bar_hidden(self) -> Iterator[None]:
        """Hide the bar while something else is written to the terminal."""
        from tqdm import tqdm

        with tqdm.external_write_mode(file=_stream()):
            yield

    def _write(self, line: str) -> None:
        _stream().write(f"{printable(line)}\n")
        _stream().flush()
        self._silence.begin()

    def _end_part(self) -> None:
        self._part = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def begin_log(self) -> None:
        """Write the log from now on, and first what it has missed."""
        self._logging = True
        self._write_log()

    def log(self, text: str) -> None:
        """Add one line only to the log."""
        if self._log_path is None:
            return
        self._unwritten.append(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        if self._logging:
            self._write_log()

    def _write_log(self) -> None:
        if self._log_path is None or not self._unwritten:
            return
        try:
            with open(self._log_path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(self._unwritten)
        except OSError as error:
            if not self._said_unwritten:
                self._said_unwritten = True
                with self.bar_hidden():
                    self._write(
                        f"{self._log_path}: cannot be written: {error.strerror}; its lines are added once that is "
                        "possible"
                    )
            return
        self._unwritten.clear()
        self._said_unwritten = False


class _Part:
    """How far a part has come, and how fast it goes."""

    def __init__(self, what: str, total: int, done: int):
        self._what = what
        self._total = total
        self._done = done
        # When how many images were done, over the last seconds.
        self._reached = deque([(time.monotonic(), done)])

    @property
    def is_done(self) -> bool:
        return self._done >= self._total

    def advance(self, count: int) -> bool:
        """Count more images, and say whether the rate was measured again."""
        self._done += count
        now = time.monotonic()
        if len(self._reached) > 1 and now - self._reached[-1][0] < _RATE_STEP and not self.is_done:
            return False
        self._reached.append((now, self._done))
        while len(self._reached) > 2 and now - self._reached[0][0] > _RATE_SECONDS:
            self._reached.popleft()
        return True

    def line(self) -> str:
        """Return how far the part is."""
        return f"{self._what}: {self._done:,} of {self._total:,} images"

    def pace(self) -> list[str]:
        """Return rate and time left, as far as they are known."""
        (start, before), (now, done) = self._reached[0], self._reached[-1]
        if now <= start or done <= before:
            return []
        rate = (done - before) / (now - start)
        left = max(0, self._total - self._done) / rate
        return [f"{rate:,.0f} img/s" if rate >= 10 else f"{rate:.1f} img/s", f"{duration(left)} left"]


class _Silence:
    """Says when nothing was printed for so long that a person would wonder whether the task still runs."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._end = self._start + _FIRST_LINE

    def begin(self) -> None:
        """Note that a line was printed."""
        now = time.monotonic()
        self._end = now + min(max(_SHORTEST_SILENCE, _SILENCE_SHARE * (now - self._start)), _LONGEST_SILENCE)

    def is_long(self) -> bool:
        return time.monotonic() >= self._end


def _stream() -> TextIO:
    return sys.stderr


def _assumed_size(stream: TextIO) -> dict[str, int]:
    """Return a size for terminals that say theirs is 0, as new pseudo-terminals do: tqdm would show nothing there.

    The size of any other is asked for again and again, since a person may change it.
    """
    with contextlib.suppress(OSError, ValueError):
        if 0 in os.get_terminal_size(stream.fileno()):
            return {"ncols": 80, "nrows": 24}
    return {"dynamic_ncols": True}
