"""Validating an epoch: the averaged weights and, where that is cheap, the current ones; the better are saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mxml.data.batches import BadImage, Batches
from mxml.data.image_list import ImageList
from mxml.data.record_list import RecordList
from mxml.errors import NotFiniteError, TrainingError
from mxml.inference import metrics
from mxml.inference.scores import Scores, collect
from mxml.progress import Progress
from mxml.training import divergence
from mxml.training.config import TrainConfig
from mxml.training.divergence import Diverged
from mxml.training.history import stored_metrics, takes_over
from mxml.training.report import RunReport
from mxml.training.stopping import StopHere, Stopping
from mxml.training.trainer import Trainer
from mxml.training.workers import merged_scores

# A forward pass takes a third of a step: so both validations of so long a list take a sixth of an epoch.
_CHEAP_SHARE = 1 / 4


@dataclass(frozen=True, eq=False)
class Validated:
    """What an epoch's validation found: the metrics of the weights to save, and whether these are the averaged ones.

    ``other`` are the metrics of the others, without those of single labels; None where they were not validated.
    ``loss`` is the mean of the loss that is minimised, at the current weights where they were validated.
    """

    metrics: dict[str, Any]
    averaged: bool
    other: dict[str, Any] | None
    loss: float
    bad: tuple[BadImage, ...]


class Validation:
    """The validation list of a run."""

    def __init__(
        self,
        config: TrainConfig,
        batches: Batches,
        images: ImageList | RecordList,
        train_images: int,
        stopping: Stopping,
        progress: Progress,
        report: RunReport,
    ):
        self._config = config
        self._batches = batches
        self._images = images
        self._both = len(images) <= _CHEAP_SHARE * train_images
        self._stopping = stopping
        self._progress = progress
        self._report = report

    def validate(self, trainer: Trainer, epoch: int, batch: int) -> Validated:
        """Validate what an epoch's last ``batch`` left. Raises Diverged, and StopHere where the run has to end."""
        if trainer.average is None:
            scores = self._scores(trainer, "validation", epoch, batch)
            return Validated(self._metrics(scores), False, None, self._loss(trainer, scores), scores.bad)
        with trainer.average.in_module():
            scores = self._scores(trainer, "validation", epoch, batch)
        averaged = self._metrics(scores)
        if not self._both:
            return Validated(averaged, True, None, self._loss(trainer, scores), scores.bad)
        scores = self._scores(trainer, "validation without averaging", epoch, batch)
        current = self._metrics(scores)
        loss = self._loss(trainer, scores)
        if takes_over(current, averaged, self._config.best_by):
            return Validated(current, False, _of_all_labels(averaged), loss, scores.bad)
        return Validated(averaged, True, _of_all_labels(current), loss, scores.bad)

    def _scores(self, trainer: Trainer, what: str, epoch: int, batch: int) -> Scores:
        self._batches.set_epoch(0)
        size = len(self._images)
        self._progress.start(size, what)

        def advance(images: int) -> None:
            self._report.validate(images * trainer.module.workers.count)
            self._stopping.look()
            if self._stopping.reason:
                raise StopHere(batch)

        try:
            scores = collect(
                trainer.module,
                self._batches,
                size,
                self._images.num_classes,
                advance,
                single_label=self._config.single_label,
            )
            scores = merged_scores(trainer.module.workers, scores, single_label=self._config.single_label)
        except NotFiniteError as error:
            # The parameters are finite, and have grown too large.
            raise Diverged(epoch, trainer.module.num_update, divergence.not_finite(None)) from error
        if len(scores.bad) > self._config.max_bad_share * size:
            raise TrainingError(_too_many_bad(scores.bad, size, self._config.lists[1], self._config.max_bad_share))
        return scores

    def _metrics(self, scores: Scores) -> dict[str, Any]:
        return validation_metrics(scores, self._images, single_label=self._config.single_label)

    def _loss(self, trainer: Trainer, scores: Scores) -> float:
        readable = scores.readable
        return trainer.limit.mean(scores.logits[readable], self._images.labels[readable])


def validation_metrics(scores: Scores, images: ImageList | RecordList, *, single_label: bool = False) -> dict[str, Any]:
    """Return every metric of the scores of ``images``, by its name."""
    readable = scores.readable
    return stored_metrics(
        metrics.multilabel_metrics(
            scores.probabilities[readable],
            images.labels[readable],
            logits=scores.logits[readable],
            single_label=single_label,
        )
    )


def _of_all_labels(validation: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in validation.items() if name != "per_class"}


def _too_many_bad(bad: Sequence[BadImage], size: int, list_path: str, max_share: float) -> str:
    first = f"{bad[0].path}: {bad[0].reason}"
    return f"{list_path}: {len(bad):,} of {size:,} images cannot be read, more than {max_share:.0%}; the first: {first}"
