"""A file of predictions that is written row by row, and that a later process continues where a killed one was."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, NamedTuple

from mxml import atomic
from mxml.errors import MxmlError, SettingError, StorageError
from mxml.inference.prediction import Prediction
from mxml.inference.results.layouts import SUFFIXES, Layout, shown_path
from mxml.inference.results.made_with import MadeWith, record_path
from mxml.progress import SILENT, Progress
from mxml.text import counted

_MOST_ROW_BYTES = 64 << 20


class _Held(NamedTuple):
    """What an existing file holds: how often which path, how many rows, how many of bad images, and where they end."""

    paths: Counter[str]
    rows: int
    bad: int
    end: int


class ResultFile:
    """Writes predictions to ``path``, one row each, and beside it a record of what they were made with.

    Each row is handed to the system as it is written, so that a process that is killed loses none that is whole. With
    ``resume``, what is there is kept but for a torn last row, and ``holds`` tells which images need no prediction. As
    a context manager it writes the tail.

    Parameters
    ----------
    path : str
        The file; its folder is made.
    layout : Layout
        How rows are written.
    made_with : MadeWith
        What the predictions are made with.
    resume : bool, default False
        Continue the file if it exists.
    replace : bool, default False
        Write over a file that exists.
    progress : Progress, optional
        Receives a note of what the file holds, and of what it holds at the end.

    Attributes
    ----------
    held : tuple of int
        How many images that could be read the file held before, and how many that could not.

    Raises
    ------
    MxmlError
        If the file exists and neither ``resume`` nor ``replace`` is given, was made with something else, is not a file
        of predictions, or is written by another process.
    StorageError
        If it cannot be written.
    """

    def __init__(
        self,
        path: str,
        layout: Layout,
        made_with: MadeWith,
        *,
        resume: bool = False,
        replace: bool = False,
        progress: Progress = SILENT,
    ):
        self._path = path
        self._layout = layout
        self._progress = progress
        if os.path.lexists(path) and not (resume or replace):
            raise MxmlError(f"{path}: already exists; `resume` continues it, `force` replaces it")
        if replace and not resume and os.path.lexists(path) and not os.path.isfile(path):
            raise MxmlError(f"{path}: is not a regular file, should be a file to write")
        atomic.make_folder(os.path.dirname(path))
        with _storage_errors(path):
            # The object is the context manager, and closes it.
            self._file: BinaryIO = open(path, "r+b" if os.path.exists(path) else "x+b", buffering=0)  # noqa: SIM115
        try:
            held = self._begin(made_with, resume, progress)
        except BaseException:
            self._file.close()
            raise
        self._left = held.paths
        self.held = (held.rows - held.bad, held.bad)
        self._written = held.rows

    def holds(self, path: str) -> bool:
        """Say whether the file held the image before; one that it held twice is asked for twice, then no more."""
        key = shown_path(path)
        if self._left[key] <= 0:
            return False
        self._left[key] -= 1
        return True

    def write(self, prediction: Prediction) -> None:
        """Add a row. Raises StorageError where it cannot be written."""
        self._append(self._layout.row(prediction, first=not self._written))
        self._written += 1

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also after an error: what is there is then a whole file, which can be continued.
        try:
            with contextlib.suppress(*([StorageError] if error is not None else [])):
                self._append(self._layout.tail)
                with _storage_errors(self._path):
                    os.fsync(self._file.fileno())
        finally:
            self._file.close()
        if kind is None:
            self._progress.note(f"{counted(self._written, 'prediction')} in {self._path}")
        elif issubclass(kind, KeyboardInterrupt):
            count = counted(self._written, "prediction is", "predictions are")
            self._progress.note(f"{count} in {self._path}; `resume` goes on with the others")

    def _begin(self, made_with: MadeWith, resume: bool, progress: Progress) -> _Held:
        _lock(self._file, self._path)
        record = record_path(self._path)
        empty = not os.fstat(self._file.fileno()).st_size
        if resume and not empty:
            held = self._continue(record, made_with)
            progress.note(f"{self._path}: holds {counted(held.rows, 'image')}, which are not predicted again")
            return held
        with _storage_errors(self._path):
            self._file.truncate(0)
        # After the old rows are gone, and before the first new one: the record is never that of other rows.
        made_with.write(record)
        self._append(self._layout.head)
        return _Held(Counter(), 0, 0, 0)

    def _continue(self, record: str, made_with: MadeWith) -> _Held:
        if not os.path.exists(record):
            raise MxmlError(
                f"{self._path}: cannot be continued: {record}, which says what it was made with, does not exist; write "
                "another file, or replace it with `force`"
            )
        differences = made_with.differences(MadeWith.read(record))
        if differences:
            raise MxmlError(
                f"{self._path}: was made with other settings: {', '.join(differences)}; write another file, or replace "
                "it with `force`"
            )
        held = _read_held(self._file, self._path, self._layout)
        with _storage_errors(self._path):
            self._file.truncate(held.end)
            self._file.seek(held.end)
        if not held.end:
            self._append(self._layout.head)
        return held

    def _append(self, text: str) -> None:
        content = memoryview(text.encode("utf-8", "replace"))
        with _storage_errors(self._path):
            while content:
                content = content[self._file.write(content) :]


def layout_name(path: str) -> str:
    """Return which layout a file's suffix asks for. Raises SettingError for any other."""
    name = SUFFIXES.get(os.path.splitext(path)[1].lower())
    if name is None:
        raise SettingError("out", path, f"a file that ends in {', '.join(SUFFIXES)}")
    return name


def _read_held(file: BinaryIO, path: str, layout: Layout) -> _Held:
    paths: Counter[str] = Counter()
    rows = bad = end = 0
    head, tail = layout.head.encode(), layout.tail.encode()
    finished = False
    for number, (row, row_end) in enumerate(_whole_rows(file, path, layout.multiline), 1):
        if finished or (number == 1 and head and row != head):
            raise _not_ours(path, number)
        if row == tail:
            finished = True
            continue
        if number > 1 or not head:
            try:
                held = layout.read_row(row.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise _not_ours(path, number) from error
            paths[held.path] += 1
            rows += 1
            bad += not held.readable
        end = row_end
    return _Held(paths, rows, bad, end)


def _whole_rows(file: BinaryIO, path: str, multiline: bool) -> Iterator[tuple[bytes, int]]:
    """Yield each whole row and where it ends; a torn last one, which has no line end, is left out."""
    with open(file.fileno(), "rb", closefd=False) as lines:
        lines.seek(0)
        row, end = b"", 0
        while True:
            line = lines.readline(_MOST_ROW_BYTES)
            row += line
            if not line.endswith(b"\n"):
                if len(row) >= _MOST_ROW_BYTES:
                    raise MxmlError(f"{path}: has a row of more than {_MOST_ROW_BYTES >> 20} MiB")
                return
            if multiline and row.count(b'"') % 2:
                continue
            end += len(row)
            yield row, end
            row = b""


def _not_ours(path: str, number: int) -> MxmlError:
    return MxmlError(
        f"{path}: row {number:,} is not one that mxml predict writes into such a file; write another file, or replace "
        "it with `force`"
    )


def _lock(file: BinaryIO, path: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Where the file system knows no locks, the user has to know who writes.
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise MxmlError(f"{path}: another process is writing it; wait for that, or write another file") from error


@contextlib.contextmanager
def _storage_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
