"""The lists of a run that is to replace another wait in ``P-lists/next`` until it begins: see ``source_lists``.

Then the folder is renamed to ``P-lists/begun``, and its files are moved to where the lists of the run before were. So a
killed process leaves lists that never began, which go, or a move that the next start finishes, and no mixture of both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from mxml.errors import ListError, StorageError
from mxml.model.run_files import RunFiles
from mxml.staging import remove_empty


@contextlib.contextmanager
def settled(prefix: str) -> Iterator[None]:
    """Leave only the lists of the run at the prefix, before and after: what a run makes waits until it begins.

    After a ListError, which may name lines of lists that wait, these stay until the next start, to be looked at.
    """
    settle(prefix)
    try:
        yield
    except ListError:
        raise
    except BaseException:
        _discard(prefix)
        raise


def settle(prefix: str) -> None:
    """Leave only the lists of the run at the prefix: finish a move that was cut short, and discard those that wait.

    Call it at the start of a run, while nobody else works on the prefix. Raises StorageError.
    """
    _finish_move(RunFiles(prefix))
    _discard(prefix)


def _discard(prefix: str) -> None:
    """Remove lists whose run did not begin."""
    files = RunFiles(prefix)
    if os.path.isdir(files.next_lists):
        shutil.rmtree(files.next_lists, ignore_errors=True)
        remove_empty([Path(files.lists)])


def move_in(prefix: str) -> None:
    """Put lists that wait where the run has them; the run before has to be gone. Raises StorageError."""
    files = RunFiles(prefix)
    if not os.path.isdir(files.next_lists):
        return
    try:
        os.rename(files.next_lists, files.begun_lists)
    except OSError as error:
        raise _not_written(files, error) from error
    _finish_move(files)


def _finish_move(files: RunFiles) -> None:
    if not os.path.isdir(files.begun_lists):
        return
    try:
        for name in sorted(os.listdir(files.begun_lists)):
            os.replace(os.path.join(files.begun_lists, name), os.path.join(files.lists, name))
        os.rmdir(files.begun_lists)
    except OSError as error:
        raise _not_written(files, error) from error


def _not_written(files: RunFiles, error: OSError) -> StorageError:
    return StorageError(f"{error.filename2 or files.lists}: cannot be written: {error.strerror}")
