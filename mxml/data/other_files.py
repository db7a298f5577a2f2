"""Files that are given as a list and are none: what they are, and what to do with them, in one line."""

from __future__ import annotations

import os
import re
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

# A line of a list begins with its index, however damaged it is; these begin with the path of an image.
_IMAGE = r"[^\t,;]+\.[A-Za-z][A-Za-z0-9]{1,4}"
_PADDLEX_LINE = re.compile(rf"{_IMAGE}\t *-?[01]( *, *-?[01])* *")
_TABLE_ROW = re.compile(rf"{_IMAGE}\"?([\t,;]).*")
# Where blanks separate the columns, the path holds none.
_BLANK_ROW = re.compile(r"[^\s,;]+\.[A-Za-z][A-Za-z0-9]{1,4}( ) *[^ ].*")
_SEPARATED_LINE = re.compile(r"-?[0-9]+ *([,;|])(?: *-?[0-9.]+ *\1)+ *[^ ].*")
_NAMED = {",": "commas", ";": "semicolons", "|": "bars"}
_INDEX = re.compile(r"-?[0-9]+[ \t]")
_FORMATS = "mxml make-lst or mxml convert makes lists of labels in other formats"


def other_than_list(path: str | os.PathLike[str]) -> str | None:
    """Say what a file that holds no line of a list is, and what to do with it; None where that is not known."""
    remedy = _FORMATS
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
            if binary:
                return "not a text file, should be an image list"
            what, remedy = _format_of(head)
        if what is None:
            return None
    return f"{what}, should be an image list; {remedy}"


def _format_of(head: bytes) -> tuple[str | None, str]:
    """Return the format of labels that a file begins in, where its lines are not those of a list, and what to do."""
    lines = head.decode("utf-8-sig", "replace").split("\n")
    if len(head) == _HEAD_BYTES:
        # The last one may be cut.
        lines.pop()
    lines = [line.rstrip("\r") for line in lines if line.strip()]
    if lines and all(map(_PADDLEX_LINE.fullmatch, lines)):
        return "a PaddleX list", _FORMATS
    separated = [_SEPARATED_LINE.fullmatch(line) for line in lines]
    signs = {line[1] if line else "" for line in separated}
    if len(signs) == 1 and (sign := signs.pop()):
        return f"a list with {_NAMED[sign]} between its fields", "put tabs in their place"
    for pattern in (_TABLE_ROW, _BLANK_ROW):
        rows = [pattern.fullmatch(line) for line in lines]
        delimiters = {row[1] if row else None for row in rows[1:] or rows}
        delimiter = delimiters.pop() if len(delimiters) == 1 else None
        if delimiter is None:
            continue
        if rows[0] is not None and rows[0][1] == delimiter and not _INDEX.match(lines[0]):
            and_commas = " and commas between its columns" if delimiter == " " else ""
            return "a table without column names", (
                f"with a first line such as image,LABEL,LABEL{and_commas} mxml make-lst makes lists of it, with "
                "`format` csv, or tags where the second column names the labels"
            )
        if rows[0] is None and delimiter in lines[0]:
            and_commas = "with commas between its columns " if delimiter == " " else ""
            return "a table", f"{and_commas}{_FORMATS}"
    return None, ""
