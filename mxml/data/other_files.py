"""Files that are given as a list and are none: what they are, and what to do with them, in one line."""

from __future__ import annotations

import os
from pathlib import Path

_OTHER_FORMATS = {
    ".csv": "a table",
    ".tsv": "a table",
    ".tab": "a table",
    ".json": "a JSON file",
    ".jsonl": "a JSON Lines file",
    ".rec": "a record file",
}
_HEAD_BYTES = 8192  # in which any image or archive has a NUL


def other_than_list(path: str | os.PathLike[str]) -> str | None:
    """Say what a file that holds no line of a list is, and what to do with it; None where that is not known."""
    if os.path.isdir(path):
        what: str | None = "a folder"
    else:
        try:
            with open(path, "rb") as file:
                head = file.read(_HEAD_BYTES)
        except OSError:
            return None
        what = _OTHER_FORMATS.get(Path(path).suffix.lower())
        if what is None:
            binary = b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff"))
            return "not a text file, should be an image list" if binary else None
    return f"{what}, should be an image list; mxml make-lst or mxml convert makes lists of labels in other formats"
