"""Validating an epoch: the averaged weights and the current ones are compared, and the better are saved.

Both are validated on the first part of the list, and the better ones on the rest of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.data.batches import BadImage, Batches, too_many_bad
from mxml.data.image_list import ImageList
from mxml.data.record_list import RecordList
from mxml.data.sampling import epoch_order
from mxml.errors import NotFiniteError, TrainingError
from mxml.evaluation import metrics
from mxml.evaluation.scores import Scores
from mxml.inference.list_scores import collect
from mxml.progress import Progress
from mxml.training import divergence
from mxml.training.config import TrainConfig
from mxml.training.divergence import Diverged
from mxml.training.history import PER_CLASS, stored_metrics, takes_over
from mxml.training.report import RunReport
from mxml.training.shared_run import merged_scores
from mxml.training.stopping import Stopping
from mxml.training.trainer import Trainer

# Of the longer of both lists: so the second pass over them takes a twelfth of an epoch's steps, since a forward pass
# takes a third of a step, or a quarter of its validation.
_COMPARED_SHARE = 1 / 4


@dataclass(frozen=True, eq=False)
class Validated:
    """What an epoch's validation found: the metrics of the weights to save, and whether these are the averaged ones.

    ``other`` are the metrics of the others on the images that both were compared on, without those of single labels;
    None where nothing is averaged. ``loss`` is the mean of the loss that is minimised, at the current weights.
    """

    metrics: dict[str, Any]
    averaged: bool
    other: dict[str, Any] | None
    loss: float
    bad: tuple[BadImage, ...]


@dataclass(frozen=True, eq=False)
class Part:
    """Some images of the list: their ``positions`` (n,) in it, and batches of them."""

    positions: np.ndarray
    batches: Batches


def positions_of_parts(count: int, train_images: int, config: TrainConfig) -> list[np.ndarray]:
    """Return the positions of the images to compare weights on, the same in every epoch, and those of the rest, if any.

    ``count`` is the number of images to validate on. Where nothing is averaged all of them are one part.
    """
    compared = math.ceil(_COMPARED_SHARE * max(count, train_images))
    if not config.ema or compared >= count:
        return [np.arange(count)]
    # Lists are often sorted by label.
    order = epoch_order(count, config.seed, 0, shuffle=True)
    return [np.sort(order[:compared]), np.sort(order[compared:])]


class Validation:
    """The validation list of a run, in the parts that ``positions_of_parts`` says."""

    def __init__(
        self,
        config: TrainConfig,
        parts: Sequence[Part],
        images: ImageList | RecordList,
        stopping: Stopping,
        progress: Progress,
        report: RunReport,
    ):
        self._config = config
        self._parts = parts
        self._images = images
        self._stopping = stopping
        self._progress = progress
        self._report = report

    def validate(self, trainer: Trainer, epoch: int, batch: int, *, has_stepped: bool) -> Validated:
        """Validate what an epoch's last ``batch`` left.

        Raises Diverged, and StopHere where the run has to end; a time limit ends it only if it ``has_stepped`` in this
        epoch, since a run that always stopped here would never get any further.
        """
        compared, rest = self._parts[0], self._parts[1:]
        size = len(self._images)

        def scores_of(*parts: Part) -> list[Scores]:
            return [self._scores(trainer, part, epoch, batch, has_stepped) for part in parts]

        if trainer.average is None:
            self._progress.start(size, "validation")
            scores = self._joined(scores_of(*self._parts))
            return Validated(self._metrics(scores), False, None, self._loss(trainer, scores), scores.bad)
        self._progress.start(len(compared.positions), "validation without averaging")
        (current,) = scores_of(compared)
        loss = self._loss(trainer, current, compared)
        with trainer.average.in_module():
            self._progress.start(size, "validation")
            (averaged,) = scores_of(compared)
            of_averaged, of_current = (self._metrics(scores, compared) for scores in (averaged, current))
            is_averaged = not takes_over(of_current, of_averaged, self._config.best_by)
            others = scores_of(*rest) if is_averaged else []
        if not is_averaged:
            if rest:
                self._progress.start(size, "validation without averaging", len(compared.positions))
            others = scores_of(*rest)
        scores = self._joined([averaged if is_averaged else current, *others])
        other = of_current if is_averaged else of_averaged
        other = {name: value for name, value in other.items() if name not in PER_CLASS}
        return Validated(self._metrics(scores), is_averaged, other, loss, scores.bad)

    def _scores(self, trainer: Trainer, part: Part, epoch: int, batch: int, has_stepped: bool) -> Scores:
        part.batches.set_epoch(0)

        def advance(images: int) -> None:
            self._report.validate(images * trainer.module.workers.count)
            self._stopping.end_if_asked(batch, by_time=has_stepped)

        single_label = self._config.single_label
        try:
            scores = collect(
                trainer.module,
                part.batches,
                len(part.positions),
                self._images.num_classes,
                advance,
                single_label=single_label,
            )
            return merged_scores(trainer.module.workers, scores, single_label=single_label)
        except NotFiniteError as error:
            # The parameters are finite, and have grown too large.
            raise Diverged(epoch, trainer.module.num_update, divergence.not_finite(None)) from error

    def _joined(self, found: Sequence[Scores]) -> Scores:
        """Return the scores of the whole list. Raises TrainingError where too many images cannot be read."""
        size = len(self._images)
        logits = np.empty((size, self._images.num_classes), np.float32)
        probabilities = np.empty_like(logits)
        bad: list[BadImage] = []
        for part, scores in zip(self._parts, found):
            logits[part.positions] = scores.logits
            probabilities[part.positions] = scores.probabilities
            bad += (BadImage(int(part.positions[one.position]), one.path, one.reason) for one in scores.bad)
        bad.sort(key=lambda image: image.position)
        share = self._config.max_bad_share
        if len(bad) > share * size:
            raise TrainingError(f"{self._config.lists[1]}: {too_many_bad(bad, size, share)}")
        return Scores(probabilities, logits, tuple(bad))

    def _labels(self, part: Part | None) -> np.ndarray:
        labels: np.ndarray = self._images.labels
        return labels if part is None else labels[part.positions]

    def _metrics(self, scores: Scores, part: Part | None = None) -> dict[str, Any]:
        return validation_metrics(scores, self._labels(part), single_label=self._config.single_label)

    def _loss(self, trainer: Trainer, scores: Scores, part: Part | None = None) -> float:
        readable = scores.readable
        return trainer.limit.mean(scores.logits[readable], self._labels(part)[readable])


def validation_metrics(scores: Scores, labels: np.ndarray, *, single_label: bool = False) -> dict[str, Any]:
    """Return every metric of the scores of images with ``labels`` (N, C), by its name."""
    readable = scores.readable
    return stored_metrics(
        metrics.multilabel_metrics(
            scores.probabilities[readable],
            labels[readable],
            logits=scores.logits[readable],
            single_label=single_label,
        )
    )
