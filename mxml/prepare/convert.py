"""From one format of labels to another, with nothing lost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mxml.data.formats import FORMATS, Format, by_name, check_num_classes, read_labels
from mxml.data.formats.options import DEFAULTS, SourceOptions
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


def convert(
    sources: Sequence[Path],
    to: str,
    out: Path,
    root: Path | None = None,
    *,
    format: str | None = None,
    num_classes: int | None = None,
    classes_file: Path | None = None,
    ignore_unknown: bool = False,
    options: SourceOptions = DEFAULTS,
    force: bool = False,
) -> Converted:
    """Read sources as one set and write it to ``out`` in the format called ``to``.

    The other arguments are those of ``mxml.data.formats.read_labels``. All files appear or none. Raises ListError for
    faults in a source, for what the format cannot hold, and for files with other content there, unless ``force``.
    """
    labelled, formats = read_labels(sources, root, format, classes_file, ignore_unknown, options)
    check_num_classes(labelled, num_classes, sources)
    if out.name in ("", ".", ".."):
        raise ListError(f"{out}: is no name of a file or folder to write")
    if out.name.lower() == "labels.txt":
        raise ListError(f"{out}: is where the label names go, should be called otherwise")
    suffixes = by_name(to).SUFFIXES
    if suffixes and out.suffix.lower() not in suffixes:
        raise ListError(f"{out}: should end in {' or '.join(suffixes)}, as files of the form {to} do")
    if os.path.realpath(out) in map(os.path.realpath, sources):
        raise ListError(f"{out}: is to be read, and would be written over; --out names another file")
    with staged(out.parent, force) as staging:
        by_name(to).write(labelled, staging.path / out.name, options)
        _refuse_other_names(staging.path / "labels.txt", out)
    return Converted(labelled, formats, staging.files)


def _refuse_other_names(new: Path, out: Path) -> None:
    """Raise ListError where label names would replace others that a file beside ``out`` is read with."""
    old = out.parent / "labels.txt"
    if not new.is_file() or not old.is_file() or new.read_bytes() == old.read_bytes():
        return
    suffixes = tuple(suffix for form in FORMATS for suffix in form.SUFFIXES)
    users = [
        file
        for file in sorted(out.parent.iterdir())
        if file.name.endswith(suffixes) and file != old and file.stem != out.stem
    ]
    if users:
        raise ListError(
            f"{old}: names other labels, or in another order, and {users[0]} is read with it; --classes {old} writes "
            "these labels in the same order, and another folder keeps the two apart"
        )
