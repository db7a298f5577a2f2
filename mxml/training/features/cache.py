"""Feature vectors on disk, each under what it was computed from, so that it is computed once.

A file of SQLite beside the runs: what a killed process was writing is not there, what it had written before is. A file
that cannot be used costs time, never a run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from types import TracebackType

import numpy as np

from mxml.progress import Progress

# How long another run may hold the file while it writes.
_WAIT_SECONDS = 30
_ASKED_AT_ONCE = 500


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
            for start in range(0, len(images), _ASKED_AT_ONCE):
                some = images[start : start + _ASKED_AT_ONCE]
                marks = ",".join("?" * len(some))
                # The length is looked at before a row is read into memory.
                rows = connection.execute(
                    f"SELECT image, vector FROM vectors WHERE source = ? AND image IN ({marks}) "
                    "AND typeof(vector) = 'blob' AND length(vector) = ?",
                    (source, *some, 4 * size),
                )
                found.update((bytes(image), np.frombuffer(vector, "<f4")) for image, vector in rows)
        except sqlite3.Error as error:
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
        except sqlite3.Error as error:
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
                self._connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS)
                # Whoever made the file cannot have it run functions.
                self._connection.execute("PRAGMA trusted_schema = OFF")
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS vectors "
                    "(source BLOB, image BLOB, vector BLOB, PRIMARY KEY (source, image)) WITHOUT ROWID"
                )
            except sqlite3.Error as error:
                self._give_up(error)
        return self._connection

    def _give_up(self, error: sqlite3.Error) -> None:
        self._progress.note(
            f"{self._path}: cannot be used ({error}); feature vectors are computed and not kept; without the file, the "
            "next run makes a new one"
        )
        self.is_usable = False
        self.close()
