"""The list that a model is evaluated on, and how many of its images may be unreadable."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mxml.data.batches import BadImage
from mxml.data.image_list import ImageList
from mxml.data.record_list import RecordList, read_images
from mxml.data.single_label import require_single_labels
from mxml.errors import ImageError
from mxml.inference.checkpoint_data import tolerated_bad_share, validation_list
from mxml.model.checkpoint import Checkpoint
from mxml.progress import Progress, note_reading


def read_evaluated_list(
    model: Checkpoint,
    data: str | os.PathLike[str] | None,
    root: str | os.PathLike[str] | None,
    num_classes: int,
    single_label: bool,
    allow_absolute: bool,
    progress: Progress,
) -> tuple[str, ImageList | RecordList, float]:
    """Read a list, or the one that the model's run validated on where ``data`` is None.

    Returns its path, its images, and which share of them may be unreadable: of the run's own list as large a share as
    training allowed. Raises as ``Classifier.evaluate`` does.
    """
    tolerated = 0.0
    if data is None:
        tolerated = tolerated_bad_share(model)
        wanted = "a list, with its images' folder as `root`"
        remedy = "give a list as `data` and its `root`"
        own = validation_list(model, "data", wanted, remedy, progress, root)
        data, root = own.path, own.root
    note_reading(progress, data)
    images, note = read_images(data, root, num_classes, allow_absolute=allow_absolute)
    if single_label:
        require_single_labels(data, images, "the checkpoint, of single labels, demands")
    if note:
        progress.note(note)
    return os.fspath(data), images, tolerated


def require_tolerable(bad: Sequence[BadImage], count: int, tolerated: float) -> None:
    """Raise ImageError where more than the ``tolerated`` share of ``count`` images cannot be read."""
    if len(bad) > tolerated * count:
        first, more = bad[0], f"more than the {tolerated:.0%} that training allowed"
        share = f"{len(bad):,} of {count:,} images cannot be read, {more}"
        remedy = "; `root` says which folder the images are under" if len(bad) == count else ""
        raise ImageError(f"{first.reason}; {share}{remedy}; `skip_bad` skips such images", first.path)
