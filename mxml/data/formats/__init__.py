"""The forms that labels come in: one module a form, each of them reads and writes it.

A new form is a new module here, with what ``Format`` lists, and its name in FORMATS.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Container, Sequence
from dataclasses import replace
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
from mxml.data.formats.options import DEFAULTS, SourceOptions
from mxml.data.image_list import read_label_names
from mxml.data.labelled_images import LabelledImages, merge, select_labels
from mxml.errors import ListError
from mxml.text import counted, shown

_ENTRIES_LOOKED_AT = 10_000
_FOLDERS_LOOKED_INTO = 200


class Format(Protocol):
    """What a module of this package offers."""

    NAME: str
    """What --from and --to call the form."""

    TITLE: str
    """What prose calls it."""

    SUFFIXES: tuple[str, ...]
    """How its files end; none where it is a folder."""

    def recognises(self, path: Path) -> bool:
        """Say whether ``path``, which is there, looks like this form; reads no more than its beginning."""

    def default_root(self, path: Path) -> Path:
        """Return the folder that the images are under where nobody says another."""

    def read(self, path: Path, root: Path, options: SourceOptions) -> LabelledImages:
        """Read images, named relative to ``root``, and their labels; raise ListError with every fault."""

    def write(self, labelled: LabelledImages, target: Path, options: SourceOptions) -> None:
        """Write a set to ``target``, a file or a new folder, and what belongs beside it, in a folder of its own.

        Raises ListError for what the form cannot hold: what is written reads back the same.
        """


# Asked in this order: a form that others could be taken for comes after them.
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


def default_source(root: Path) -> Path:
    """Return where the labels of the images under ``root`` are: its ``labels.csv``, or else its folders' names."""
    table = root / "labels.csv"
    return table if table.exists() else root


def by_name(name: str) -> Format:
    """Return the form called ``name``."""
    return next(source for source in FORMATS if name == source.NAME)


def recognise(path: Path, outputs: Container[str] = ()) -> Format:
    """Return the form that ``path`` has; raise ListError for none.

    A folder of folders with labels of another form in it is refused, unless these are among ``outputs``, the real paths
    of files that are written from it.
    """
    _require(path)
    for source in FORMATS:
        if source.recognises(path):
            if source is folder_names:
                _refuse_labels_inside(path, outputs)
            return source
    known = ", ".join(source.NAME for source in FORMATS)
    raise ListError(f"{path}: holds labels in no form that is known here; --from says which it is: {known}")


def _refuse_labels_inside(folder: Path, outputs: Container[str]) -> None:
    """Raise ListError for a folder that has labels of another form in it: its folders' names are then hardly labels."""
    inner = _entries(folder)
    for entry in [*inner, *(entry for place in inner[:_FOLDERS_LOOKED_INTO] for entry in _entries(place))]:
        for source in FORMATS:
            if source is not folder_names and source.recognises(entry) and os.path.realpath(entry) not in outputs:
                raise ListError(
                    f"{folder}: holds {entry}, which looks like labels of the form {source.NAME} ({source.TITLE}); "
                    "give that as SOURCE, or say --from folders"
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
    return [folder / name for name in sorted(names) if name != "labels.txt"]


def _require(path: Path) -> None:
    # Unlike Path.exists this is also right about a name that is longer than names may be.
    if not os.path.exists(path):
        raise ListError(f"{path}: is not there, should be a file of labels or a folder of labelled images")


def read_labels(
    paths: Sequence[Path],
    root: Path | None,
    format: str | None = None,
    classes_file: Path | None = None,
    ignore_unknown: bool = False,
    options: SourceOptions = DEFAULTS,
    outputs: Container[str] = (),
) -> tuple[LabelledImages, tuple[Format, ...]]:
    """Read one or several sources as one set; return it, and the format of each.

    ``root`` is the image folder, what the formats say by default where it is None; ``format`` is the NAME of all
    sources' format, recognised where it is None, as ``recognise`` does with ``outputs``; ``classes_file`` lists the
    labels wanted, in order. Raises ListError for faults in a source, for an image that two of them label differently,
    and for labels that are not in ``classes_file`` unless ``ignore_unknown``.
    """
    for path in paths:
        _require(path)
    formats = tuple(by_name(format) if format else recognise(path, outputs) for path in paths)
    roots = {source.default_root(path) for source, path in zip(formats, paths)} if root is None else {root}
    if len(roots) > 1:
        raise ListError(f"the images are under {' and '.join(sorted(map(str, roots)))}; --root says under which folder")
    root = roots.pop()
    if classes_file is not None:
        options = replace(options, classes=tuple(read_label_names(classes_file)))
    labelled = merge([(str(path), source.read(path, root, options)) for source, path in zip(formats, paths)])
    if options.classes is not None:
        labelled = select_labels(labelled, options.classes, ignore_unknown, str(classes_file))
    return labelled, formats


def check_num_classes(labelled: LabelledImages, num_classes: int | None, paths: Sequence[Path]) -> None:
    """Raise ListError, with the names, where a set has not ``num_classes`` labels; None leaves it open."""
    found = len(labelled.label_names)
    if num_classes is not None and num_classes != found:
        origin = ", ".join(map(str, paths))
        raise ListError(
            f"{origin}: has {counted(found, 'label')}, should be {num_classes}: {shown(labelled.label_names)}"
        )
