"""Images that have changed since a run began: what is recorded of them, and what a resume finds out by it.

Reading all images of a large list takes minutes. So the sidecar has the latest time at which the file system changed
one of the files, and the sums of some images: of all of them where they are few, else of those that come first in an
order which depends on their number alone. A resume reads those that were changed later, and a few others, since a
folder may have been exchanged for an older one.

By the same records a resume knows training images that a sidecar names outside of its folder: see ``are_of_run``.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mxml.data.image_sources import ImageFiles, ImageSource
from mxml.data.lst_file import read_lst
from mxml.data.sampling import epoch_order
from mxml.errors import ImageError
from mxml.images.decode import Limits
from mxml.model.image_sums import in_threads
from mxml.model.sidecar import UsedList
from mxml.progress import Progress
from mxml.text import counted

# A new run reads these before it starts.
_MOST_IMAGES = 1024
_MOST_BYTES = 128 << 20
_ALWAYS_READ = 64
# Enough to notice a change that nobody made on purpose.
_SUM_BYTES = 4
_NO_CONTENT = bytes(_SUM_BYTES)


@dataclass(frozen=True)
class KnownImages:
    """What the sidecar has of the images of a list: sums of some, in their order, and when the last was changed."""

    sums: bytes
    changed_at: int


@dataclass(frozen=True)
class ChangedImages:
    """What a resume has found: positions of images with another content, and of those that may have another one.

    ``compared`` says of how many images the content was known.
    """

    changed: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    compared: int = 0


def compare(
    before: UsedList | None, used: UsedList, source: ImageSource, changed_at: np.ndarray, progress: Progress
) -> tuple[KnownImages, ChangedImages]:
    """Return what to record of the images of a list, and which have changed since ``before`` was recorded.

    ``changed_at`` (N,) int64 says when each image's file was changed, in nanoseconds. Where ``before`` has no sums,
    nothing is found.
    """
    # A time to come, as another machine's clock may give, would hide what is changed until then.
    latest = max(0, min(int(changed_at.max()), time.time_ns()))
    if before is None or before.image_sums is None or before.images_changed_at is None:
        sampled = _order(len(source))[: _how_many(used, len(source))]
        return KnownImages(b"".join(_read(source, sampled.tolist(), progress)), latest), ChangedImages()
    recorded = bytes.fromhex(before.image_sums)
    sampled = _order(len(source))[: len(recorded) // _SUM_BYTES]
    starts = range(0, len(recorded), _SUM_BYTES)
    sums = {position: recorded[at : at + _SUM_BYTES] for position, at in zip(sampled.tolist(), starts)}
    later = changed_at > before.images_changed_at
    is_read = later[sampled]
    is_read[:_ALWAYS_READ] = True
    if used.image_bytes != before.image_bytes:
        is_read[:] = True
    changed = _reread(source, sampled[is_read].tolist(), sums, progress)
    if not later[changed].all():
        # These are other files, of which any may be as old.
        changed += _reread(source, sampled[~is_read].tolist(), sums, progress)
    later[sampled] = False
    found = ChangedImages(tuple(sorted(changed)), tuple(np.flatnonzero(later).tolist()), len(sampled))
    return KnownImages(b"".join(sums.values()), latest), found


def are_of_run(used: UsedList, progress: Progress) -> bool:
    """Say whether the images that a sidecar's list names are those that its run has read.

    The sidecar may be a stranger's, who chose the files: see ``trusted_paths``. The size of all together and the
    recorded sums have to be right. Where these are not of all images, nor is a file changed since, to the nanosecond:
    that only someone knows who has seen these files here. Raises ListError for a faulty list.
    """
    if used.image_bytes is None or used.image_sums is None or used.images_changed_at is None:
        return False
    images = read_lst(used.path, used.root)
    progress.start(len(images), "looking for the training images")
    found = in_threads(size_and_change, (images.path(position) for position in range(len(images))), progress)
    there = [file for file in found if file is not None]
    if sum(size for size, _ in there) != used.image_bytes:
        return False
    sums = bytes.fromhex(used.image_sums)
    sampled = _order(len(images))[: len(sums) // _SUM_BYTES]
    if len(sampled) < len(images) and max((at for _, at in there), default=0) != used.images_changed_at:
        return False
    return b"".join(_read(ImageFiles(images), sampled.tolist(), progress)) == sums


def size_and_change(path: str) -> tuple[int, int] | None:
    """Return a file's size and when it was changed, in nanoseconds; None where there is none.

    A link that was pointed at another file is a change too, however old that file is.
    """
    try:
        itself = os.lstat(path)
        status = os.stat(path) if stat.S_ISLNK(itself.st_mode) else itself
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size, max(status.st_ctime_ns, itself.st_ctime_ns)


def _how_many(used: UsedList, count: int) -> int:
    """Return of how many images the sums are recorded."""
    affordable = count if not used.image_bytes else int(_MOST_BYTES * count / used.image_bytes)
    return min(count, _MOST_IMAGES, max(_ALWAYS_READ, affordable))


def note_changes(
    before: UsedList, used: UsedList, found: ChangedImages, source: ImageSource, prefix: str, progress: Progress
) -> None:
    """Say how many images have changed since the run at the prefix began, and which is the first."""
    since, more = f"since the run at {prefix} began", ""
    if found.changed or before.image_bytes not in (None, used.image_bytes):
        progress.note(
            f"{used.path}: its images have changed {since} ({_what_changed(before, used, found, source)}): it goes on "
            "with them, not exactly as it would have"
        )
        more = "other "
    if found.unknown:
        same = "" if found.changed else f"; the {found.compared:,} whose content is recorded are the same"
        count = len(found.unknown)
        images = counted(count, f"{more}image")
        progress.note(
            f"{used.path}: the {'files' if count > 1 else 'file'} of {images} {'were' if count > 1 else 'was'} written "
            f"or moved {since}, such as {source.name(found.unknown[0])}, and may show something else{same}"
        )


def _what_changed(before: UsedList, used: UsedList, found: ChangedImages, source: ImageSource) -> str:
    if not found.changed:
        return f"{before.image_bytes:,} bytes together, now {used.image_bytes:,}"
    of = f"{len(found.changed):,} of {counted(found.compared, 'image')}"
    looked_at = "" if found.compared == len(source) else " whose content is recorded"
    return f"{of}{looked_at}, the first is {source.name(found.changed[0])}"


def _reread(source: ImageSource, positions: list[int], sums: dict[int, bytes], progress: Progress) -> list[int]:
    """Bring ``sums``, by position, up to date for ``positions``; return those of images whose sum was another."""
    read = dict(zip(positions, _read(source, positions, progress)))
    changed = [position for position, now in read.items() if now != sums[position]]
    sums.update(read)
    return changed


def _read(source: ImageSource, positions: Sequence[int], progress: Progress) -> list[bytes]:
    """Return the sum of each image's content; one that cannot be read has none."""
    limits = Limits()

    def sum_of(position: int) -> bytes:
        try:
            content = source.read(position, limits)
        except ImageError:
            return _NO_CONTENT
        content = content.tobytes() if isinstance(content, np.ndarray) else content
        return hashlib.sha256(content).digest()[:_SUM_BYTES]

    progress.start(len(positions), "sums of images")
    return in_threads(sum_of, positions, progress)


def _order(count: int) -> np.ndarray:
    return epoch_order(count, 0, 0, shuffle=True)
