"""Lists in which every image has exactly one label, as a softmax classifier needs them."""

from __future__ import annotations

import os

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_good_lines
from mxml.data.record_list import RecordList
from mxml.errors import SHOWN_FAULTS, Faults, ListError


def require_single_labels(path: str | os.PathLike[str], images: ImageList | RecordList, demanded_by: str) -> None:
    """Raise ListError unless each image of the list read from ``path`` has one label, and no label is unknown.

    It says once that this is so, which ``demanded_by`` is the beginning of, and names the lines, the first 20 of them.
    """
    if images.num_classes < 2:
        raise ListError(f"{os.fspath(path)}: has one label; single labels are chosen from two or more")
    counts, unknown = (images.labels == 1).sum(axis=1), (images.labels == -1).sum(axis=1)
    wrong = np.flatnonzero((counts != 1) | (unknown > 0))
    if not len(wrong):
        return
    faults = Faults()
    faults.add(
        f"{os.fspath(path)}: {demanded_by} exactly one label of each image, and {len(wrong):,} of {len(images):,} have "
        "none, several, or unknown ones"
    )
    if isinstance(images, RecordList):
        locations = {position: images.path(position) for position in wrong[:SHOWN_FAULTS].tolist()}
    else:
        # Blank lines count as lines, and not as images.
        numbers = read_good_lines(path, num_classes=images.num_classes, allow_absolute=True).line_numbers
        locations = {position: f"{os.fspath(path)}:{numbers[position]}" for position in wrong[:SHOWN_FAULTS].tolist()}
    for position in wrong.tolist():
        if not faults.has_room:
            faults.add()
            continue
        found = f"{counts[position]} labels are 1" + (f" and {unknown[position]} unknown" if unknown[position] else "")
        faults.add(f"{locations[position]}: {found}, should be one, and the others 0")
    faults.raise_any()
