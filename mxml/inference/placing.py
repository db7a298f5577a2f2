"""Files that are copied, linked or moved to a name that is free: no file is ever replaced, none is ever half there."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import shutil
import tempfile
from typing import Callable

from mxml import atomic
from mxml.errors import StorageError

# What file systems without hard links answer, such as those of memory cards.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def place(action: str, source: str, target: str) -> None:
    """Bring a file to ``target``: ``copy``, ``link`` (a hard link) or ``move``.

    Raises StorageError where something is at ``target``, or it cannot be brought there.
    """
    try:
        _PLACINGS[action](source, target)
    except FileExistsError as error:
        raise StorageError(f"{target}: has just appeared there, and is not replaced; sort again") from error
    except OSError as error:
        if action == "link" and (error.errno == errno.EXDEV or error.errno in _NO_LINKS):
            raise StorageError(
                f"{target}: cannot be a link to {source} ({error.strerror}); copies can be anywhere"
            ) from error
        raise StorageError(f"{target}: cannot be made from {source}: {error.strerror or error}") from error


def same_content(one: str, other: str) -> bool:
    """Say whether two files hold the same bytes."""
    if os.path.samefile(one, other):
        return True
    return os.path.getsize(one) == os.path.getsize(other) and filecmp.cmp(one, other, shallow=False)


def _copy(source: str, target: str) -> None:
    folder, name = os.path.split(target)
    handle, temporary = tempfile.mkstemp(prefix=atomic.temporary_prefix(name), suffix=".tmp", dir=folder)
    os.close(handle)
    try:
        # With times and permissions, by which photographs are sorted.
        shutil.copy2(source, temporary)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        _rename(temporary, target)
        _sync(folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _link(source: str, target: str) -> None:
    os.link(os.path.realpath(source), target)


def _move(source: str, target: str) -> None:
    try:
        _rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
        os.unlink(source)
    _sync(os.path.dirname(target))


def _rename(source: str, target: str) -> None:
    """Rename a file, but not over another: ``os.rename`` would replace it."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target)
    else:
        os.unlink(source)


def _sync(folder: str) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


_PLACINGS: dict[str, Callable[[str, str], None]] = {"copy": _copy, "link": _link, "move": _move}
ACTIONS = tuple(_PLACINGS)
