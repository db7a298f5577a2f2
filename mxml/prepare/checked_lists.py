"""Image lists as they are checked: what could be read of them, which files they name, and which show the same."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.label_names import names_beside, read_label_names, require_same_names
from mxml.data.lst_file import GoodLines, read_good_lines
from mxml.data.record_list import is_record_file
from mxml.errors import ListError
from mxml.prepare.duplicates import Duplicates
from mxml.prepare.image_scan import ImageScan

Entry = tuple[int, int]
"""An image as a list names it: the list's number and a position in its images."""


@dataclass(frozen=True, eq=False)
class CheckedList:
    """One list: its good lines, and what is wrong with the others.

    ``path`` is the list's, as it was given. ``images`` holds the good lines; ``line_numbers`` (N,) int64 says which
    lines these are, counted from 1; ``rows`` (N,) int64 are their rows in the scan of all lists. ``usable`` (N,) bool
    says which images have no fault. ``line_faults`` are the messages of the faulty lines, one each, of
    ``line_fault_count``; 10,000 are kept.
    """

    path: str
    images: ImageList
    line_numbers: np.ndarray
    rows: np.ndarray
    usable: np.ndarray
    line_faults: tuple[str, ...]
    line_fault_count: int

    def location(self, position: int) -> str:
        """Return the list, the line and the name of an image: ``train.lst:12: a.jpg``."""
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
) -> tuple[list[GoodLines], list[str], str | None]:
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


def _read_list(path: str | os.PathLike[str], root: str, width: int | None, allow_absolute: bool) -> GoodLines:
    """Read the good lines of a list; refuse a record file, whose images are not files of their own."""
    if is_record_file(path):
        name = os.fspath(path)
        out = shlex.quote(f"{os.path.splitext(os.path.basename(name))[0]}.lst")
        raise ListError(
            f"{name}: is a record file, and only images that are files are checked: mxml convert {shlex.quote(name)} "
            f"`to` lst `unpack` `root` FOLDER `out` FOLDER/{out} writes them into FOLDER, with a list to check"
        )
    return read_good_lines(path, root, width, allow_absolute=allow_absolute)


def distinct_images(lists: Sequence[ImageList]) -> tuple[ImageList, list[np.ndarray]]:
    """Return each path once, in the order of its first mention, and for each list the rows of its images there.

    Paths are the same where they lead to one name in one folder, whatever the root and the links on the way to the
    folder; a link to a file is a path of its own. The paths returned are joined to their roots.
    """
    known: dict[str, int] = {}
    folders: dict[str, str] = {}
    paths: list[str] = []
    rows = []
    for images in lists:
        its_rows = np.empty(len(images), np.int64)
        for position, name in enumerate(images.names()):
            path = os.path.join(images.root, name)
            folder, file = os.path.split(path)
            real = folders.get(folder)
            if real is None:
                # Of a folder that does not exist, realpath would take back the steps that lead nowhere.
                real = folders[folder] = os.path.realpath(folder) if os.path.isdir(folder or ".") else folder
            row = its_rows[position] = known.setdefault(os.path.join(real, file), len(paths))
            if row == len(paths):
                paths.append(path)
        rows.append(its_rows)
    return ImageList.from_rows(paths, np.zeros((len(paths), 1), np.int8)), rows


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
