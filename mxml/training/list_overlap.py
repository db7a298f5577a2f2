"""Images of the validation list that the run trains on, too: metrics on them say little about new images."""

from __future__ import annotations

import os
from collections.abc import Iterator

from mxml.data.image_list import ImageList
from mxml.data.record_list import RecordList
from mxml.progress import Progress
from mxml.training.run_data import TrainData

_SHOWN_AFTER = 1000
# A folder that holds so many times more than the list names in it is not read whole.
_WORTH_READING = 16


def note_overlap(lists: tuple[str, str], data: TrainData, progress: Progress) -> None:
    """Say in a line how many images of the validation list are in the training list; ``lists`` are their paths.

    Images are the same where their paths lead to the same file; their content is not read.
    """
    train, val = lists
    progress.start(len(data.val) + len(data.train), "comparing both lists")
    validated = list(_places(val, data.val, progress))
    # Of the two lists the training list is the one that may have millions of lines.
    trained = set(validated).intersection(_places(train, data.train, progress))
    shared = sum(place in trained for place in validated)
    if shared:
        progress.note(
            f"{val}: {shared:,} of its {len(data.val):,} images are in {train} too; the network trains on them, so the "
            "validation metrics flatter it"
        )


def _places(path: str, images: ImageList | RecordList, progress: Progress) -> Iterator[str]:
    """Yield where each image is, links followed: its file, or its record's place in the file of records."""
    if isinstance(images, RecordList):
        real = os.path.realpath(path)
        yield from (real + images.path(position)[len(path) :] for position in range(len(images)))
        progress.advance(len(images))
        return
    folders: dict[str, list[str]] = {}
    for name in images.names():
        folder, file = os.path.split(os.path.join(images.root, name))
        folders.setdefault(folder, []).append(file)
    for folder, files in folders.items():
        real = os.path.realpath(folder)
        links = _links_among(folder, len(files), progress)
        for start in range(0, len(files), _SHOWN_AFTER):
            some = files[start : start + _SHOWN_AFTER]
            for file in some:
                place = os.path.join(real, file)
                is_link = os.path.islink(place) if links is None else file in links
                yield os.path.realpath(place) if is_link else place
            progress.advance(len(some))


def _links_among(folder: str, count: int, progress: Progress) -> set[str] | None:
    """Return the links in a folder; None where each of the ``count`` files of interest has to be asked about.

    Reading a folder once tells of each entry whether it is a link; asking about a million files takes minutes where
    each question goes to another machine.
    """
    links = set()
    try:
        with os.scandir(folder or ".") as entries:
            for seen, entry in enumerate(entries):
                if seen >= _WORTH_READING * count:
                    return None
                if seen % _SHOWN_AFTER == 0:
                    # A signal ends this, too.
                    progress.advance(0)
                if entry.is_symlink():
                    links.add(entry.name)
    except OSError:
        return None
    return links
