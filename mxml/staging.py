"""Several files that appear together: written into a folder of their own first, then moved into place.

While they are moved that folder has a name of its own, and its process holds it by a lock of the kernel. A process
that is killed meanwhile leaves it, with the files that are still to be moved: by it ``is_half_moved`` knows that old
and new files are beside each other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mxml.errors import StorageError

# In seconds. Moving takes far less, so a process that holds the folder for longer was probably stopped.
_PATIENCE, _PAUSE = 5.0, 0.02
_MOVING, _NEW, _OLD = ".mxml.moving", "new", "old"


class Staging:
    """A folder to write into, ``path``, and afterwards what happened to each of its files.

    ``files`` holds pairs of a path in its final place and ``unchanged``, ``written`` or ``replaced``.
    """

    def __init__(self, path: Path):
        self.path = path
        self.files: tuple[tuple[Path, str], ...] = ()


@contextlib.contextmanager
def staged(folder: Path, force: bool) -> Iterator[Staging]:
    """Yield a folder to write files and folders into; on leaving, move all of them into ``folder``, or none.

    A file that is there with the same content stays; one with other content is an error unless ``force`` replaces it;
    a folder that is there is an error if it holds anything. Whatever fails, ``folder`` is as it was before; only
    SIGKILL or a power cut can leave a move for ``finish_move``, which is done here first. Raises StorageError for these
    and for what the operating system refuses.
    """
    finish_move(folder)
    with temporary_folder_in(folder) as temporary:
        staging = Staging(temporary / _NEW)
        staging.path.mkdir()
        yield staging
        states = [(_state(entry, folder / entry.name), entry) for entry in sorted(staging.path.iterdir())]
        _refuse_others([folder / entry.name for state, entry in states if state == "replaced"], force)
        for state, entry in states:
            if state == "unchanged":
                entry.unlink()
        changed = [entry for state, entry in states if state != "unchanged"]
        if changed:
            _flush(changed)
            _move([entry.name for entry in changed], temporary, folder)
        staging.files = tuple((folder / entry.name, state) for state, entry in states)


def is_half_moved(folder: Path) -> bool:
    """Say whether a process was killed while it moved files into a folder, or is still at it after some seconds."""
    try:
        with _held(folder / _MOVING) as there:
            return there and bool(_left_to_move(folder))
    except OSError:
        # It is another user's, or not released.
        return True


def finish_move(folder: Path) -> bool:
    """Finish the move into a folder that a killed process has begun, and say whether there was one.

    One that is still at it is waited for. Raises StorageError, also where that takes longer than some seconds.
    """
    names: list[str] = []
    try:
        with _held(folder / _MOVING) as there:
            if there:
                names = _left_to_move(folder)
                for name in names:
                    os.replace(folder / _MOVING / _NEW / name, folder / name)
                shutil.rmtree(folder / _MOVING)
    except BlockingIOError as error:
        raise StorageError(
            f"{folder}: another process has been replacing files there for over {_PATIENCE:g} s; wait until it ends, "
            "or continue or end it where it was stopped"
        ) from error
    except OSError as error:
        raise StorageError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error
    return bool(names)


def _left_to_move(folder: Path) -> list[str]:
    # Of a link nobody knows whose files it leads to.
    if os.path.islink(folder / _MOVING / _NEW):
        return []
    try:
        return sorted(os.listdir(folder / _MOVING / _NEW))
    except FileNotFoundError:
        return []


def _is_own_folder(path: Path) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold a folder that files are moved out of, wherever it is renamed to; yield whether there is one.

    Raises OSError for one that is another user's, and BlockingIOError where another process does not release it.
    """
    handle = _hold(folder)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _hold(folder: Path) -> int | None:
    """Open a folder and lock it; return its handle, or None where there is no folder."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            if _is_own_folder(folder):
                raise
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, folder):
                return handle
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(handle)
                raise
            time.sleep(_PAUSE)
        except OSError:
            # The file system knows no such locks.
            return handle
        # The process that held it has ended, and another may have a folder there, or it still holds it.
        os.close(handle)


def _is_at(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(folder))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def temporary_folder_in(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder within ``folder``, which is made, and on a failure removed again if it was.

    Raises StorageError for what the operating system refuses, also within the ``with`` statement.
    """
    made: list[Path] = []
    try:
        made = make_folders(folder)
        with tempfile.TemporaryDirectory(prefix=".mxml.", suffix=".tmp", dir=folder) as temporary:
            yield Path(temporary)
    except OSError as error:
        remove_empty(made)
        raise StorageError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error
    except BaseException:
        remove_empty(made)
        raise


def _move(names: list[str], temporary: Path, folder: Path) -> None:
    """Move new entries into ``folder``; on a failure move them back, and what they replaced, too."""
    (temporary / _OLD).mkdir()
    moving = folder / _MOVING
    moved: list[str] = []
    with _held(temporary):
        try:
            os.rename(temporary, moving)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise StorageError(
                f"{folder}: another process has just begun to replace files there; nothing was written; start again "
                "once it has ended"
            ) from error
        try:
            for name in names:
                if (folder / name).is_file():
                    _keep(folder / name, moving / _OLD / name)
                os.replace(moving / _NEW / name, folder / name)
                moved.append(name)
        except BaseException:
            for name in reversed(moved):
                os.replace(folder / name, moving / _NEW / name)
                if (moving / _OLD / name).exists():
                    os.replace(moving / _OLD / name, folder / name)
            raise
        finally:
            os.rename(moving, temporary)


def _keep(file: Path, copy: Path) -> None:
    # A second name, so that the file is never gone.
    try:
        os.link(file, copy)
    except OSError:
        shutil.copy2(file, copy)


def _state(entry: Path, final: Path) -> str:
    if not os.path.lexists(final):
        return "written"
    if entry.is_dir() or final.is_dir():
        if entry.is_dir() and final.is_dir() and not any(final.iterdir()):
            return "written"
        what = "a folder that holds something" if final.is_dir() else "a file"
        raise StorageError(f"{final}: is {what} already; nothing was written; give another name")
    if not final.is_file():
        raise StorageError(f"{final}: is not a regular file; nothing was written; give another name")
    return "unchanged" if filecmp.cmp(entry, final, shallow=False) else "replaced"


def _refuse_others(others: list[Path], force: bool) -> None:
    if others and not force:
        raise StorageError(
            f"{', '.join(map(str, others))}: already exist with other content; nothing was written; "
            "`force` replaces them"
        )


def _flush(entries: list[Path]) -> None:
    if any(entry.is_dir() for entry in entries):
        os.sync()
    for entry in entries:
        if entry.is_file():
            with open(entry, "rb") as written:
                os.fsync(written.fileno())


def make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; return what was made, innermost first."""
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        remove_empty(missing)
        raise
    return missing


def remove_empty(folders: list[Path]) -> None:
    """Remove those folders that hold nothing."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
