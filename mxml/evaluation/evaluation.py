"""What an evaluation found: a list's metrics, with the names of the labels."""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mxml.data.batches import BadImage
from mxml.evaluation.label_errors import LabelError, multilabel_errors, single_label_errors
from mxml.evaluation.metrics import ClassMetrics, Metrics, multilabel_metrics
from mxml.evaluation.scored_list import ScoredList


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of evaluating a checkpoint on a list.

    Parameters
    ----------
    prefix : str
        The checkpoint's prefix.
    epoch : int
        The epoch that was evaluated.
    label_names : tuple of str
        The C names, in the model's order.
    metrics : Metrics
        Every metric of ``mxml.evaluation.metrics``; NaN where a metric is undefined.
    scored : ScoredList
        The list, its images and their scores.
    """

    prefix: str
    epoch: int
    label_names: tuple[str, ...]
    metrics: Metrics
    scored: ScoredList = field(repr=False)

    @classmethod
    def of(
        cls,
        prefix: str,
        epoch: int,
        label_names: tuple[str, ...],
        scored: ScoredList,
        thresholds: np.ndarray,
        *,
        single_label: bool = False,
    ) -> Evaluation:
        """Compute the metrics of a list's scores; ``thresholds`` is (C,). Raises as ``multilabel_metrics`` does."""
        metrics = multilabel_metrics(
            scored.probabilities, scored.labels, thresholds, logits=scored.logits, single_label=single_label
        )
        return cls(prefix, epoch, label_names, metrics, scored)

    @property
    def data(self) -> str:
        """The list's path."""
        return self.scored.path

    @property
    def bad(self) -> tuple[BadImage, ...]:
        """The images that were left out as they could not be read, each with ``position``, ``path`` and ``reason``."""
        return self.scored.scores.bad

    @property
    def samples(self) -> int:
        """How many images were evaluated: those that can be read and have a label that is known."""
        return self.metrics.samples

    @property
    def single_label(self) -> bool:
        """Whether each image has exactly one label, and the one that scores highest is predicted."""
        return not math.isnan(self.metrics.accuracy)

    @property
    def thresholds(self) -> np.ndarray:
        """The lowest score at which an image gets each label, (C,) float64."""
        return np.array([entry.threshold for entry in self.metrics.per_class])

    @property
    def per_class(self) -> tuple[tuple[str, ClassMetrics], ...]:
        """Each label's name and its metrics, in the model's order."""
        return tuple(zip(self.label_names, self.metrics.per_class))

    def label_errors(self) -> tuple[LabelError, ...]:
        """Find labels that are likely wrong in the list, by confident learning: ``mxml.evaluation.label_errors``.

        Few are found with scores of images that the model was trained on, since it has learnt their labels.

        Returns
        -------
        tuple of LabelError
            Those first that the model contradicts most.
        """
        return self._label_errors

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it, as ``mxml evaluate --json`` prints it.

        Returns
        -------
        dict
            ``prefix``, ``epoch``, ``data``, ``bad`` (a count), every metric by its name, ``per_class``, one dict
            per label with its ``name``, and ``label_errors``, one dict per label that is likely wrong. None where a
            metric is undefined.
        """
        metrics = self.metrics.to_dict()
        for entry in metrics["per_class"]:
            entry["name"] = self.label_names[entry["index"]]
        data = os.fsencode(self.data).decode("utf-8", "replace")
        return {
            "prefix": self.prefix,
            "epoch": self.epoch,
            "data": data,
            "bad": len(self.bad),
            **metrics,
            "label_errors": [error.to_dict() for error in self.label_errors()],
        }

    # The text, the JSON and the page all ask for them.
    @functools.cached_property
    def _label_errors(self) -> tuple[LabelError, ...]:
        scored = self.scored
        positions, scores, labels = scored.positions, scored.probabilities, scored.labels
        if self.single_label:
            found = single_label_errors(scores, labels)
        else:
            found = multilabel_errors(scores, labels, self.thresholds)
        return tuple(
            LabelError(
                int(positions[row]),
                scored.images.name(int(positions[row])),
                column,
                self.label_names[column],
                bool(labels[row, column] == 1),
                float(scores[row, column]),
                self.label_names[likely[0]] if likely else None,
            )
            for row, column, *likely in found.tolist()
        )
