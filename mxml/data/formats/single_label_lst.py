"""Labels in an image list with one class number per image, as im2rec has it: ``0 TAB 3.000000 TAB photos/1.jpg``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mxml.data.formats.numbered import class_table, holds_class_numbers, without_repeats
from mxml.data.formats.options import DEFAULTS, FormatOptions
from mxml.data.image_list import ImageList
from mxml.data.label_names import format_label_names, label_names_file
from mxml.data.labelled_images import LabelledImages
from mxml.data.lst_file import format_lst, read_good_lines, read_lst
from mxml.errors import ListError
from mxml.text import quoted

NAME = "single-lst"
TITLE = "image list with one class number per image"
SUFFIXES: tuple[str, ...] = (".lst",)

_HEAD_BYTES, _TAIL_BYTES = 48 << 10, 16 << 10


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a list with one value per image that is a class number by ``holds_class_numbers``."""
    if path.suffix.lower() != ".lst" or not path.is_file():
        return False
    try:
        lines = _some_lines(path)
        values = [_only_label(line) for line in lines]
        if not values or values[0] is None:
            return False
        return holds_class_numbers(path, max(value for value in values if value is not None), DEFAULTS)
    except (OSError, ListError):
        return False


def _some_lines(path: Path) -> list[bytes]:
    """Return lines from the beginning and the end of a file: sorted by class, it begins with many of class 0 and 1."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
        rest = file.seek(0, 2) - len(head)
        file.seek(-min(rest, _TAIL_BYTES), 2)
        tail = file.read(_TAIL_BYTES)
    lines = head.split(b"\n")
    if rest:
        lines = lines[:-1] + tail.split(b"\n")[1:]
    return [line for line in lines if line.strip()]


def _only_label(line: bytes) -> float | None:
    """Return the label of a line that has one; None for another."""
    fields = line.split(b"\t") if b"\t" in line else line.split()
    if len(fields) != 3:
        return None
    try:
        return float(fields[1])
    except ValueError:
        return None


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read a list in its order, each image with its index; its classes are named by the labels.txt beside it.

    Without one, ``options.classes`` names them, or else they are class_0 to the largest number there is. Raises
    ListError with every fault.
    """
    images = read_lst(path, root, 1, allow_absolute=options.allow_absolute, any_values=True)

    def locations(positions: np.ndarray) -> list[str]:
        good = read_good_lines(path, num_classes=1, allow_absolute=options.allow_absolute, any_values=True)
        return [f"{path}:{line}" for line in good.line_numbers[positions].tolist()]

    table, label_names = class_table(path, images.labels[:, 0], options, locations)
    images = ImageList(images.index, table, images.root, images.name_bytes, images.name_offsets)
    images, notes = without_repeats(path, images, label_names, locations)
    return LabelledImages(images, label_names, notes)


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write a list and its labels.txt; the images keep their index.

    Raises ListError unless every image has exactly one label and none is unknown.
    """
    images = labelled.images
    others = np.flatnonzero(((images.labels == 1).sum(axis=1) != 1) | (images.labels == -1).any(axis=1))
    if len(others):
        first = int(others[0])
        raise ListError(
            f"{quoted(images.name(first))} has: {labelled.described(first)}; single-lst holds one known label per "
            "image; csv, jsonl and coco hold any"
        )
    numbers = images.labels.argmax(axis=1).astype(np.float32)[:, np.newaxis]
    content = format_lst(ImageList(images.index, numbers, images.root, images.name_bytes, images.name_offsets))
    names = format_label_names(labelled.label_names)
    target.write_bytes(content)
    label_names_file(target).write_bytes(names)
