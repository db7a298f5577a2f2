"""What the user may say about how labels are read and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mxml.errors import SettingError

DEFAULT_ROOT = Path("images")
"""The folder that images are under where neither the user nor a format names another."""

OTHER_FORMATS = "; csv, jsonl and coco can hold it"
"""The end of the message for what a format cannot hold."""

_DIFFICULT = ("unknown", "present", "absent")


@dataclass(frozen=True)
class FormatOptions:
    """How to read, and write, what a format of labels leaves open; each format uses the fields that concern it.

    ``classes`` are the label names that the user gives: formats that write labels by name then don't look for a
    labels.txt, formats that write them by number use them where no labels.txt names the columns. ``separator`` is the
    character between tags (None: found from the file). ``split_char`` stands between labels in a folder's name ("" for
    one label per folder), and ``nested`` makes every folder on the way to an image give labels. ``difficult`` is what
    an object that VOC calls difficult makes of its label: unknown, present or absent. ``allow_absolute`` lets images
    lie outside of the root. Raises SettingError for invalid values.
    """

    classes: tuple[str, ...] | None = None
    separator: str | None = None
    split_char: str = "_"
    nested: bool = False
    difficult: str = "unknown"
    allow_absolute: bool = False

    def __post_init__(self) -> None:
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n\0'):
            raise SettingError("separator", repr(self.separator), "one character between two tags, such as | or ;")
        if self.difficult not in _DIFFICULT:
            raise SettingError("difficult", repr(self.difficult), f"one of {', '.join(_DIFFICULT)}")


DEFAULTS = FormatOptions()
