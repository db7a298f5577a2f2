"""What formats have in common that write labels by number: .lst files and .rec files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mxml.data.formats.options import FormatOptions
from mxml.data.formats.rows import repeats_note
from mxml.data.image_list import ImageList, plain_path
from mxml.data.label_names import names_beside
from mxml.data.labelled_images import describe, require_room
from mxml.errors import SHOWN_FAULTS, ListError
from mxml.text import counted, quoted, shown_labels

MAX_CLASS_NUMBER = 100_000
"""Largest class number where nothing names the classes: a larger number is not a class number."""

Locations = Callable[[np.ndarray], list[str]]
"""Says where in its file the images at some positions of a set are; called only where there is something to say."""


def holds_class_numbers(path: Path, largest: float, options: FormatOptions) -> bool:
    """Say whether the single label of each image is the number of its class, or else a column of 1, 0 and -1.

    It is a class number where some value, of which ``largest`` is the largest, is greater than 1, or where there are
    names of more than one class: in the labels.txt beside ``path``, or without one in ``options``.
    """
    beside = names_beside(path)
    names = beside[1] if beside else options.classes or ()
    return largest > 1 or len(names) > 1


def column_names(path: Path, count: int, options: FormatOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of ``count`` columns of labels, and notes.

    They come from the labels.txt beside ``path``, or else ``options``, or else are class_0, class_1, ... Raises
    ListError where there are more or fewer names.
    """
    hint = "; if that is a class number, `format` should be single-lst" if count == 1 else ""
    beside = names_beside(path)
    if beside:
        file, names = beside
        if len(names) != count:
            raise ListError(
                f"{file}: has {counted(len(names), 'label')}, should be {count} like {path.name}: "
                f"{shown_labels(names)}{hint}"
            )
        return names, ()
    if options.classes is not None:
        if len(options.classes) != count:
            raise ListError(
                f"{path}: has {counted(count, 'label')} per image, and `classes_file` names {len(options.classes):,}; "
                f"should be as many, or a labels.txt beside it should name its own{hint}"
            )
        return options.classes, ()
    if count == 1:
        note = (
            f"{path}: one value of 0 or 1 per image was read as one label, absent or present; if it is a class "
            "number, put a labels.txt with the names of the classes beside it"
        )
    else:
        note = (
            f"{path}: its labels have no names, so they are called class_0 to class_{count - 1}; name them "
            "in a labels.txt beside it or with `classes_file`"
        )
    return tuple(f"class_{number}" for number in range(count)), (note,)


def class_table(
    path: Path, numbers: np.ndarray, options: FormatOptions, locations: Locations
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (N, C) int8 with one present label per row, from (N,) floats that are class numbers; and the C names.

    The names come from the labels.txt beside ``path``, or else ``options``, or else are class_0 to the largest number
    there is. Raises ListError for what is not a class number, and for numbers beyond the names.
    """
    beside = names_beside(path)
    if beside:
        names: tuple[str, ...] | None = beside[1]
        named = f"{beside[0]} has {counted(len(beside[1]), 'label')}"
    else:
        names = options.classes
        named = f"`classes_file` names {len(names or ()):,}"
    most = MAX_CLASS_NUMBER if names is None else len(names) - 1
    faulty = np.flatnonzero(~((numbers >= 0) & (numbers <= most) & (numbers == np.floor(numbers))))
    if len(faulty):
        faults = []
        for location, number in zip(locations(faulty[:SHOWN_FAULTS]), numbers[faulty].tolist()):
            if number == -1:
                should = "0 or more; unknown (-1) belongs in lists with one column per class"
            elif number < 0 or number != np.floor(number):
                should = "a whole number from 0"
            else:
                should = f"at most {most:,}" + ("" if names is None else f", as {named}")
            faults.append(f"{location}: the class number is {number:.8g}, should be {should}")
        raise ListError(faults, len(faulty))
    classes = numbers.astype(np.int64)
    if names is None:
        names = tuple(f"class_{number}" for number in range(int(classes.max()) + 1))
    require_room(path, len(classes), len(names))
    table = np.zeros((len(classes), len(names)), np.int8)
    table[np.arange(len(classes)), classes] = 1
    return table, names


def without_repeats(
    path: Path, images: ImageList, label_names: tuple[str, ...], locations: Locations
) -> tuple[ImageList, tuple[str, ...]]:
    """Return the images with each name once, and notes; raise ListError, showing both, where a name's labels differ."""
    names = images.names()
    plain = list(map(plain_path, names))
    if len(set(plain)) == len(plain):
        return images, ()
    first: dict[str, int] = {}
    pairs = [(first.setdefault(name, position), position) for position, name in enumerate(plain)]
    firsts, again = np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).T
    differ = np.flatnonzero((images.labels[firsts] != images.labels[again]).any(axis=1))
    if len(differ):
        chosen = differ[:SHOWN_FAULTS]
        faults = [
            f"{location}: {quoted(names[position])} has: {describe(images.labels[position], label_names)}; "
            f"at {first_location} it has: {describe(images.labels[earlier], label_names)}; "
            "should appear once, or with the same labels"
            for location, first_location, position, earlier in zip(
                locations(again[chosen]), locations(firsts[chosen]), again[chosen].tolist(), firsts[chosen].tolist()
            )
        ]
        raise ListError(faults, len(differ))
    kept = np.delete(np.arange(len(names)), again)
    return images.select(kept), (repeats_note(path, len(again)),)
