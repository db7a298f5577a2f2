"""Folders named by labels, on whatever file system they may come to be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

NO_LABEL = "_none"
"""The folder of images without a label."""
UNLIKE = "_unlike"
"""The folder of images unlike the training images, whatever their labels."""

# What Windows and its file systems, which memory cards and network drives have, keep for themselves.
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_MOST_BYTES = 200


def folder_names(label_names: Sequence[str]) -> tuple[str, ...]:
    """Return a folder's name for each label, its own where that is safe.

    Slashes and signs that Windows forbids become ``_``, and so do dots, dashes and blanks in front and dots and blanks
    at the end. Names of devices get a ``_`` in front. Of names that differ only in case, or in how accents are encoded,
    the later get a number, and so do ``_none`` and ``_unlike``, which are not for labels. A long name is cut.

    Parameters
    ----------
    label_names : sequence of str
        C names.

    Returns
    -------
    tuple of str
        C names, in the same order, no two of which are the same on any file system.
    """
    taken = {_folded(NO_LABEL), _folded(UNLIKE)}
    return tuple(_unused(_safe(name), taken) for name in label_names)


def _safe(name: str) -> str:
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", name))
    name = "".join(letter if letter.isprintable() else "_" for letter in name)
    name = re.sub(r"^[.\- ]+|[. ]+$", lambda match: "_" * len(match[0]), name) or "_"
    name = f"_{name}" if _DEVICES.match(name) else name
    return name.encode("utf-8", "replace")[:_MOST_BYTES].decode("utf-8", "ignore")


def _unused(name: str, taken: set[str]) -> str:
    unused, number = name, 1
    while _folded(unused) in taken:
        number += 1
        unused = f"{name}_{number}"
    taken.add(_folded(unused))
    return unused


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
