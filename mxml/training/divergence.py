"""A loss that is not finite: the error message for all places that find one."""

from __future__ import annotations

from collections.abc import Sequence

from mxml.errors import TrainingError
from mxml.model.sidecar import Sidecar
from mxml.training.config import TrainConfig
from mxml.training.recipe import Recipe

_NAMED_IMAGES = 8


def diverged(config: TrainConfig, epoch: int, batch: int | None = None, images: Sequence[str] = ()) -> TrainingError:
    """Return the error of a run whose loss is not finite in ``epoch``.

    ``batch`` is the number of the batch whose gradient made it so, and ``images`` its images; None for a validation.
    """
    # Paths in full: what counts is at their end.
    more = f" and {len(images) - _NAMED_IMAGES:,} more" if len(images) > _NAMED_IMAGES else ""
    named = ", ".join(images[:_NAMED_IMAGES]) + more
    where = "in validation" if batch is None else f"after batch {batch} (images {named})"
    return TrainingError(f"training diverged in epoch {epoch}: the loss is not finite {where}; {_remedy(config)}")


def still_diverged(config: TrainConfig, sidecar: Sidecar) -> TrainingError:
    """Return the error of resuming such a run."""
    return TrainingError(
        f"training diverged in epoch {sidecar.diverged}: the loss was not finite when the run at {config.prefix} was "
        f"trained before, and resuming it would repeat that; {_remedy(config)}"
    )


def _remedy(config: TrainConfig) -> str:
    begin = "from scratch" if config.model is None else "from the pretrained network"
    return f"start a new run {begin} with `force` and a lower `lr`, such as {Recipe.of(config).lr / 10:g}"
