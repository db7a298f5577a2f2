"""The images of one source, gathered one by one with every fault, whatever form they come in."""

from __future__ import annotations

import array
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mxml.data.formats.options import FormatOptions
from mxml.data.image_list import ImageList, label_name_faults, path_fault, plain_path, read_label_names
from mxml.data.labelled_images import LabelledImages, describe, require_room
from mxml.errors import SHOWN_FAULTS, ListError
from mxml.text import quoted, shown

_KNOWN_LABELS = 1 << 20
_BLOCK_ROWS = 1 << 10


def labels_beside(path: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Return the labels.txt in the folder ``path``, or beside the file ``path``, with its names; None where none is."""
    file = (path if path.is_dir() else path.parent) / "labels.txt"
    return (file, tuple(read_label_names(file))) if file.is_file() else None


def rows_of_names(source: Path, options: FormatOptions, label_place: Path | None = None) -> Rows:
    """Return the Rows of a form that names labels only where images have them.

    The labels are those of the labels.txt beside ``source`` (or ``label_place``), and no others, if there is one and
    ``options.classes`` does not choose among them later.
    """
    beside = None if options.classes is not None else labels_beside(label_place or source)
    fixed_by, fixed = beside or (None, None)
    return Rows(source, fixed, fixed_by, options.allow_absolute)


class Rows:
    """Gathers images and their labels by name; equal repeats count once, different ones are faults that show both.

    ``fixed`` holds the label names in their order, and ``fixed_by`` is the file that says so; without them the labels
    are those that occur, sorted by their text. A place is a line number of ``source``, or a text that stands for
    itself.
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
        self._places: list[int | str] = []
        # Sorted column numbers as int32: present ones, then unknown ones as -1 - column.
        self._rows: list[bytes] = []
        # Most images have the same labels as an earlier one; rows of many labels have not, and would take much memory.
        self._known_rows: dict[tuple[tuple[str, ...], tuple[str, ...]], bytes] = {}
        self._room_for_known = _KNOWN_LABELS
        self._repeats = 0
        self._faults: list[str] = []
        self._fault_count = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, place: int | str, name: str, present: Iterable[str], unknown: Iterable[str] = ()) -> None:
        """Take one image with the labels that it shows and those of which nobody knows."""
        fault = path_fault(name, self._allow_absolute)
        if fault:
            self.fault(place, fault)
            return
        labels = (tuple(present), tuple(unknown))
        row = self._known_rows.get(labels)
        if row is None:
            row = self._row(place, name, *labels)
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
            self._places.append(place)
        elif self._rows[first] == row:
            self._repeats += 1
        elif self._is_full():
            self._fault_count += 1
        else:
            self.fault(
                place,
                f"{quoted(name)} has: {self._described(row)}; {self._at(self._places[first])} it has: "
                f"{self._described(self._rows[first])}; should be there once, or with the same labels",
            )

    def fault(self, place: int | str, fault: str) -> None:
        """Count a fault, and keep its message while there is room to show it."""
        self._fault_count += 1
        if not self._is_full():
            self._faults.append(f"{self.source}:{place}: {fault}" if isinstance(place, int) else f"{place}: {fault}")

    def refuse(self, error: ListError) -> None:
        """Count the faults of a file that is a part of the source."""
        self._fault_count += error.total
        self._faults = [*self._faults, *error.faults][:SHOWN_FAULTS]

    def finish(self, root: Path, notes: Iterable[str] = ()) -> LabelledImages:
        """Return the images in the order in which they came, or raise one ListError with every fault."""
        names = tuple(sorted(self._column)) if self._fixed is None else self._fixed
        if self._fault_count:
            raise ListError(self._faults, self._fault_count)
        if not self._rows:
            raise ListError(f"{self.source}: holds no images")
        if not names:
            raise ListError(f"{self.source}: holds no labels")
        require_room(self.source, len(self._rows), len(names))
        place_of = {name: position for position, name in enumerate(names)}
        final = np.array([place_of[name] for name in self._column], np.int64)
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
            times = "1 image is" if self._repeats == 1 else f"{self._repeats:,} images are"
            all_notes.append(f"{self.source}: {times} named again with the same labels, kept once")
        images = ImageList.from_rows(self._names, table, root)
        return LabelledImages(images, names, tuple(all_notes))

    def _row(self, place: int | str, name: str, present: tuple[str, ...], unknown: tuple[str, ...]) -> bytes | None:
        """Return the columns of an image's labels; None, with a fault noted, where they cannot be so."""
        columns = self._columns(place, present)
        masked = self._columns(place, unknown)
        if columns is None or masked is None:
            return None
        both = columns & masked
        if both:
            label = next(label for label in present if self._column[label] in both)
            self.fault(place, f"the label {quoted(label)} of {quoted(name)} is both present and unknown")
            return None
        return array.array("i", [*sorted(columns), *sorted(-1 - column for column in masked)]).tobytes()

    def _columns(self, place: int | str, labels: Iterable[str]) -> set[int] | None:
        """Return the columns of labels; None, with a fault noted, where one is not among the fixed ones."""
        columns = set()
        for label in labels:
            column = self._column.get(label)
            if column is None:
                if self._fixed is not None:
                    by = f"in {self._fixed_by}" if self._fixed_by else f"among {shown(self._fixed)}"
                    self.fault(place, f"the label {quoted(label)} is not {by}; add it there, or give --classes FILE")
                    return None
                for _, fault in label_name_faults([label]):
                    self.fault(place, fault)
                    return None
                column = self._column[label] = len(self._column)
            columns.add(column)
        return columns

    def _is_full(self) -> bool:
        return len(self._faults) >= SHOWN_FAULTS

    def _described(self, row: bytes) -> str:
        labels = np.zeros(len(self._column), np.int8)
        for column in np.frombuffer(row, np.int32).tolist():
            labels[column if column >= 0 else -1 - column] = 1 if column >= 0 else -1
        return describe(labels, list(self._column))

    def _at(self, place: int | str) -> str:
        return f"on line {place}" if isinstance(place, int) else f"in {place}"
