"""From one format of labels to another, with nothing lost."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mxml.data.formats import FORMATS, Format, by_name
from mxml.data.formats.sources import LabelSources
from mxml.data.labelled_images import LabelledImages
from mxml.errors import ListError
from mxml.staging import staged


@dataclass(frozen=True)
class Converted:
    """What was written: a set, the formats that its sources had, and what became of each file.

    ``files`` holds pairs of a path and ``unchanged``, ``written`` or ``replaced``.
    """

    labelled: LabelledImages
    formats: tuple[Format, ...]
    files: tuple[tuple[Path, str], ...]


def convert(sources: LabelSources, to: str, out: Path, *, force: bool = False) -> Converted:
    """Read sources as one set and write it to ``out`` in the format called ``to``.

    All files appear or none. Raises ListError for faults in a source, for what the format cannot hold, and for files
    with other content there, unless ``force``.
    """
    labelled, formats = sources.read()
    if out.name in ("", ".", ".."):
        raise ListError(f"{out}: is no name of a file or folder to write")
    if out.name.lower() == "labels.txt":
        raise ListError(f"{out}: is where the label names go, should be called otherwise")
    suffixes = by_name(to).SUFFIXES
    if suffixes and out.suffix.lower() not in suffixes:
        raise ListError(f"{out}: should end in {' or '.join(suffixes)}, as files of the format {to} do")
    if os.path.realpath(out) in map(os.path.realpath, sources.paths):
        raise ListError(f"{out}: is to be read, and would be written over; `out` should name another file")
    with staged(out.parent, force) as staging:
        by_name(to).write(labelled, staging.path / out.name, sources.options)
        _refuse_other_names(staging.path / "labels.txt", out)
    return Converted(labelled, formats, staging.files)


def _refuse_other_names(new: Path, out: Path) -> None:
    """Raise ListError where label names would replace others that a file beside ``out`` is read with."""
    old = out.parent / "labels.txt"
    if not new.is_file() or not old.is_file() or new.read_bytes() == old.read_bytes():
        return
    suffixes = tuple(suffix for format in FORMATS for suffix in format.SUFFIXES)
    users = [
        file
        for file in sorted(out.parent.iterdir())
        if file.name.endswith(suffixes) and file != old and file.stem != out.stem
    ]
    if users:
        raise ListError(
            f"{old}: names other labels, or in another order, and {users[0]} is read with it; `classes_file` {old} "
            "writes these labels in the same order, and another folder keeps the two apart"
        )
