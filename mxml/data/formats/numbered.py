"""What forms have in common that write labels by number: .lst files and .rec files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mxml.data.formats.options import FormatOptions
from mxml.data.formats.rows import labels_beside
from mxml.data.image_list import ImageList, plain_path
from mxml.data.labelled_images import describe, require_room
from mxml.errors import SHOWN_FAULTS, ListError
from mxml.text import counted, quoted, shown

MAX_CLASS_NUMBER = 100_000
"""Largest class number where nothing names the classes: a larger one is some other number."""

Places = Callable[[np.ndarray], list[str]]
"""Says where positions of a set are in its file; called only where there is something to say."""


def holds_class_numbers(path: Path, largest: float, options: FormatOptions) -> bool:
    """Say whether a single label an image is the number of its class, or else a column of 1, 0 and -1.

    It is a class number where some value, of which ``largest`` is the largest, is greater than 1, or where there are
    names of more than one class: in the labels.txt beside ``path``, or without one in ``options``.
    """
    beside = labels_beside(path)
    names = beside[1] if beside else options.classes or ()
    return largest > 1 or len(names) > 1


def column_names(path: Path, count: int, options: FormatOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of ``count`` columns of labels, and notes.

    They come from the labels.txt beside ``path``, or else ``options``, or else are class_0, class_1, ... Raises
    ListError where there are more or fewer names.
    """
    hint = "; if that is a class number: --from single-lst" if count == 1 else ""
    beside = labels_beside(path)
    if beside:
        file, names = beside
        if len(names) != count:
            raise ListError(
                f"{file}: has {counted(len(names), 'label')}, should be {count} like {path.name}: {shown(names)}{hint}"
            )
        return names, ()
    if options.classes is not None:
        if len(options.classes) != count:
            raise ListError(
                f"{path}: has {counted(count, 'label')} an image, and --classes names {len(options.classes):,}; "
                f"should be as many, or a labels.txt beside it should name its own{hint}"
            )
        return options.classes, ()
    if count == 1:
        note = (
            f"{path}: one value of 0 or 1 an image was taken as one label, absent or present; if it is a class number, "
            "put a labels.txt with the names of the classes beside it"
        )
    else:
        note = (
            f"{path}: nothing names its labels, so they are class_0 to class_{count - 1}; a labels.txt beside it or "
            "--classes FILE names them"
        )
    return tuple(f"class_{number}" for number in range(count)), (note,)


def class_table(
    path: Path, numbers: np.ndarray, options: FormatOptions, places: Places
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (N, C) int8 with one present label a row, from (N,) floats that are class numbers; and the C names.

    The names come from the labels.txt beside ``path``, or else ``options``, or else are class_0 to the largest number
    there is. Raises ListError for what is no class number, and for numbers beyond the names.
    """
    beside = labels_beside(path)
    if beside:
        names: tuple[str, ...] | None = beside[1]
        named = f"{beside[0]} has {counted(len(beside[1]), 'label')}"
    else:
        names = options.classes
        named = f"--classes names {len(names or ()):,}"
    most = MAX_CLASS_NUMBER if names is None else len(names) - 1
    faulty = np.flatnonzero(~((numbers >= 0) & (numbers <= most) & (numbers == np.floor(numbers))))
    if len(faulty):
        faults = []
        for place, number in zip(places(faulty[:SHOWN_FAULTS]), numbers[faulty].tolist()):
            if number == -1:
                should = "0 or more; unknown (-1) has its place in lists with one column a class"
            elif number < 0 or number != np.floor(number):
                should = "a whole number from 0"
            else:
                should = f"at most {most:,}" + ("" if names is None else f", as {named}")
            faults.append(f"{place}: the class number is {number:.8g}, should be {should}")
        raise ListError(faults, len(faulty))
    classes = numbers.astype(np.int64)
    if names is None:
        names = tuple(f"class_{number}" for number in range(int(classes.max()) + 1))
    require_room(path, len(classes), len(names))
    table = np.zeros((len(classes), len(names)), np.int8)
    table[np.arange(len(classes)), classes] = 1
    return table, names


def without_repeats(
    path: Path, images: ImageList, label_names: tuple[str, ...], places: Places
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
            f"{place}: {quoted(names[position])} has: {describe(images.labels[position], label_names)}; "
            f"at {first_place} it has: {describe(images.labels[earlier], label_names)}; "
            "should be there once, or with the same labels"
            for place, first_place, position, earlier in zip(
                places(again[chosen]), places(firsts[chosen]), again[chosen].tolist(), firsts[chosen].tolist()
            )
        ]
        raise ListError(faults, len(differ))
    times = "1 image is" if len(again) == 1 else f"{len(again):,} images are"
    kept = np.delete(np.arange(len(names)), again)
    return images.select(kept), (f"{path}: {times} named again with the same labels, kept once",)
