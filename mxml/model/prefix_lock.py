"""One run at a time at a prefix: two would write over each other's files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mxml.errors import StorageError, TrainingError
from mxml.model.run_files import RunFiles
from mxml.progress import Progress
from mxml.staging import make_folders, remove_empty

# What file systems that know no such locks answer.
_UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})

# Whoever looks whether a run is at work holds the lock for less than a moment.
_TRIES, _SECONDS_BETWEEN_TRIES = 20, 0.01


@contextlib.contextmanager
def locked(prefix: str, progress: Progress) -> Iterator[None]:
    """Hold ``PREFIX.lock`` while a run is at work; the folder is made, and goes again where nothing came into it.

    The lock is the kernel's and ends with the process, so that a file which a killed run left locks nothing. A note
    says where the file system knows no locks. Raises TrainingError where another run holds it.
    """
    files = RunFiles(prefix)
    made = _make_folder(files.folder)
    try:
        handle = _acquire(files.lock, progress)
        try:
            yield
        finally:
            # Before the lock ends: afterwards it may be another run's.
            with contextlib.suppress(OSError):
                os.unlink(files.lock)
            os.close(handle)
    finally:
        remove_empty(made)


def _make_folder(folder: str) -> list[Path]:
    try:
        return make_folders(Path(folder or "."))
    except OSError as error:
        raise StorageError(f"{folder}: cannot be made ({error.strerror}); choose another `prefix`") from error


def _acquire(path: str, progress: Progress) -> int:
    """Open the file at ``path`` and lock it, and return its handle."""
    tries = 0
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror}; choose another `prefix`") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                return handle
        except BlockingIOError as error:
            os.close(handle)
            tries += 1
            if tries < _TRIES:
                time.sleep(_SECONDS_BETWEEN_TRIES)
                continue
            raise TrainingError(f"{path}: another run is at work on this prefix; wait for it, or stop it") from error
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                progress.note(f"{path}: cannot be locked ({error.strerror}); let no other run work on this prefix")
                return handle
            os.close(handle)
            raise StorageError(f"{path}: cannot be locked: {error.strerror}") from error
        # The run that held it ended, and removed the file, between the two calls.
        os.close(handle)


def _is_at(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def is_at_work(prefix: str) -> bool:
    """Say whether a run holds the lock of the prefix now; no where the file system knows no locks."""
    try:
        # A pipe of that name would be waited for.
        handle = os.open(RunFiles(prefix).lock, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
