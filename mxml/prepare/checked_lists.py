"""Image lists as they are checked: what could be read of them, which files they name, and which show the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageContent, ImageFiles, ImageSource
from mxml.data.label_names import names_beside, read_label_names, require_same_names
from mxml.data.lst_file import GoodLines, read_good_lines
from mxml.data.record_list import RecordList, is_record_file
from mxml.errors import ListError
from mxml.images.decode import Limits
from mxml.prepare.duplicates import Duplicates
from mxml.prepare.image_scan import ImageScan

Entry = tuple[int, int]
"""An image as a list names it: the list's number and a position in its images."""


@dataclass(frozen=True, eq=False)
class OpenedList(GoodLines):
    """The good lines of a list, or the records of a file of them, each of which counts as a line."""

    records: RecordList | None = None

    @property
    def source(self) -> ImageSource:
        """Return where the images come from."""
        return ImageFiles(self.images) if self.records is None else self.records


@dataclass(frozen=True, eq=False)
class CheckedList:
    """One list: its good lines, and what is wrong with the others.

    ``path`` is the list's, as it was given. ``images`` holds the good lines; ``line_numbers`` (N,) int64 says which
    lines these are, counted from 1; ``rows`` (N,) int64 are their rows in the scan of all lists. ``usable`` (N,) bool
    says which images have no fault. ``line_faults`` are the messages of the faulty lines, one each, of
    ``line_fault_count``; 10,000 are kept. ``source`` is where the images come from. Of a file of records, which may be
    in a list's place, the records are its lines.
    """

    path: str
    images: ImageList
    line_numbers: np.ndarray
    rows: np.ndarray
    usable: np.ndarray
    line_faults: tuple[str, ...]
    line_fault_count: int
    source: ImageSource

    def location(self, position: int) -> str:
        """Return the list, the line and the name of an image: ``train.lst:12: a.jpg``."""
        if is_record_file(self.path):
            return self.source.name(position)
        return f"{self.path}:{self.line_numbers[position]}: {self.images.name(position)}"

    def fixed(self) -> ImageList:
        """Return the list without what is broken, which may leave nothing."""
        return self.images.select(np.flatnonzero(self.usable))

    @property
    def broken_lines(self) -> int:
        """Return how many lines ``fixed`` leaves out."""
        return self.line_fault_count + int(np.count_nonzero(~self.usable))


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that show the same: at least two different files.

    ``entries`` are sorted. ``exact`` says that all files hold the same bytes; otherwise ``distance`` is the largest
    number of bits in which the perceptual hashes of two images found alike differ (0 for exact ones). ``labels_differ``
    says that one has a label that another has not; an unknown label differs from none. ``across_lists`` says that they
    are in more than one list.
    """

    entries: tuple[Entry, ...]
    exact: bool
    distance: int
    labels_differ: bool
    across_lists: bool


def read_lists(
    paths: Sequence[str | os.PathLike[str]],
    roots: Sequence[str],
    labels: str | os.PathLike[str] | None,
    allow_absolute: bool,
) -> tuple[list[OpenedList], list[str], str | None]:
    """Return the good lines of each list, as many labels in each as in the first; the labels' names, and their file.

    The names are those of the file ``labels``; unless it is given of labels.txt beside the first list, and class_0 and
    so on where there is none. Raises ListError where a list has no good line of that many labels, and where labels.txt
    beside another list names other ones.
    """
    beside = names_beside(paths[0]) if labels is None else None
    if beside is not None:
        labels = beside[0]
        for path in paths[1:]:
            require_same_names(path, beside[1], beside[0])
    names = None if labels is None else read_label_names(labels)
    width = None if names is None else len(names)
    try:
        train = _read_list(paths[0], roots[0], width, allow_absolute)
    except ListError:
        # Raises the same again, unless it is the number of label names that no line agrees with.
        train = _read_list(paths[0], roots[0], None, allow_absolute)
        if labels is not None:
            read_label_names(labels, train.images.num_classes)
    width = train.images.num_classes
    others = [_read_list(path, root, width, allow_absolute) for path, root in zip(paths[1:], roots[1:])]
    names = names or [f"class_{index}" for index in range(width)]
    return [train, *others], names, None if labels is None else os.fspath(labels)


def _read_list(path: str | os.PathLike[str], root: str, width: int | None, allow_absolute: bool) -> OpenedList:
    """Read the good lines of a list, or the records of a file of them."""
    if not is_record_file(path):
        lines = read_good_lines(path, root, width, allow_absolute=allow_absolute)
        return OpenedList(lines.images, lines.line_numbers, lines.faults, lines.fault_count)
    records = RecordList(path, width)
    within = len(f"{os.fspath(path)}: ")
    names = [records.name(position)[within:] for position in range(len(records))]
    images = ImageList.from_rows(names, records.labels, os.path.dirname(path) or ".")
    return OpenedList(images, records.record_numbers, (), 0, records)


class DistinctImages:
    """The images of several lists, each once, as a source: image ``positions[i]`` of ``sources[numbers[i]]``."""

    def __init__(self, sources: Sequence[ImageSource], numbers: Sequence[int], positions: Sequence[int]):
        self._sources = sources
        self._numbers = np.array(numbers, np.int32)
        self._positions = np.array(positions, np.int64)

    def __len__(self) -> int:
        return len(self._positions)

    def name(self, position: int) -> str:
        """Return what messages call the image."""
        return self._sources[self._numbers[position]].name(int(self._positions[position]))

    def read(self, position: int, limits: Limits) -> ImageContent:
        """Return the image as it is stored. Raises ImageError for one that cannot be read."""
        return self._sources[self._numbers[position]].read(int(self._positions[position]), limits)


def distinct_images(
    lists: Sequence[OpenedList], paths: Sequence[str | os.PathLike[str]]
) -> tuple[DistinctImages, list[np.ndarray]]:
    """Return each image once, in the order of its first mention, and for each list the rows of its images there.

    Images are the same where their paths lead to one name in one folder, whatever the root and the links on the way to
    the folder; a link to a file is an image of its own. Records are the same in the same file of records, one of
    ``paths``.
    """
    known: dict[str, int] = {}
    folders: dict[str, str] = {}
    numbers: list[int] = []
    positions: list[int] = []
    rows = []
    for number, (opened, path) in enumerate(zip(lists, paths)):
        its_rows = np.empty(len(opened.images), np.int64)
        for position, name in enumerate(opened.images.names()):
            whole = os.path.join(opened.images.root, name)
            folder, file = (os.fspath(path), name) if opened.records is not None else os.path.split(whole)
            real = folders.get(folder)
            if real is None:
                # Of a folder that does not exist, realpath would take back the steps that lead nowhere.
                real = folders[folder] = os.path.realpath(folder) if os.path.exists(folder or ".") else folder
            row = its_rows[position] = known.setdefault(os.path.join(real, file), len(numbers))
            if row == len(numbers):
                numbers.append(number)
                positions.append(position)
        rows.append(its_rows)
    return DistinctImages([opened.source for opened in lists], numbers, positions), rows


class Entries:
    """Which entries of the lists name each row of the scan."""

    def __init__(self, lists: Sequence[CheckedList], rows: int):
        row = np.concatenate([checked.rows for checked in lists])
        # Stable, so that the entries of a row are sorted.
        order = np.argsort(row, kind="stable")
        self._number = np.repeat(np.arange(len(lists)), [len(checked.rows) for checked in lists])[order]
        self._position = np.concatenate([np.arange(len(checked.rows)) for checked in lists])[order]
        self._start = np.zeros(rows + 1, np.int64)
        np.cumsum(np.bincount(row, minlength=rows), out=self._start[1:])

    def of(self, row: int) -> list[Entry]:
        """Return the entries that name a row, sorted."""
        span = slice(self._start[row], self._start[row + 1])
        return list(zip(self._number[span].tolist(), self._position[span].tolist()))

    def repeated(self) -> list[int]:
        """Return the rows that more than one entry names."""
        rows: list[int] = np.flatnonzero(np.diff(self._start) > 1).tolist()
        return rows


def group_duplicates(
    lists: Sequence[CheckedList], entries: Entries, scan: ImageScan, found: Duplicates
) -> tuple[DuplicateGroup, ...]:
    """Say for each group of rows of the scan that was found where the lists name them, and how alike they are."""
    groups = found.groups()
    number_of = np.full(len(scan.readable), -1, np.int64)
    for number, rows in enumerate(groups):
        number_of[rows] = number
    distances = np.zeros(len(groups), np.int64)
    np.maximum.at(distances, number_of[found.pairs[:, 0]], found.distance)
    made = []
    for rows, distance in zip(groups, distances.tolist()):
        named = sorted(entry for row in rows.tolist() for entry in entries.of(row))
        made.append(
            DuplicateGroup(
                tuple(named),
                bool((scan.digest[rows] == scan.digest[rows[0]]).all()),
                distance,
                conflicting(lists, named) is not None,
                len({number for number, _ in named}) > 1,
            )
        )
    return tuple(made)


def conflicting(lists: Sequence[CheckedList], entries: Sequence[Entry]) -> tuple[Entry, Entry] | None:
    """Return two of the entries of which one has a label that the other has not; None where all agree."""
    labels = np.stack([lists[number].images.labels[position] for number, position in entries])
    columns = np.flatnonzero((labels == 1).any(axis=0) & (labels == 0).any(axis=0))
    if not len(columns):
        return None
    column = labels[:, columns[0]]
    first, second = sorted((int(np.argmax(column == 1)), int(np.argmax(column == 0))))
    return entries[first], entries[second]
