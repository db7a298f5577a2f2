"""Which of the paths in a sidecar may be opened: the sidecar may come from someone who is not trusted.

A checkpoint often comes from somebody else. Its sidecar names the lists of its run, and messages about a list show
lines of it: a sidecar that names ``../../.ssh/id_rsa`` would bring that file's lines onto the screen, and from
there into a report that goes back to its author. So a path from a sidecar is used in two cases only:

- It lies in the sidecar's own folder or below it, all links followed. Then whoever sent the folder sent this, too.
- Its content has the SHA-256 sum that the sidecar records. It is compared before anything of it is parsed or shown.
  Whoever wrote the sum knows the whole content, so that no line of it tells them anything.

An image root has no content to compare. It is used outside of the folder only together with a list outside of it, which
is then the reader's own: the run was made here. Of files below a root nothing but decoded images is used, and what
comes out are their tags, and which names of the list lead nowhere; never bytes of a file that is no image. A list
inside the folder with a root outside, such as ``/home/somebody``, would let its author choose both. So the reader has
to name the root, unless the sidecar records the sum of all the images that the list names, and they have it: whoever
wrote that sum knows these images; see ``image_sums``. Training images, of which there may be millions, are known by
less that is as hard to know: see ``training/changed_images.py``. A sidecar's ``allow_absolute`` would undo all this and
is never obeyed.
"""

from __future__ import annotations

import dataclasses
import os
import stat

from mxml.data.record_images import RecordImages
from mxml.data.record_list import index_beside, is_record_file
from mxml.errors import CheckpointError, ListError
from mxml.model.image_sums import has_images_of_run
from mxml.model.sidecar import Stamp, UsedList
from mxml.progress import Progress
from mxml.text import can_be_path, printable


def lies_inside(path: str, folder: str) -> bool:
    """Say whether a path, links followed, is ``folder`` (an empty text: the working directory) or below it."""
    real, real_folder = os.path.realpath(path), os.path.realpath(folder or ".")
    return os.path.commonpath([real, real_folder]) == real_folder


def require_trusted(path: str, what: str, folder: str, sha256: str | None) -> None:
    """Raise CheckpointError unless the file that a sidecar in ``folder`` names may be read.

    ``what`` is the file in messages, such as "the run's validation list"; ``sha256`` is the recorded sum, None where
    there is none. The message says which file it is and why it is not read, and shows nothing of its content.
    """
    if not can_be_path(path):
        raise CheckpointError(f"{printable(path)}: {what} has a path that no file can have")
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise CheckpointError(f"{path}: {what} {reason}") from error
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path}: {what} is not a regular file")
    if not lies_inside(path, folder) and not _has_content(path, sha256):
        raise CheckpointError(
            f"{path}: {what} lies outside of the checkpoint's folder and is not the file that the run read"
        )


def trusted_list(used: UsedList, what: str, folder: str, progress: Progress, root: str | None = None) -> UsedList:
    """Return a sidecar's list with its root, once both may be used.

    ``root`` is the folder that the reader named in place of the recorded one. Raises CheckpointError as
    ``require_trusted`` does, also where the list may be read but the root has to be named. ``progress`` shows how far
    the images are read, where their sum decides it.
    """
    require_trusted(used.path, what, folder, used.sha256)
    if root is not None:
        return dataclasses.replace(used, root=root)
    try:
        require_trusted_root(used.root, used.path, what, folder)
    except CheckpointError as error:
        if used.images_sha256 is None or not can_be_path(used.root):
            raise
        if not has_images_of_run(used, progress):
            raise CheckpointError(f"{error}, and are not those that the run read") from error
    return used


def require_trusted_root(root: str, list_path: str, what: str, folder: str) -> None:
    """Raise CheckpointError unless the image root that a sidecar names for a trusted list may be used."""
    if not can_be_path(root):
        raise CheckpointError(f"{printable(root)}: the images of {what} have a path that no folder can have")
    if not lies_inside(root, folder) and lies_inside(list_path, folder):
        raise CheckpointError(f"{root}: the images of {what} lie outside of the checkpoint's folder")


def can_be_trusted(used: UsedList, folder: str) -> bool:
    """Say whether ``trusted_list`` will return a list whose images are as they were, without reading them."""
    try:
        require_trusted(used.path, "", folder, used.sha256)
    except CheckpointError:
        return False
    try:
        require_trusted_root(used.root, used.path, "", folder)
    except CheckpointError:
        return used.images_sha256 is not None
    return True


def needs_sum_of_images(list_path: str, root: str, folder: str) -> bool:
    """Say whether a list that a run in ``folder`` has read is used without its root being named only by that sum."""
    return lies_inside(list_path, folder) and not lies_inside(root, folder)


def _has_content(path: str, sha256: str | None) -> bool:
    try:
        if is_record_file(path):
            with RecordImages(path, index_beside(path), keep_damaged=True) as images:
                return images.digest == sha256
        return Stamp.of(path).sha256 == sha256
    except (OSError, ListError):
        return False
