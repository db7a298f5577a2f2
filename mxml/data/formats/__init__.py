"""The formats that labels come in: one module per format, each of them reads and writes it.

A new format is a new module here, with what ``Format`` lists, and its name in FORMATS.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Protocol

from mxml.data.formats import (
    coco_instances,
    csv_columns,
    csv_tags,
    folder_names,
    json_lines,
    mmpretrain_json,
    multi_hot_lst,
    paddlex_list,
    rec_file,
    single_label_lst,
    text_files,
    voc_tree,
)
from mxml.data.formats.file_tree import IMAGE_SUFFIXES
from mxml.data.formats.options import DEFAULT_ROOT, FormatOptions
from mxml.data.label_names import LABEL_NAMES_FILE
from mxml.data.labelled_images import LabelledImages
from mxml.data.list_root import RECORD
from mxml.errors import ListError
from mxml.progress import SILENT, Progress

_ENTRIES_LOOKED_AT = 10_000
_FOLDERS_LOOKED_INTO = 200


class Format(Protocol):
    """What a module of this package offers."""

    NAME: str
    """The name of the format in options."""

    TITLE: str
    """The name of the format in messages."""

    SUFFIXES: tuple[str, ...]
    """How its files end; none where it is a folder."""

    def recognises(self, path: Path) -> bool:
        """Say whether ``path``, which exists, looks like this format; reads no more than its beginning."""

    def read(self, path: Path, root: Path, options: FormatOptions) -> LabelledImages:
        """Read images, named relative to ``root``, and their labels; raise ListError with every fault."""

    def write(self, labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
        """Write a set to ``target``, a file or a new folder, and what belongs beside it, in a folder of its own.

        Raises ListError for what the format cannot hold: what is written reads back the same.
        """


class ImageFormat(Format, Protocol):
    """A format that holds the images themselves, so that writing it takes long."""

    def write(
        self, labelled: LabelledImages, target: Path, options: FormatOptions, progress: Progress = SILENT
    ) -> None:
        """Write a set as ``Format.write`` does, and tell ``progress``."""


# Asked in this order: a format that others could be taken for comes after them.
FORMATS: tuple[Format, ...] = (
    voc_tree,
    paddlex_list,
    coco_instances,
    mmpretrain_json,
    json_lines,
    rec_file,
    single_label_lst,
    multi_hot_lst,
    csv_tags,
    csv_columns,
    text_files,
    folder_names,
)


HOLDING_IMAGES: tuple[ImageFormat, ...] = (rec_file, folder_names)
"""The formats that hold the images themselves."""

KEEPING_INDEX: tuple[Format, ...] = (rec_file, single_label_lst, multi_hot_lst)
"""The formats that hold the index numbers of a list; the images of the others count from 0."""


BESIDE_IMAGES: tuple[Format, ...] = (
    coco_instances,
    mmpretrain_json,
    json_lines,
    single_label_lst,
    multi_hot_lst,
    csv_tags,
    csv_columns,
)
"""The formats of one file that names its images, which may be beside it."""


_OWN_ROOTS: Mapping[str, Callable[[Path], Path]] = {
    voc_tree.NAME: voc_tree.default_root,
    paddlex_list.NAME: paddlex_list.default_root,
    folder_names.NAME: folder_names.default_root,
}


def default_root(format: Format, path: Path) -> Path:
    """Return the folder that the images are under where nobody says another; some formats have their own rule."""
    own = _OWN_ROOTS.get(format.NAME)
    return DEFAULT_ROOT if own is None else own(path)


def default_source(root: Path) -> Path:
    """Return where the labels of the images under ``root`` are: its ``labels.csv``, or else its folders' names."""
    table = root / "labels.csv"
    return table if table.exists() else root


def source_in(path: Path) -> Path:
    """Return the ``labels.csv`` of a folder that is of no other format than folders, else the path itself."""
    if not os.path.isfile(os.path.join(path, "labels.csv")):
        return path
    special = any(format.recognises(path) for format in FORMATS if format is not folder_names)
    return path if special else default_source(path)


def by_name(name: str) -> Format:
    """Return the format called ``name``."""
    return next(format for format in FORMATS if name == format.NAME)


def recognise(path: Path, outputs: Container[str] = ()) -> Format:
    """Return the format that ``path`` has; raise ListError for none.

    A folder of folders with labels of another format in it is refused, unless these are among ``outputs``, the real
    paths of files that are written from it.
    """
    require_there(path)
    for format in FORMATS:
        if format.recognises(path):
            if format is folder_names:
                _refuse_labels_inside(path, outputs)
            return format
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise ListError(f"{path}: is an image, should be a file of labels or a folder of labelled images")
    known = ", ".join(format.NAME for format in FORMATS)
    raise ListError(f"{path}: holds labels in no known format; set `format` to one of: {known}")


def _refuse_labels_inside(folder: Path, outputs: Container[str]) -> None:
    """Raise ListError for a folder that has labels of another format in it: its folders' names are then no labels."""
    inner = _entries(folder)
    for entry in [*inner, *(entry for folder in inner[:_FOLDERS_LOOKED_INTO] for entry in _entries(folder))]:
        for format in FORMATS:
            if format is not folder_names and format.recognises(entry) and os.path.realpath(entry) not in outputs:
                _refuse_ready_lists(folder, entry.parent)
                raise ListError(
                    f"{folder}: holds {entry}, which looks like labels of the format {format.NAME} ({format.TITLE}); "
                    "give that as the source, or say that `format` is folders"
                )


def _refuse_ready_lists(folder: Path, lists: Path) -> None:
    """Raise ListError where a folder in ``folder`` has lists that are split already, with how to train on them."""
    train, val = (lists / f"{subset}.lst" for subset in ("train", "val"))
    for file in (train, val):
        if next((format for format in FORMATS if file.is_file() and format.recognises(file)), None) != multi_hot_lst:
            return
    words = [f"`data_train` {shlex.quote(str(train))}", f"`data_val` {shlex.quote(str(val))}"]
    images = next((path for path in (lists / "images", folder / "images") if path.is_dir()), None)
    if images is not None and not (lists / RECORD).exists():
        words += [f"`{setting}` {shlex.quote(str(images))}" for setting in ("image_train", "image_val")]
    if (lists / LABEL_NAMES_FILE).is_file():
        words.append(f"`labels` {shlex.quote(str(lists / LABEL_NAMES_FILE))}")
    raise ListError(
        f"{folder}: holds lists that are split already, {train} and {val}; mxml train takes these as "
        f"{' '.join(words)}; for labels from the names of folders, say that `format` is folders"
    )


def _entries(folder: Path) -> list[Path]:
    """Return some of what is in a folder beside images, sorted; nothing for a file."""
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in itertools.islice(entries, _ENTRIES_LOOKED_AT)
                if not entry.name.startswith(".") and not entry.name.lower().endswith(IMAGE_SUFFIXES)
            ]
    except OSError:
        return []
    return [folder / name for name in sorted(names) if name != LABEL_NAMES_FILE]


def require_there(path: Path) -> None:
    """Raise ListError if ``path`` does not exist."""
    # Unlike Path.exists this is also right about a name that is longer than names may be.
    if not os.path.exists(path):
        raise ListError(f"{path}: does not exist, should be a file of labels or a folder of labelled images")
