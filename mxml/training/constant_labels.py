"""Labels that every image of a list has, or none: nothing is learned of them, or measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mxml.progress import Progress
from mxml.text import shown
from mxml.training.run_data import TrainData

_SHOWN = 5


def note_constant_labels(lists: tuple[str, str], data: TrainData, progress: Progress) -> None:
    """Say in a line for each list which labels are the same in all of its images; ``lists`` are their paths."""
    train, val = lists
    _note(train, data.train.labels, data.label_names, "no network learns from that when they are there", progress)
    _note(val, data.val.labels, data.label_names, "its metrics say nothing about them", progress)


def _note(path: str, labels: np.ndarray, names: Sequence[str], so: str, progress: Progress) -> None:
    present, absent = (labels == 1).any(axis=0), (labels == 0).any(axis=0)
    found = []
    for what, columns in (("no image has", ~present), ("every image has", present & ~absent)):
        if columns.any():
            found.append(f"{what} {shown([names[column] for column in np.flatnonzero(columns)], _SHOWN)}")
    if found:
        progress.note(f"{path}: {', and '.join(found)}; {so}")
