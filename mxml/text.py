"""Text for messages: cut, counted, quoted and safe to print."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

_LONGEST = 60
_WIDE = 30


def printable(text: str) -> str:
    """Return text that stays on one line of any terminal: control characters and undecodable bytes are escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def can_be_path(text: str) -> bool:
    """Say whether a file can have this path: Python's functions answer a ValueError to any other."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 image``, ``2 images``, ``1,000 images``; ``plural`` replaces the noun with an s."""
    return f"1 {noun}" if count == 1 else f"{count:,} {plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Return a time in the units that a person would say it in: ``33 s``, ``2 min 10 s``, ``25 min``, ``3 h 10 min``.

    A longer time is said less exactly: nobody plans ten hours by the minute.
    """
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 600:
        return _of_two(seconds, 60, "min", 10, "s")
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 600:
        return _of_two(minutes, 60, "h", 10, "min")
    hours = round(minutes / 60)
    return f"{hours} h" if hours < 48 else _of_two(hours, 24, "days", 1, "h")


def _of_two(value: int, base: int, unit: str, step: int, below: str) -> str:
    whole, rest = divmod(step * round(value / step), base)
    return f"{whole} {unit}" + (f" {rest} {below}" if rest else "")


def quoted(text: str) -> str:
    """Return a text from a file in quotes, in one line and cut where it is long."""
    return repr(cut(text))


def shown(names: Sequence[str], most: int = 20) -> str:
    """Return the first names in one line, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(cut, names[:most])) + more


def as_word(name: str) -> str:
    """Return a label's name as one word of a line: in quotes where it has a comma or a quote, as between two labels."""
    return json.dumps(name, ensure_ascii=False) if "," in name or '"' in name else name


def shown_labels(names: Sequence[str], most: int = 20) -> str:
    """Return the first label names in one line, as ``shown`` does, each as one word."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(as_word(cut(name)) for name in names[:most]) + more


def path_from(folder: str, path: str) -> str:
    """Return a path that is stored relative to ``folder`` as it is used and shown from the working directory.

    It is absolute where it would begin with more than one ``..``, which nobody can read.
    """
    joined = os.path.normpath(os.path.join(folder, path))
    return os.path.abspath(joined) if joined.startswith(os.path.join("..", "..")) else joined


def cut_path(path: str) -> str:
    """Return a path that is no longer than a table should have it: its end, which tells it from others."""
    return path if len(path) <= _LONGEST else "..." + path[3 - _LONGEST :]


def common_folder(paths: Sequence[str]) -> str:
    """Return the folder that all of the paths are in, where its name would make a table wide; else an empty text."""
    if not paths or max(map(len, paths)) <= _WIDE or len({os.path.isabs(path) for path in paths}) > 1:
        return ""
    return os.path.commonpath([os.path.dirname(path) for path in paths])


def cut(text: str) -> str:
    """Return text that is no longer than a message or a table should have it."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
