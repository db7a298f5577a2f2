"""Feature vectors on disk, each under what it was computed from, so that it is computed once.

A file of SQLite beside the runs: what a killed process was writing is not there, what it had written before is. A file
that cannot be used costs time, never a run. It may be a stranger's: only one that holds mxml's own table is used, and
none beside which SQLite would find files to follow.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType

import numpy as np

from mxml.progress import Progress

# How long another run may hold the file while it writes.
_WAIT_SECONDS = 30
_ASKED_AT_ONCE = 500
# A cold disk needs some seconds for that many. Crafted pages, or one row of gigabytes, would take for ever.
_ANSWER_SECONDS = 120
# SQLite keeps this text as it is. Every version of mxml wrote the same.
_TABLE = "CREATE TABLE vectors (source BLOB, image BLOB, vector BLOB, PRIMARY KEY (source, image)) WITHOUT ROWID"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
# SQLite asks for as much memory as a row says that it needs.
_FAULTS = (sqlite3.Error, OSError, MemoryError)


class FeatureCache:
    """Vectors by ``source``, a digest of what computes them, and ``image``, a digest of an image file's content.

    The file is opened, and made, when it is first asked; without a ``path`` nothing is known, and nothing is kept.
    ``is_usable`` says that nothing was wrong with the file so far. Use it as a context manager, in one thread.
    """

    def __init__(self, path: str | None, progress: Progress):
        self._path = path
        self._progress = progress
        self._connection: sqlite3.Connection | None = None
        self.is_usable = True

    def get(self, source: bytes, images: Sequence[bytes], size: int) -> dict[bytes, np.ndarray]:
        """Return the vectors (``size``,) float32 that are known, by image."""
        found: dict[bytes, np.ndarray] = {}
        connection = self._open()
        if connection is None:
            return found
        try:
            # Neighbours are on the same pages.
            wanted = sorted(images)
            for start in range(0, len(wanted), _ASKED_AT_ONCE):
                some = wanted[start : start + _ASKED_AT_ONCE]
                marks = ",".join("?" * len(some))
                with _in_time(connection):
                    rows = connection.execute(
                        f"SELECT image, vector FROM vectors WHERE source = ? AND image IN ({marks}) "
                        "AND typeof(vector) = 'blob' AND length(vector) = ?",
                        (source, *some, 4 * size),
                    )
                    found.update((bytes(image), np.frombuffer(vector, "<f4")) for image, vector in rows)
        except _FAULTS as error:
            self._give_up(error)
        return {image: vector for image, vector in found.items() if np.isfinite(vector).all()}

    def put(self, source: bytes, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Keep vectors (D,) float32 by image; they are on disk when this returns."""
        connection = self._open()
        if connection is None:
            return
        rows = [(source, image, np.asarray(vector, "<f4").tobytes()) for image, vector in vectors.items()]
        try:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
        except _FAULTS as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is None and self.is_usable and self._path is not None:
            try:
                _check_names(self._path)
                self._connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS)
                _check_schema(self._connection)
            except _FAULTS as error:
                self._give_up(error)
        return self._connection

    def _give_up(self, error: Exception) -> None:
        kept = "feature vectors are computed and not kept"
        if str(error) == "database is locked":
            note = f"another process has held it for {_WAIT_SECONDS} seconds; {kept}; a later run can use it again"
        elif isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            # The fault is in what the files hold, and not in the disk or a permission.
            note = f"cannot be used ({error}); {kept}; without {self._path}* the next run makes a new one"
        else:
            note = f"cannot be used ({str(error) or 'not enough memory'}); {kept}"
        self._progress.note(f"{self._path}: {note}")
        self.is_usable = False
        self.close()


def _check_names(path: str) -> None:
    """Raise DatabaseError where opening the file would have SQLite write to, or remove, files of other names."""
    journal = f"{path}-journal"
    for name in (path, journal):
        # It is not opened here: closing it would release the locks that this process has on it.
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(name).st_mode):
                raise sqlite3.DatabaseError(f"{os.path.basename(name)} is a link, or no file")
    for name in (f"{path}-wal", f"{path}-shm"):
        if os.path.lexists(name):
            raise sqlite3.DatabaseError(f"{os.path.basename(name)} is not mxml's")
    # Another run's journal comes and goes. One that ends so names a file, which SQLite removes once it has rolled back;
    # only transactions over several databases have such journals.
    with contextlib.suppress(FileNotFoundError), open(journal, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - len(_JOURNAL_MAGIC)))
        if file.read() == _JOURNAL_MAGIC:
            raise sqlite3.DatabaseError(f"{os.path.basename(journal)} names another file")


def _check_schema(connection: sqlite3.Connection) -> None:
    """Make the table in an empty file. Raise DatabaseError for one that holds anything else, such as a trigger."""
    with _in_time(connection):
        found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 2").fetchall()
    if not found:
        # Another run may have made it by now.
        connection.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS", 1))
    elif found != [("table", "vectors", "vectors", _TABLE)]:
        raise sqlite3.DatabaseError("holds other tables than mxml's")


@contextlib.contextmanager
def _in_time(connection: sqlite3.Connection) -> Iterator[None]:
    """Raise DatabaseError if reading takes longer than ``_ANSWER_SECONDS``."""
    # A progress handler would not do: SQLite drops what it raises, and so an interrupt of the user's.
    timer = threading.Timer(_ANSWER_SECONDS, connection.interrupt)
    timer.start()
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error) != "interrupted":
            raise
        raise sqlite3.DatabaseError(f"reading it takes over {_ANSWER_SECONDS} seconds") from error
    finally:
        timer.cancel()
        timer.join()
