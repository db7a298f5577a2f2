"""Where the images of a list are: ``lists.json`` beside the lists remembers the image folder that they were made with.

A list names its images relative to an image folder and does not say which one that is. ``lists.json`` says it, relative
to its own folder, so that lists and images can be moved together. Lists may come from an untrusted source, and so may
this file. It is therefore followed only to the folder that the lists' folder is in, and what is below: there it leads
to what came with the lists. Any other folder has to be named by the user. Paths are compared by their text, as the
names in a list are; links are followed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mxml.errors import ListError

DEFAULT_ROOT = "images"
RECORD = "lists.json"
_MOST_BYTES = 65_536
_LONGEST = 4096


def image_root(
    list_path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None, setting: str = "root"
) -> str:
    """Return the image folder of a list: ``root`` if it is given, else the recorded one, else ``images``.

    Raises ListError as ``recorded_root`` does.
    """
    if root is not None:
        return os.fspath(root)
    recorded = recorded_root(list_path, setting)
    return DEFAULT_ROOT if recorded is None else recorded


def recorded_root(list_path: str | os.PathLike[str], setting: str = "root") -> str | None:
    """Return the image folder that ``lists.json`` beside a list names; None where there is no such file.

    ``setting`` is what the caller calls the folder when a person names it, for messages. Raises ListError for a
    file that is damaged, and for a folder elsewhere than this module's rule allows.
    """
    folder = os.path.dirname(os.fspath(list_path))
    record = os.path.join(folder, RECORD)
    try:
        with open(record, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ListError(f"{record}: cannot be read: {error.strerror or error}") from error
    root = _root_in(content)
    if root is None:
        raise ListError(
            f'{record}: should be a JSON object such as {{"root": "../images"}}; `{setting}` says where the images are'
        )
    if os.path.isabs(root) or not may_be_followed(folder, os.path.join(folder, root)):
        raise ListError(
            f"{record}: says that the images are under {root!r}, which is outside of the folder around the lists "
            f"and is used only if you name it; `{setting}` says where the images are"
        )
    return os.path.normpath(os.path.join(folder, root))


def format_record(root: Path, folder: Path) -> bytes:
    """Return the content of ``lists.json`` in ``folder``: ``root`` relative to it, or absolute where that is far."""
    named = os.path.relpath(root, folder) if may_be_followed(folder, root) else os.path.abspath(root)
    return f"{json.dumps({'root': named})}\n".encode()


def may_be_followed(folder: str | os.PathLike[str], root: str | os.PathLike[str]) -> bool:
    """Say whether a record in ``folder`` may lead to ``root``: the folder around it, or what is below."""
    around = os.path.dirname(os.path.abspath(folder))
    return os.path.commonpath([around, os.path.abspath(root)]) == around


def _root_in(content: bytes) -> str | None:
    """Return what a record names; None for anything else than a record."""
    if len(content) > _MOST_BYTES:
        return None
    try:
        record = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    root = record.get("root") if isinstance(record, dict) else None
    return root if isinstance(root, str) and 0 < len(root) <= _LONGEST and "\0" not in root else None
