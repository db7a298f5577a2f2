"""The forms that labels come in: one module a form, each with NAME, ``recognises`` and ``read``.

A new form is a new module here and its name in FORMATS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mxml.errors import ListError
from mxml.image_list import LabelledImages
from mxml.sources import csv_columns, folder_names


class Source(Protocol):
    """What a module of this package offers."""

    NAME: str

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` looks like this form."""

    def read(self, path: Path, root: Path) -> LabelledImages:
        """Read images, named relative to ``root``, and their labels; raise ListError with every fault."""


FORMATS: tuple[Source, ...] = (csv_columns, folder_names)


def default_source(root: Path) -> Path:
    """Return where the labels of the images under ``root`` are: its ``labels.csv``, or else its folders' names."""
    table = root / "labels.csv"
    return table if table.exists() else root


def recognise(path: Path) -> Source:
    """Return the form that ``path`` has; raise ListError for none."""
    if not path.exists():
        raise ListError(f"{path}: is not there, should be a table of labels or a folder of labelled folders")
    for source in FORMATS:
        if source.recognises(path):
            return source
    known = ", ".join(source.NAME for source in FORMATS)
    raise ListError(f"{path}: holds labels in no form that is known here, should be one of: {known}")
