"""What a person may say about how labels are to be read and written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceOptions:
    """How to read, and write, what a form of labels leaves open; each form uses the fields that concern it.

    ``classes`` are the names that --classes gives: forms that write labels by name then don't look for a labels.txt,
    forms that write them by number use them where no labels.txt names the columns. ``separator`` stands between tags
    (None: found from the file). ``split_char`` stands between labels in a folder's name ("" for one label a folder),
    and ``nested`` makes every folder on the way to an image give labels. ``difficult`` is what an object that VOC calls
    difficult makes of its label: unknown, present or absent. ``allow_absolute`` lets images lie outside of the root.
    """

    classes: tuple[str, ...] | None = None
    separator: str | None = None
    split_char: str = "_"
    nested: bool = False
    difficult: str = "unknown"
    allow_absolute: bool = False


DEFAULTS = SourceOptions()
