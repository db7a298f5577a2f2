"""The errors that mxml raises on purpose.

::

    MxmlError                 anything a person can mend; the command line prints it as one line and exits 1
    ├── ListError             a label list or label-name file; may hold many faults, each ``file:line: ...``
    ├── ImageError            an image that cannot be read; ``path``, ``reason`` and ``kind``
    ├── ModelError            a symbol or parameter file that cannot be used, or does not fit
    ├── CheckpointError       a checkpoint that is missing, damaged or not mxml's
    ├── DeviceError           a device that is absent or that MXNet cannot drive
    ├── SetupError            an installation that cannot run; carries its remedy
    ├── TrainingError         a run that had to stop: too many bad images, a loss that is not finite
    └── Interrupted           a run ended by a signal, after it was saved; ``signal_number``

A message says which file and line, what is wrong, and what to do next. Anything else that escapes is a bug and
keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_FAULTS = 20


def printable(text: str) -> str:
    """Return text that stays on one line of any terminal: control characters and undecodable bytes are escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


class MxmlError(Exception):
    """Base of every error that names its cause and its remedy in one line."""


class ListError(MxmlError):
    """A label list, table or label-name file is wrong.

    ``faults`` holds one finished message a fault, each of one line, whatever the name of a file in it holds; ``total``
    counts them all, also those that were not kept.
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


class CheckpointError(MxmlError):
    """A checkpoint is missing, damaged, or was not written by mxml."""


class DeviceError(MxmlError):
    """A device is absent, or this build of MXNet cannot drive it."""


class SetupError(MxmlError):
    """The installation cannot run; the message carries the remedy."""


class TrainingError(MxmlError):
    """A run had to stop: too many unreadable images, or a loss that is not finite."""


class Interrupted(MxmlError):
    """A run was ended by a signal and has been saved; the message says how to go on."""

    def __init__(self, message: str, signal_number: int):
        self.signal_number = signal_number
        super().__init__(message)
