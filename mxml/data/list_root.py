"""Where the images of a list are: ``lists.json`` beside the lists remembers the image folder that they were made with.

A list names its images relative to an image folder and does not say which one that is. ``lists.json`` says it, relative
to its own folder, so that lists and images can be moved together. Lists may come from an untrusted source, and so may
this file. It is therefore followed only to the folder that the lists' folder is in, and what is below: there it leads
to what came with the lists. Any other folder has to be named by the user. Paths are compared by their text, as the
names in a list are; links are followed.

Where neither a person nor ``lists.json`` names the folder, it is ``images`` in the working directory, or else the
list's or table's own folder, or ``images`` in that: see ``found_root``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

from mxml.data.image_list import ImageList
from mxml.errors import ListError
from mxml.text import counted

DEFAULT_ROOT = "images"
RECORD = "lists.json"
_MOST_BYTES = 65_536
_LONGEST = 4096
_LOOKED_FOR = 1000


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


def found_root(names: Sequence[str], paths: Sequence[str | os.PathLike[str]]) -> tuple[str, str | None]:
    """Return the image folder of the lists or tables ``paths`` that nobody names one for, and a line for the user.

    It is ``images``, unless more of the images are in the folder that all of ``paths`` are in, or in ``images`` there.
    Of many images 1,000 are looked for. The line says which folder was taken; there is none where only ``images`` comes
    into question.
    """
    folders = {os.path.dirname(os.path.normpath(path)) or "." for path in paths}
    beside = [] if len(folders) > 1 else around(folders.pop())
    return richest_root(names, [DEFAULT_ROOT, *beside], ", ".join(os.fspath(path) for path in paths))


def around(folder: str) -> list[str]:
    """Return where the images of a list or table in ``folder`` may be: there, and in ``images`` there."""
    return [folder, os.path.normpath(os.path.join(folder, DEFAULT_ROOT))]


def richest_root(names: Sequence[str], roots: Sequence[str], what: str) -> tuple[str, str | None]:
    """Return that of some folders which most of the images are in, the first of those with as many, and a line on it.

    ``what`` names the images, in the line. There is none where none is in another folder than the first.
    """
    places: dict[str, str] = {}
    for root in roots:
        places.setdefault(os.path.realpath(root), root)
    first, *others = places.values()
    relative = [name for name in names[:: len(names) // _LOOKED_FOR + 1] if not os.path.isabs(name)]
    there = {
        root: sum(os.path.isfile(os.path.join(root, name)) for name in relative) if os.path.isdir(root) else 0
        for root in (first, *others)
    }
    if not any(there[root] for root in others):
        return first, None
    taken = max(there, key=lambda root: there[root])
    if there[taken] == sum(there.values()):
        return taken, f"{what}: takes the images under {taken}, since none of them is under {first}"
    other = max((root for root in there if root != taken), key=lambda root: there[root])
    some = [f"{count:,} under {root}" for root, count in there.items() if count]
    counts = " and ".join([some[0].replace(" ", " are ", 1), *some[1:]])
    return taken, (
        f"{what}: takes the images under {taken}; of {counted(len(relative), 'image')} looked for {counts}, and `root` "
        f"{other} would take those"
    )


def under_found_root(
    images: ImageList, list_path: str | os.PathLike[str], root: str | os.PathLike[str] | None
) -> tuple[ImageList, str | None]:
    """Return the images of a list under their folder, and what ``found_root`` says where it had to be found.

    ``images`` were read under what ``image_root`` said for the ``root`` that a person named, or None.
    """
    if root is not None or recorded_root(list_path) is not None:
        return images, None
    found, note = found_root(images.names(), [list_path])
    return dataclasses.replace(images, root=found), note


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
