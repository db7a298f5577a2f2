"""The record of a folder of sorted images: what went where, and how it is taken back."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mxml import atomic
from mxml.data.formats.file_tree import IMAGE_SUFFIXES
from mxml.errors import MxmlError, StorageError
from mxml.inference.placing import ACTIONS, place, same_content
from mxml.inference.results.layouts import csv_line, unguarded

NAME = "sorted.csv"
_HEADER = ("action", "from", "to", "labels")
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Placement:
    """One file that was brought into the folder.

    Attributes
    ----------
    action : str
        ``copy``, ``link`` or ``move``.
    source : str
        Where it came from, an absolute path.
    target : str
        Where it went, relative to the folder.
    labels : str
        The image's labels, ``|`` between them.
    """

    action: str
    source: str
    target: str
    labels: str


class SortingRecord:
    """The file ``sorted.csv`` in ``folder``: a row for each file, written before that file is touched."""

    def __init__(self, folder: str):
        self._folder = folder
        self.path = os.path.join(folder, NAME)

    def lock(self) -> None:
        """Keep other processes from sorting here as long as this record is there: they would finish its moves.

        Raises MxmlError where one does.
        """
        try:
            handle = os.open(self._folder, os.O_RDONLY)
            weakref.finalize(self, os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Where the file system knows no locks, the user has to know who sorts.
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise MxmlError(f"{self._folder}: another process sorts images into it; wait for that") from error

    def add(self, placement: Placement) -> None:
        """Add a row, and have it on disk before the file is touched. Raises StorageError where it cannot be written."""
        text = csv_line((placement.action, placement.source, placement.target, placement.labels))
        try:
            # Whoever may write here could make it a link to another file.
            with open(self.path, "ab", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o666)) as file:
                if not file.tell():
                    file.write(csv_line(_HEADER).encode())
                file.write(text.encode("utf-8", "surrogateescape"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def read(self) -> list[Placement]:
        """Return the rows, none where there is no record. Raises MxmlError for a file that is not a record."""
        try:
            with open(self.path, "rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise MxmlError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        if len(content) > _MOST_BYTES:
            raise MxmlError(f"{self.path}: has more than {_MOST_BYTES >> 20:,} MiB")
        text = content.decode("utf-8", "surrogateescape")
        rows = list(_rows(text, self.path))
        if content and (not rows or tuple(rows[0]) != _HEADER):
            raise MxmlError(f"{self.path}: is not the record of sorted images: its first row is another")
        return [self._placement(number, row) for number, row in enumerate(rows[1:], 2)]

    def repair(self) -> None:
        """Cut off a last row that a killed process has torn, and finish the move that it may have begun.

        Raises MxmlError and StorageError as ``read`` and ``add`` do.
        """
        placements = self.read()
        if not placements:
            return
        self.replace(placements)
        last = placements[-1]
        target = os.path.join(self._folder, last.target)
        # Between file systems a move is a copy, after which the original is removed.
        if last.action == "move" and _are_files(last.source, target) and same_content(last.source, target):
            os.unlink(last.source)

    def replace(self, placements: Sequence[Placement]) -> None:
        """Write these rows in place of all; without any, remove the file."""
        if not placements:
            if os.path.exists(self.path):
                os.unlink(self.path)
            return
        lines = [csv_line(_HEADER), *(csv_line((one.action, one.source, one.target, one.labels)) for one in placements)]
        atomic.write_bytes(self.path, "".join(lines).encode("utf-8", "surrogateescape"))

    def _placement(self, number: int, row: Sequence[str]) -> Placement:
        if len(row) != len(_HEADER) or row[0] not in ACTIONS or not _is_inside(row[2]) or not os.path.isabs(row[1]):
            raise MxmlError(f"{self.path}: row {number:,} is not one that mxml sort wrote; take it out")
        return Placement(*row)


def undo(folder: str) -> tuple[int, list[str]]:
    """Take back what the record of a folder says, the last first: moves go back, copies and links are removed.

    Nothing is lost: a copy is removed only while the original has the same content, and a move goes back only to a
    name that is free. What stays keeps its row in the record; folders that become empty are removed.

    Parameters
    ----------
    folder : str
        The folder that images were sorted into.

    Returns
    -------
    count : int
        How many files were taken back.
    left : list of str
        A line for each file that stays: which, and why.

    Raises
    ------
    MxmlError
        If the folder has no record, or a damaged one, or another process sorts into it.
    StorageError
        If a file cannot be moved.
    """
    record = SortingRecord(folder)
    if os.path.isdir(folder):
        record.lock()
    remaining = record.read()
    if not remaining:
        raise MxmlError(f"{record.path}: does not exist: mxml sort has sorted nothing into {folder}")
    left: list[str] = []
    kept: list[Placement] = []
    count = 0
    try:
        while remaining:
            fault = _take_back(remaining[-1], os.path.join(folder, remaining[-1].target))
            if fault:
                left.append(fault)
                kept.append(remaining[-1])
            else:
                count += 1
            remaining.pop()
    finally:
        record.replace([*remaining, *reversed(kept)])
    return count, left


def _take_back(placement: Placement, target: str) -> str:
    """Take one file back; return why not, or an empty text."""
    source = placement.source
    if not os.path.lexists(target):
        # It was never brought there, or somebody took it.
        return "" if os.path.lexists(source) else f"{target}: is gone, and so is {source}"
    if placement.action == "move" and not os.path.lexists(source):
        if not _is_of_image(source):
            return f"{target}: stays, since {source} is no usual name of an image; move it yourself"
        atomic.make_folder(os.path.dirname(source))
        place("move", target, source)
    elif _are_files(source, target) and same_content(source, target):
        os.unlink(target)
    else:
        reason = "is in its old place" if placement.action == "move" else "is no longer the same, or gone"
        return f"{target}: stays, since {source} {reason}"
    _remove_if_empty(os.path.dirname(target))
    return ""


def _remove_if_empty(folder: str) -> None:
    if not os.listdir(folder):
        os.rmdir(folder)


def _are_files(*paths: str) -> bool:
    return all(os.path.isfile(path) and not os.path.islink(path) for path in paths)


def _is_of_image(path: str) -> bool:
    """Say whether a path is that of an image: a record from elsewhere is not to bring a file to any other place."""
    name = os.path.basename(path)
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def _is_inside(path: str) -> bool:
    return bool(path) and not os.path.isabs(path) and ".." not in path.split(os.sep) and "\0" not in path


def _rows(text: str, path: str) -> Iterator[list[str]]:
    # A torn last row has no line end, or ends inside quotation marks.
    whole = text[: text.rfind("\n") + 1]
    while whole.count('"') % 2:
        whole = whole[: whole.rfind("\n", 0, -1) + 1]
    try:
        for row in csv.reader(io.StringIO(whole, newline=""), strict=True):
            yield [unguarded(cell) for cell in row]
    except csv.Error as error:
        raise MxmlError(f"{path}: is not CSV ({error})") from error
