"""Images unlike those that a checkpoint was trained on: its labels say little about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Callable

from mxml.errors import CheckpointError, SettingError
from mxml.images.transforms import Preprocess
from mxml.inference.checkpoint_data import own_preprocess
from mxml.inference.limits import UNLIKE
from mxml.inference.prediction import Prediction
from mxml.model import described
from mxml.model.checkpoint import Checkpoint
from mxml.model.feature_distribution import FeatureDistribution
from mxml.progress import Progress
from mxml.text import counted

_OTHERWISE = "images are prepared otherwise than in its training, so they cannot be compared with the training images"


def wanted_distribution(
    model: Checkpoint,
    preprocess: Preprocess,
    unlike: str | None,
    progress: Progress,
    load: Callable[[], FeatureDistribution | None],
) -> FeatureDistribution | None:
    """Return what tells images unlike the training images, None where it is not wanted or not there.

    ``load`` returns the checkpoint's description. ``unlike`` is one of ``UNLIKE``, or None to mark where that can be
    done; a note names a description that is damaged, or is of no use since images are prepared in another way.
    Raises SettingError for another value, and CheckpointError where marking was asked for and cannot be done.
    """
    if unlike not in (None, *UNLIKE):
        raise SettingError("unlike", unlike, f"one of {', '.join(UNLIKE)}")
    if unlike == "off":
        return None
    if model.sidecar is None:
        fault = (
            f"{model.prefix}: has no sidecar, so nothing describes its training images, which images could be compared "
            "with; leave `unlike` out"
        )
    elif preprocess != own_preprocess(model) and described.named(model.sidecar, model.epoch) is not None:
        fault = f"{model.prefix}: {_OTHERWISE}; leave `unlike` out"
        if unlike is None:
            progress.note(f"no image is marked as unlike the training images: {_OTHERWISE}")
    else:
        fault = (
            f"{model.prefix}: epoch {model.epoch} has no description of its training images; "
            f"mxml describe `prefix` {model.prefix} `epoch` {model.epoch} makes it"
        )
        try:
            found = load()
        except CheckpointError as error:
            if unlike is not None:
                raise
            progress.note(f"{error}; until then no image is marked as unlike the training images")
            return None
        if found is not None:
            return found
    if unlike is not None:
        raise CheckpointError(fault)
    return None


def marked(
    predictions: Iterable[Prediction], distribution: FeatureDistribution, unlike: str | None, progress: Progress
) -> Iterator[Prediction]:
    """Yield the predictions, with ``unlike`` "drop" as such that lose their labels; a note sums up at the end."""
    read = found = 0
    for prediction in predictions:
        read += prediction.error is None
        found += bool(prediction.unlike)
        yield dataclasses.replace(prediction, is_dropped=True) if unlike == "drop" else prediction
    if found or unlike is not None:
        progress.note(summary(found, read, distribution.marked))


def summary(unlike: int, images: int, share: float) -> str:
    """Say how many of some images are ``unlike`` the training images; ``share`` is that of the validation images."""
    verb = "is" if unlike == 1 else "are"
    return (
        f"{unlike:,} of {counted(images, 'image')} {verb} unlike the training images; of the validation images "
        f"{share:.0%} would be marked"
    )
