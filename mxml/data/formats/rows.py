"""The images of one source, gathered one by one with every fault, whatever format they come in."""

from __future__ import annotations

import array
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mxml.data.formats.options import FormatOptions
from mxml.data.image_list import ImageList, path_fault, plain_path
from mxml.data.label_names import label_name_faults, names_beside
from mxml.data.labelled_images import LabelledImages, describe, require_room
from mxml.errors import Faults, ListError
from mxml.text import counted, quoted, shown

_KNOWN_LABELS = 1 << 20
_BLOCK_ROWS = 1 << 10


def rows_of_names(source: Path, options: FormatOptions, names_path: Path | None = None) -> Rows:
    """Return the Rows of a format that names labels only where images have them.

    The labels are those of the labels.txt beside ``source`` (or ``names_path``), and no others, if there is one and
    ``options.classes`` does not choose among them later.
    """
    beside = None if options.classes is not None else names_beside(names_path or source)
    fixed_by, fixed = beside or (None, None)
    return Rows(source, fixed, fixed_by, options.allow_absolute)


def repeats_note(source: Path, repeats: int) -> str:
    """Return the note that images were there again."""
    return f"{source}: {counted(repeats, 'image')} named again with the same labels, kept once"


class Rows:
    """Gathers images and their labels by name; equal repeats count once, different ones are faults that show both.

    ``fixed`` holds the label names in their order, and ``fixed_by`` is the file that says so; without them the labels
    are those that occur, sorted by their text. A location is a line number of ``source``, or a text that stands
    for itself.
    """

    def __init__(
        self,
        source: Path,
        fixed: Sequence[str] | None = None,
        fixed_by: str | os.PathLike[str] | None = None,
        allow_absolute: bool = False,
    ):
        self.source = source
        self._fixed = None if fixed is None else tuple(fixed)
        self._fixed_by = fixed_by
        self._allow_absolute = allow_absolute
        self._column = {name: position for position, name in enumerate(fixed or ())}
        # By the plain path: two spellings of it are one image.
        self._row_of: dict[str, int] = {}
        self._names: list[str] = []
        self._locations: list[int | str] = []
        # Sorted column numbers as int32: present ones, then unknown ones as -1 - column.
        self._rows: list[bytes] = []
        # Most images have the same labels as an earlier one; rows of many labels have not, and would take much memory.
        self._known_rows: dict[tuple[tuple[str, ...], tuple[str, ...]], bytes] = {}
        self._room_for_known = _KNOWN_LABELS
        self._repeats = 0
        self._faults = Faults()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, location: int | str, name: str, present: Iterable[str], unknown: Iterable[str] = ()) -> None:
        """Take one image with the labels that it shows and those that are unknown."""
        fault = path_fault(name, self._allow_absolute)
        if fault:
            self.fault(location, fault)
            return
        labels = (tuple(present), tuple(unknown))
        row = self._known_rows.get(labels)
        if row is None:
            row = self._row(location, name, *labels)
            if row is None:
                return
            size = 1 + len(labels[0]) + len(labels[1])
            if size <= self._room_for_known:
                self._room_for_known -= size
                self._known_rows[labels] = row
        first = self._row_of.setdefault(plain_path(name), len(self._rows))
        if first == len(self._rows):
            self._names.append(name)
            self._rows.append(row)
            self._locations.append(location)
        elif self._rows[first] == row:
            self._repeats += 1
        elif self._faults.has_room:
            self.fault(
                location,
                f"{quoted(name)} has: {self._described(row)}; {self._at(self._locations[first])} it has: "
                f"{self._described(self._rows[first])}; should appear once, or with the same labels",
            )
        else:
            self._faults.add()

    def fault(self, location: int | str, fault: str) -> None:
        """Count a fault, and keep its message while there is room to show it."""
        self._faults.add(f"{self.source}:{location}: {fault}" if isinstance(location, int) else f"{location}: {fault}")

    def refuse(self, error: ListError) -> None:
        """Count the faults of a file that is a part of the source."""
        self._faults.extend(error)

    def finish(self, root: Path, notes: Iterable[str] = ()) -> LabelledImages:
        """Return the images in the order in which they came, or raise one ListError with every fault."""
        names = tuple(sorted(self._column)) if self._fixed is None else self._fixed
        self._faults.raise_any()
        if not self._rows:
            raise ListError(f"{self.source}: holds no images")
        if not names:
            raise ListError(f"{self.source}: holds no labels")
        require_room(self.source, len(self._rows), len(names))
        position_of = {name: position for position, name in enumerate(names)}
        final = np.array([position_of[name] for name in self._column], np.int64)
        table = np.zeros((len(self._rows), len(names)), np.int8)
        for first in range(0, len(self._rows), _BLOCK_ROWS):
            block = self._rows[first : first + _BLOCK_ROWS]
            columns = np.frombuffer(b"".join(block), np.int32)
            rows = np.repeat(np.arange(first, first + len(block)), [len(row) // columns.itemsize for row in block])
            known = columns >= 0
            table[rows[known], final[columns[known]]] = 1
            table[rows[~known], final[-1 - columns[~known]]] = -1
        all_notes = list(notes)
        if self._repeats:
            all_notes.append(repeats_note(self.source, self._repeats))
        images = ImageList.from_rows(self._names, table, root)
        return LabelledImages(images, names, tuple(all_notes))

    def _row(self, location: int | str, name: str, present: tuple[str, ...], unknown: tuple[str, ...]) -> bytes | None:
        """Return the columns of an image's labels; None, with a fault noted, where they cannot be so."""
        columns = self._columns(location, present)
        masked = self._columns(location, unknown)
        if columns is None or masked is None:
            return None
        both = columns & masked
        if both:
            label = next(label for label in present if self._column[label] in both)
            self.fault(location, f"the label {quoted(label)} of {quoted(name)} is both present and unknown")
            return None
        return array.array("i", [*sorted(columns), *sorted(-1 - column for column in masked)]).tobytes()

    def _columns(self, location: int | str, labels: Iterable[str]) -> set[int] | None:
        """Return the columns of labels; None, with a fault noted, where one is not among the fixed ones."""
        columns = set()
        for label in labels:
            column = self._column.get(label)
            if column is None:
                if self._fixed is not None:
                    by = f"in {self._fixed_by}" if self._fixed_by else f"among {shown(self._fixed)}"
                    self.fault(location, f"the label {quoted(label)} is not {by}; add it there, or give `classes_file`")
                    return None
                for _, fault in label_name_faults([label]):
                    self.fault(location, fault)
                    return None
                column = self._column[label] = len(self._column)
            columns.add(column)
        return columns

    def _described(self, row: bytes) -> str:
        labels = np.zeros(len(self._column), np.int8)
        for column in np.frombuffer(row, np.int32).tolist():
            labels[column if column >= 0 else -1 - column] = 1 if column >= 0 else -1
        return describe(labels, list(self._column))

    def _at(self, location: int | str) -> str:
        return f"on line {location}" if isinstance(location, int) else f"in {location}"
