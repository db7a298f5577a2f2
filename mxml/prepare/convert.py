"""From one format of labels to another: what the other cannot hold is refused or noted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mxml.data.formats import FORMATS, HOLDING_IMAGES, KEEPING_INDEX, Format, by_name, multi_hot_lst, rec_file
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.sources import LabelSources
from mxml.data.image_list import ImageList
from mxml.data.label_names import LABEL_NAMES_FILE, label_names_file
from mxml.data.labelled_images import LabelledImages
from mxml.data.list_root import RECORD, format_record
from mxml.errors import ListError
from mxml.progress import SILENT, Progress
from mxml.staging import finish_move, staged


@dataclass(frozen=True)
class Converted:
    """The result of a conversion: the set that was read from ``sources``, and what happened to each file.

    ``formats`` names the formats of the sources, each once, and ``to`` the one that was written. ``files`` holds pairs
    of a path and ``unchanged``, ``written`` or ``replaced``; ``notes`` are lines for the user.
    """

    sources: tuple[Path, ...]
    formats: tuple[str, ...]
    to: str
    labelled: LabelledImages
    files: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python values that JSON can hold; of the images their number."""
        return {
            "sources": list(map(str, self.sources)),
            "formats": list(self.formats),
            "to": self.to,
            "images": len(self.labelled.images),
            "labels": list(self.labelled.label_names),
            "files": {str(path): state for path, state in self.files},
            "notes": list(self.notes),
        }


def convert(
    sources: LabelSources, to: str, out: Path, *, force: bool = False, progress: Progress = SILENT
) -> Converted:
    """Read sources as one set and write it to ``out`` in the format called ``to``.

    All files appear or none; what a killed process had begun to replace in the folder of ``out`` is finished first.
    The first ``.lst`` in a folder leaves its image folder, if that exists, in ``lists.json`` there. Images, labels,
    label names and their order are kept; a note says where a list's index numbers are not. Raises ListError for faults
    in a source and for what the format cannot hold; StorageError for files with other content there, unless ``force``,
    and for files that cannot be written.
    """
    format = by_name(to)
    sources = sources.located()
    if out.name in ("", ".", ".."):
        raise ListError(f"{out}: is not the name of a file or folder to write")
    if out.name.lower() == LABEL_NAMES_FILE:
        raise ListError(f"{out}: is where the label names go, should have another name")
    suffixes = format.SUFFIXES
    if suffixes and out.suffix.lower() not in suffixes:
        raise ListError(f"{out}: should end in {' or '.join(suffixes)}, as files of the format {to} do")
    if os.path.realpath(out) in map(os.path.realpath, sources.paths):
        raise ListError(f"{out}: is a source and would be overwritten; `out` should name another file")
    if finish_move(out.parent):
        progress.note(f"{out.parent}: finished replacing the files there, which a killed process had begun")
    labelled, formats = sources.read(progress=progress)
    with staged(out.parent, force) as staging:
        _write(format, labelled, staging.path / out.name, sources.options, progress)
        _refuse_other_names(label_names_file(staging.path), out)
        root_notes: tuple[str, ...] = ()
        if format is multi_hot_lst and Path(labelled.images.root).is_dir():
            root_notes = _record_root(Path(labelled.images.root), staging.path, out.parent)
    notes = (*labelled.notes, *_index_notes(labelled.images, format, out), *root_notes)
    return Converted(
        sources.paths, tuple(dict.fromkeys(read.NAME for read in formats)), to, labelled, staging.files, notes
    )


def _record_root(root: Path, staging: Path, folder: Path) -> tuple[str, ...]:
    """Record the lists' image folder where none is; return a note where another one is."""
    record, content = folder / RECORD, format_record(root, folder)
    if not record.exists():
        (staging / RECORD).write_bytes(content)
    elif record.read_bytes() != content:
        return (f"{record}: says that the images are under another folder than {root}; remove it, or name the folder",)
    return ()


def _write(format: Format, labelled: LabelledImages, target: Path, options: FormatOptions, progress: Progress) -> None:
    for holding in HOLDING_IMAGES:
        if holding is format:
            holding.write(labelled, target, options, progress)
            return
    format.write(labelled, target, options)


def _index_notes(images: ImageList, format: Format, out: Path) -> tuple[str, ...]:
    """Return a note where the images' index numbers are not those that the written file is read with."""
    kept = np.arange(len(images))
    if format in KEEPING_INDEX:
        kept = rec_file.record_ids(images) if format is rec_file else images.index
    if np.array_equal(kept, images.index):
        return ()
    why = "cannot be ids of records" if format is rec_file else f"cannot be held by the format {format.NAME}"
    return (f"{out}: the index numbers of the list {why}, so the images count from 0",)


def _refuse_other_names(new: Path, out: Path) -> None:
    """Raise ListError where label names would replace others that a file beside ``out`` is read with."""
    old = label_names_file(out.parent)
    if not new.is_file() or not old.is_file() or new.read_bytes() == old.read_bytes():
        return
    suffixes = tuple(suffix for format in FORMATS for suffix in format.SUFFIXES)
    users = [
        file
        for file in sorted(out.parent.iterdir())
        if file.name.endswith(suffixes) and file.name not in (old.name, RECORD) and file.stem != out.stem
    ]
    if users:
        raise ListError(
            f"{old}: names other labels, or in another order, and {users[0]} is read with it; `classes_file` {old} "
            "writes these labels in the same order, and another folder keeps the two apart"
        )
