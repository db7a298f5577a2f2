"""Images of the validation list that the run trains on, too: metrics on them say little about new images."""

from __future__ import annotations

import os
from collections.abc import Iterator

from mxml.data.image_list import ImageList
from mxml.data.record_list import RecordList
from mxml.progress import Progress
from mxml.training.run_data import TrainData


def note_overlap(lists: tuple[str, str], data: TrainData, progress: Progress) -> None:
    """Say in a line how many images of the validation list are in the training list; ``lists`` are their paths.

    Images are the same where their paths lead to the same file; their content is not read.
    """
    train, val = lists
    validated = list(_places(val, data.val))
    # Of the two lists the training list is the one that may have millions of lines.
    trained = set(validated).intersection(_places(train, data.train))
    shared = sum(place in trained for place in validated)
    if shared:
        progress.note(
            f"{val}: {shared:,} of its {len(data.val):,} images are in {train} too; the network trains on them, so the "
            "validation metrics flatter it"
        )


def _places(path: str, images: ImageList | RecordList) -> Iterator[str]:
    """Yield where each image is, links followed: its file, or its record's place in the file of records."""
    if isinstance(images, RecordList):
        real = os.path.realpath(path)
        yield from (real + images.path(position)[len(path) :] for position in range(len(images)))
        return
    folders: dict[str, str] = {}
    for name in images.names():
        folder, file = os.path.split(os.path.join(images.root, name))
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        place = os.path.join(folders[folder], file)
        yield os.path.realpath(place) if os.path.islink(place) else place
