"""The errors that mxml raises on purpose.

::

    MxmlError                 anything that the user can fix; the command line prints it as one line and exits 1
    ├── SettingError          an invalid value of a setting; the command line exits 2, as for wrong usage
    ├── ListError             a label list or label-name file; may hold many faults, each ``file:line: ...``
    ├── ImageError            an image that cannot be read; ``path``, ``reason`` and ``kind``
    ├── ModelError            a symbol or parameter file that cannot be used, or does not fit
    │   └── NotFiniteError    what a network computes is not finite
    ├── CheckpointError       a checkpoint that is missing, damaged or not mxml's
    ├── StorageError          a file or folder that cannot be written
    ├── DeviceError           a device that is absent, that MXNet cannot drive, or whose memory is not enough
    ├── SetupError            an installation that cannot run; carries its remedy
    ├── TrainingError         a run that had to stop: too many bad images, a loss that is not finite
    │   └── OutOfTime         its time limit ended it before its first epoch; what it did is kept
    └── Interrupted           a run ended by a signal, after it was saved; ``signal_number``

A message says which file and line, what is wrong, and what to do next. It names a setting, that is an argument of a
public function or a field of a configuration, in backquotes, such as ```lr```; the command line shows the option of
that name in its place. Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHOWN_FAULTS = 20


class MxmlError(Exception):
    """Base class of mxml's errors; the message names the cause and the remedy in one line."""


class SettingError(MxmlError):
    """A setting has an invalid value: ``setting`` names it."""

    def __init__(self, setting: str, value: Any, wanted: str):
        self.setting = setting
        super().__init__(f"`{setting}` {as_text(value)}: should be {wanted}")


class ListError(MxmlError):
    """A label list, table or label-name file is wrong.

    ``faults`` holds one finished message per fault, each of one line, even if a file name in it has control characters;
    ``total`` counts them all, also those that were not kept.
    """

    def __init__(self, faults: str | Sequence[str], total: int | None = None):
        messages = (faults,) if isinstance(faults, str) else faults
        self.faults = tuple(message.replace("\n", "\\n") for message in messages)
        self.total = len(self.faults) if total is None else total
        shown = self.faults[:SHOWN_FAULTS]
        hidden = self.total - len(shown)
        lines = list(shown)
        if hidden > 0:
            lines.append(f"... and {hidden:,} more faults like these")
        super().__init__("\n".join(lines))


class Faults:
    """Collects the faults of a file or a set, one message per fault, and raises them as one ListError.

    All faults count; the first ``kept`` messages are kept. A caller whose messages are expensive to make asks
    ``has_room`` first and calls ``add`` without one.
    """

    def __init__(self, kept: int = SHOWN_FAULTS):
        self.total = 0
        self.messages: list[str] = []
        self._kept = kept

    def __len__(self) -> int:
        return self.total

    @property
    def has_room(self) -> bool:
        """Say whether the next message will be kept."""
        return len(self.messages) < self._kept

    def add(self, message: str = "") -> None:
        """Count a fault, and keep its message while there is room."""
        self.total += 1
        if message and self.has_room:
            self.messages.append(message)

    def extend(self, error: ListError) -> None:
        """Take over the faults of a part."""
        self.total += error.total
        self.messages += error.faults[: self._kept - len(self.messages)]

    def error(self) -> ListError:
        """Return the ListError that holds all of them."""
        return ListError(self.messages, self.total)

    def raise_any(self) -> None:
        """Raise that error, unless there is no fault."""
        if self.total:
            raise self.error()


class ImageError(MxmlError):
    """An image cannot be read: ``path`` names it (may be empty for bytes in memory), ``reason`` says why.

    ``kind`` sorts the reasons: ``missing``, ``empty``, ``truncated``, ``too_large``, or ``unreadable`` for the rest.
    """

    def __init__(self, reason: str, path: str = "", kind: str = "unreadable"):
        self.reason = reason
        self.path = path
        self.kind = kind
        super().__init__(f"{path}: {reason}" if path else reason)


class ModelError(MxmlError):
    """A symbol or parameter file cannot be used, or the two do not fit each other."""


class NotFiniteError(ModelError):
    """A network's output is not finite: its training diverged, or its parameters are damaged."""


class CheckpointError(MxmlError):
    """A checkpoint is missing, damaged, or was not written by mxml."""


class StorageError(MxmlError):
    """A file or folder cannot be written: the disk is full, or permission is missing."""


class DeviceError(MxmlError):
    """A device is absent, this build of MXNet cannot drive it, or its memory is not enough."""


class SetupError(MxmlError):
    """The installation cannot run; the message carries the remedy."""


class TrainingError(MxmlError):
    """A run had to stop: too many unreadable images, or a loss that is not finite."""


class OutOfTime(TrainingError):
    """A run was ended by its time limit before its first epoch; what it did is kept, and a resume goes on with it."""


class Interrupted(MxmlError):
    """A run was ended by a signal and has been saved; the message says how to go on.

    ``can_resume`` is False where it had not begun: nothing is at the prefix, or the run that it was to replace.
    """

    def __init__(self, message: str, signal_number: int, can_resume: bool = True):
        self.signal_number = signal_number
        self.can_resume = can_resume
        super().__init__(message)


def as_text(value: Any) -> str:
    """Return a setting's value as messages show it, and as a person would type it."""
    if value is None or value == ():
        return "none"
    if value == "":
        return "''"
    if isinstance(value, (tuple, list)):
        return ",".join(map(as_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
