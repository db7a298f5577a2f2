"""A run whose loss is no longer finite, or far above guessing: how that is noticed, survived once, and said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mxml.errors import TrainingError
from mxml.model.losses import Loss, Settings
from mxml.model.sidecar import Divergence, Epoch, Sidecar
from mxml.training.config import TrainConfig
from mxml.training.recipe import Recipe

# A second one, at a tenth of the rate, ends the run.
LR_FACTOR = 0.1

_NAMED_IMAGES = 8
_IMAGES_LOOKED_AT = 1000
# What the logits are where every label, or none, is given with a probability of 95 %.
_CONFIDENT = 3.0
# About fifty steps have a say in the recent loss.
_RECENT = 0.98
_LARGEST = 10.0


class Diverged(Exception):
    """The parameters are of no more use, in ``epoch`` after ``step`` steps; ``what`` says why."""

    def __init__(self, epoch: int, step: int, what: str):
        super().__init__(what)
        self.epoch = epoch
        self.step = step
        self.what = what


class LossLimit:
    """What a loss is far above guessing from.

    That is where it is above both the loss of giving every label, or no label, to all images with a probability of
    95 %, whichever is worse, and three times the loss of a probability of 1/2, with which a new head begins.
    """

    def __init__(self, loss: Loss, settings: Settings, labels: np.ndarray):
        self._loss = loss
        self._settings = settings
        known = np.flatnonzero((labels >= 0).any(axis=1))
        some = labels[known[:: max(1, len(known) // _IMAGES_LOOKED_AT)]]
        undecided, all_labels, no_label = (
            self.mean(np.full(some.shape, logit, np.float32), some) for logit in (0.0, _CONFIDENT, -_CONFIDENT)
        )
        self.limit = max(3 * undecided, all_labels, no_label)

    def mean(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """Return the mean loss per known label."""
        total, known = self._loss.value(logits, labels, self._settings)
        return total / known if known else 0.0

    def is_far_above(self, training: float, validation: float) -> bool:
        """Say whether the losses of an epoch are: both are above the limit, or that of validation is ten times as high.

        An epoch may be a single step, whose loss is from before it.
        """
        return validation > _LARGEST * self.limit or min(training, validation) > self.limit

    def recent(self, before: float, loss: float) -> float:
        """Return the recent loss, 0 at an epoch's beginning, after one more batch; a single batch cannot raise it far.

        Above the limit the run has diverged, for some fifty steps, or fewer where the loss is enormous.
        """
        return _RECENT * before + (1 - _RECENT) * min(loss, _LARGEST * self.limit)


def not_finite(batch: int | None, images: Sequence[str] = ()) -> str:
    """Say that the loss is not finite since ``batch``, of these images; None for a validation."""
    if batch is None:
        return "the loss is not finite in validation"
    # Paths in full: what counts is at their end.
    more = f" and {len(images) - _NAMED_IMAGES:,} more" if len(images) > _NAMED_IMAGES else ""
    named = ", ".join(images[:_NAMED_IMAGES]) + more
    return f"the loss is not finite after batch {batch} (images {named})"


def far_above(losses: str, limit: float) -> str:
    """Say that ``losses`` are above the limit."""
    return f"{losses}: far above guessing, for which it would be below {limit:.3g}"


def good_epochs(epochs: Sequence[Epoch], best: int | None) -> tuple[Epoch, ...]:
    """Leave out the last epochs whose validation loss is over twice that of the best: they were on the way to it."""
    losses = {entry.epoch: entry.metrics["val"]["loss"] or 0.0 for entry in epochs}
    if best is None:
        return ()
    last = max(epoch for epoch, loss in losses.items() if loss <= 2 * losses[best])
    return tuple(entry for entry in epochs if entry.epoch <= last)


def goes_back_to(epochs: Sequence[Epoch]) -> str:
    """Say where a run goes on that diverged after these epochs, of which not all have files."""
    kept = [entry.epoch for entry in epochs if entry.files]
    return f"it goes back to the end of epoch {kept[-1]}" if kept else "no epoch was saved, so it begins again"


def lr_factor(diverged: Sequence[Divergence]) -> float:
    """Return what the learning rate is multiplied by after these."""
    return diverged[-1].lr_factor if diverged else 1.0


def has_ended(sidecar: Sidecar) -> bool:
    """Say whether the run has diverged once more than it survives."""
    return sidecar.has_ended_diverged


def ended(config: TrainConfig, sidecar: Sidecar) -> TrainingError:
    """Return the error of a run that diverged again."""
    last = sidecar.diverged[-1]
    before = Recipe.of(config).lr * lr_factor(sidecar.diverged[:-1])
    return TrainingError(
        f"training diverged again in epoch {last.epoch}, with `lr` {before:g}: {last.what}; {_remedy(config, sidecar)}"
    )


def still_ended(config: TrainConfig, sidecar: Sidecar) -> TrainingError:
    """Return the error of resuming such a run."""
    epochs = " and ".join(str(entry.epoch) for entry in sidecar.diverged)
    return TrainingError(
        f"the run at {config.prefix} diverged in epochs {epochs}, and resuming it would repeat that; "
        f"{_remedy(config, sidecar)}"
    )


def _remedy(config: TrainConfig, sidecar: Sidecar) -> str:
    lower = f"a lower `lr`, such as {Recipe.of(config).lr * lr_factor(sidecar.diverged):.3g}"
    if sidecar.best_epoch is None:
        return f"no epoch was finished: start a new run with {lower}"
    return (
        f"its best epoch so far, {sidecar.best_epoch}, is kept and can be used: start a new run from it with `model` "
        f"{config.prefix}, `epoch` {sidecar.best_epoch}, another `prefix` and {lower}, or from the beginning "
        "with `force`"
    )
