"""Several files that appear together: written into a folder of their own first, then moved into place."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mxml.errors import StorageError


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
    a folder that is there is an error if it holds anything. Whatever fails, ``folder`` is as it was before. Raises
    StorageError for these and for what the operating system refuses.
    """
    with temporary_folder_in(folder) as temporary:
        staging = Staging(temporary / "new")
        staging.path.mkdir()
        yield staging
        states = [(_state(entry, folder / entry.name), entry) for entry in sorted(staging.path.iterdir())]
        _refuse_others([folder / entry.name for state, entry in states if state == "replaced"], force)
        changed = [entry for state, entry in states if state != "unchanged"]
        _flush(changed)
        _move(changed, folder, temporary / "old")
        staging.files = tuple((folder / entry.name, state) for state, entry in states)


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


def _move(entries: list[Path], folder: Path, old: Path) -> None:
    """Move entries into ``folder``; on a failure move them back, and what they replaced, which ``old`` keeps, too."""
    old.mkdir()
    moved: list[Path] = []
    try:
        for entry in entries:
            final = folder / entry.name
            if final.is_file():
                _keep(final, old / entry.name)
            os.replace(entry, final)
            moved.append(entry)
    except BaseException:
        for entry in reversed(moved):
            final, kept = folder / entry.name, old / entry.name
            os.replace(final, entry)
            if kept.exists():
                os.replace(kept, final)
        raise


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
