"""Images with the names of their labels: what every format of labels is read into, and written from."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mxml.data.image_list import ImageList, plain_path
from mxml.errors import Faults, ListError
from mxml.text import counted, quoted, shown

MAX_CELLS = 2 << 30
"""Largest table of labels, images times labels, that is built: each cell is a byte of memory, for a while several."""

LEFT_OUT = "`ignore_unknown` leaves it out"
"""What a message offers for a label that is not wanted."""

# Of names: a slip of the hand, and no other word.
_LIKE = 0.8


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """An image list, the names of its labels, one for each column, and what its reader wants said about it.

    Each of ``notes`` is one line for the user: what was left out, merged or taken in one of several ways.
    """

    images: ImageList
    label_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def described(self, position: int) -> str:
        """Return the labels of one image in words, such as ``red, dress, not known: striped``."""
        return describe(self.images.labels[position], self.label_names)


def describe(row: np.ndarray, label_names: Sequence[str]) -> str:
    """Return a row of labels in words, such as ``red, dress, not known: striped``; ``no label`` for none."""
    present = shown([label_names[column] for column in np.flatnonzero(row == 1)])
    unknown = shown([label_names[column] for column in np.flatnonzero(row == -1)])
    return ", ".join(filter(None, (present or "no label", unknown and f"not known: {unknown}")))


def require_room(source: object, images: int, labels: int) -> None:
    """Raise ListError where a table of so many images and labels would take too much memory."""
    if images * labels > MAX_CELLS:
        raise ListError(
            f"{source}: {images:,} images with {labels:,} labels are too many; are the labels what they should be?"
        )


def select_labels(
    labelled: LabelledImages, classes: Sequence[str], ignore_unknown: bool, classes_file: str
) -> LabelledImages:
    """Return the same images with the labels ``classes``, in that order; what is not among the old ones is absent.

    Raises ListError for labels that are not among ``classes`` and that some image has, unless ``ignore_unknown``
    leaves them out. ``classes_file`` is where the classes come from, for messages.
    """
    table = labelled.images.labels
    column = {name: position for position, name in enumerate(labelled.label_names)}
    wanted = set(classes)
    extra = [name for name in labelled.label_names if name not in wanted]
    counts = {name: int((table[:, column[name]] != 0).sum()) for name in extra}
    used = [name for name in extra if counts[name]]
    absent = [name for name in classes if name not in column]
    if not ignore_unknown:
        faults = Faults()
        for name in used:
            if not faults.has_room:
                faults.add()
                continue
            first = int(np.flatnonzero(table[:, column[name]])[0])
            near = difflib.get_close_matches(name, absent, 1, _LIKE)
            remedy = (
                f"did you mean {quoted(name)} by {quoted(near[0])} there, which no image has?"
                if near
                else f"add it, or {LEFT_OUT}"
            )
            faults.add(
                f"{classes_file}: lacks the label {quoted(name)} of {counted(counts[name], 'image')}, the first "
                f"{quoted(labelled.images.name(first))}; {remedy}"
            )
        faults.raise_any()
    require_room(classes_file, len(table), len(classes))
    chosen = np.zeros((len(table), len(classes)), table.dtype)
    for position, name in enumerate(classes):
        if name in column:
            chosen[:, position] = table[:, column[name]]
    notes = labelled.notes
    if used:
        notes += (f"{counted(len(used), 'label')} not in {classes_file} left out: {shown(used)}",)
    if absent:
        notes += (f"{counted(len(absent), 'label')} of {classes_file} that no image has: {shown(absent)}",)
    return LabelledImages(_with_labels(labelled.images, chosen), tuple(classes), notes)


def merge(parts: Sequence[tuple[str, LabelledImages]]) -> LabelledImages:
    """Return the images of several sources, given with their names, as one set under the first one's root.

    The labels are the first source's, then what the others add; a label that a source does not know is absent in its
    images. An image in several sources counts once; raises ListError, showing both, where its labels differ. The images
    keep their index numbers where no two have the same, and else count from 0.
    """
    if len(parts) == 1:
        return parts[0][1]
    label_names = tuple(dict.fromkeys(name for _, part in parts for name in part.label_names))
    require_room(", ".join(source for source, _ in parts), sum(len(part.images) for _, part in parts), len(label_names))
    column = {name: position for position, name in enumerate(label_names)}
    names: list[str] = []
    rows: list[np.ndarray] = []
    where: dict[str, int] = {}
    origin: list[str] = []
    index: list[int] = []
    faults = Faults()
    repeats = 0
    for source, part in parts:
        table = np.zeros((len(part.images), len(label_names)), np.int8)
        table[:, [column[name] for name in part.label_names]] = part.images.labels
        for number, name, row in zip(part.images.index.tolist(), part.images.names(), table):
            first = where.setdefault(plain_path(name), len(names))
            if first == len(names):
                names.append(name)
                rows.append(row)
                index.append(number)
                origin.append(source)
            elif np.array_equal(rows[first], row):
                repeats += 1
            elif faults.has_room:
                faults.add(
                    f"{source}: {quoted(name)} has: {describe(row, label_names)}; in {origin[first]} it has: "
                    f"{describe(rows[first], label_names)}; should have the same labels everywhere"
                )
            else:
                faults.add()
    faults.raise_any()
    notes = tuple(note for _, part in parts for note in part.notes)
    if repeats:
        notes += (f"{counted(repeats, 'image')} named by several sources with the same labels, kept once",)
    # Lists that each count from 0 would give several images one number.
    numbers = index if len(set(index)) == len(index) else None
    images = ImageList.from_rows(names, np.array(rows, np.int8), parts[0][1].images.root, numbers)
    return LabelledImages(images, label_names, notes)


def _with_labels(images: ImageList, labels: np.ndarray) -> ImageList:
    return ImageList(images.index, labels, images.root, images.name_bytes, images.name_offsets)
