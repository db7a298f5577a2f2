"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mxml.errors import StorageError

_MOST_PREFIX_BYTES = 200


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], ending: str = ".tmp") -> Iterator[str]:
    """Yield a temporary file name beside ``path``; on leaving, flush it to disk and rename it to ``path``.

    Whatever happens before the rename, ``path`` keeps its old content (or stays absent) and the temporary file is
    removed; only SIGKILL or a power cut can leave one, named ``.NAME.*.tmp``. Its mode follows the umask. Another
    ``ending`` is for a writer that goes by it.
    """
    target = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=temporary_prefix(target.name), suffix=ending, dir=target.parent)
    os.close(handle)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def temporary_prefix(name: str) -> str:
    """Return what the names of temporary files for ``name`` begin with: with the rest they have at most 255 bytes."""
    return f".{os.fsencode(name)[:_MOST_PREFIX_BYTES].decode('utf-8', 'ignore')}."


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path`` as one step. Raises StorageError where it cannot be written."""
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(content)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write ``content`` as UTF-8 with ``\\n`` line ends to ``path`` as ``write_bytes`` does."""
    write_bytes(path, content.encode("utf-8"))


def make_folder(folder: str | os.PathLike[str], other: str = "folder") -> None:
    """Make a folder to write into, and those above it. Raises StorageError, which advises another ``other``."""
    try:
        os.makedirs(folder or ".", exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be made ({error.strerror or error}); choose another {other}") from error


def require_place(path: str | os.PathLike[str]) -> None:
    """Raise StorageError, before any work is done, for a path at which no file can be made or replaced."""
    if os.path.isdir(path):
        raise StorageError(f"{path}: cannot be written: is a folder, should be a file")
    nearest = next(folder for folder in Path(path).absolute().parents if os.path.exists(folder))
    if not nearest.is_dir():
        raise StorageError(f"{path}: cannot be written: {nearest} is a file, should be a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StorageError(f"{path}: cannot be written: {nearest} allows no new files; choose another place")


def _sync_folder(folder: Path) -> None:
    # A rename is only durable once its folder is on disk; some file systems refuse to open a folder for that.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
