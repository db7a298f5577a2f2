"""Labels in an image list as MXNet has them, one column per class: ``0 TAB 1.000000 TAB 0.000000 TAB photos/1.jpg``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mxml.data.formats.numbered import column_names, without_repeats
from mxml.data.formats.options import FormatOptions
from mxml.data.image_list import MAX_PATH_BYTES
from mxml.data.label_names import format_label_names, label_names_file
from mxml.data.labelled_images import LabelledImages
from mxml.data.lst_file import format_lst, read_good_lines, read_lst
from mxml.errors import ListError
from mxml.text_lines import MAX_LINE_BYTES

NAME = "lst"
TITLE = "image list with one column per label"
SUFFIXES: tuple[str, ...] = (".lst",)

_MAX_LABELS = (MAX_LINE_BYTES - MAX_PATH_BYTES - len("-9223372036854775808\t")) // len("-1.000000\t")


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a file with the suffix of an image list."""
    return path.suffix.lower() == ".lst" and path.is_file()


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read a list in its order, each image with its index; its columns are named by the labels.txt beside it.

    Without one, ``options.classes`` names them, or else they are class_0, class_1, ... Raises ListError with every
    fault.
    """
    images = read_lst(path, root, allow_absolute=options.allow_absolute)
    label_names, notes = column_names(path, images.num_classes, options)

    def locations(positions: np.ndarray) -> list[str]:
        lines = read_good_lines(path, allow_absolute=options.allow_absolute).line_numbers
        return [f"{path}:{line}" for line in lines[positions].tolist()]

    images, more = without_repeats(path, images, label_names, locations)
    return LabelledImages(images, label_names, notes + more)


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write a list and its labels.txt; the images keep their index."""
    if labelled.images.num_classes > _MAX_LABELS:
        raise ListError(
            f"{labelled.images.num_classes:,} labels are more than the {_MAX_LABELS:,} that a line of a .lst has room "
            "for; csv, jsonl and coco hold them"
        )
    content, names = format_lst(labelled.images), format_label_names(labelled.label_names)
    target.write_bytes(content)
    label_names_file(target).write_bytes(names)
