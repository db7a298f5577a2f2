"""What an evaluation found: a list's metrics, how sure they are and what they are worth, and the names of labels."""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.data.batches import BadImage
from mxml.evaluation.baseline import frequency_baseline
from mxml.evaluation.decisions import Decisions
from mxml.evaluation.evaluation_html import evaluation_html
from mxml.evaluation.intervals import Intervals, bootstrap_intervals
from mxml.evaluation.label_errors import LabelError, multilabel_errors, single_label_errors
from mxml.evaluation.metrics import ClassMetrics, Metrics, metrics_of
from mxml.evaluation.scored_list import ScoredList
from mxml.progress import SILENT, Progress
from mxml.text import counted, printable


@dataclass(frozen=True, eq=False, repr=False)
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
    intervals : Intervals
        95 % bootstrap intervals of the metrics and of each label's AP.
    baseline : Metrics
        The same metrics of a model that gives every image the labels' shares in this list.
    scored : ScoredList
        The list, its images and their scores.
    """

    prefix: str
    epoch: int
    label_names: tuple[str, ...]
    metrics: Metrics
    intervals: Intervals
    baseline: Metrics
    scored: ScoredList

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
        progress: Progress = SILENT,
    ) -> Evaluation:
        """Compute the metrics of a list's scores; ``thresholds`` is (C,). Raises as ``multilabel_metrics`` does."""
        labels = scored.labels
        decisions = Decisions.of(scored.probabilities, labels, thresholds, scored.logits, single_label)
        metrics = metrics_of(decisions)
        baseline = frequency_baseline(labels, thresholds, single_label=single_label)
        intervals = bootstrap_intervals(decisions, progress)
        return cls(prefix, epoch, label_names, metrics, intervals, baseline, scored)

    def __repr__(self) -> str:
        """Return the main metrics, and of how many images, in one line."""
        names = ("accuracy", "mAP", "CF1") if self.single_label else ("mAP", "CF1")
        values = ", ".join(f"{name} {getattr(self.metrics, name):.4f}" for name in names)
        return f"<Evaluation {values}, {counted(self.samples, 'image')} of {printable(self.data)}>"

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
            ``prefix``, ``epoch``, ``data``, ``bad`` (a count), every metric by its name, and ``per_class``, one dict
            per label with its ``name``. ``intervals`` has the ends of each metric's interval by its name beside
            ``level``, ``resamples`` and ``seed``, ``baseline`` the metrics of the labels' shares; ``AP_interval`` and
            ``AP_baseline`` are a label's. ``label_errors`` has one dict per label that is likely wrong in the list.
            None where a metric is undefined.
        """
        metrics = self.metrics.to_dict()
        baseline = self.baseline.to_dict()
        for entry, interval, shares in zip(metrics["per_class"], self.intervals.AP, baseline.pop("per_class")):
            entry["name"] = self.label_names[entry["index"]]
            entry["AP_interval"] = None if interval is None else list(interval)
            entry["AP_baseline"] = shares["AP"]
        for name in ("samples", "known"):
            del baseline[name]
        data = os.fsencode(self.data).decode("utf-8", "replace")
        return {
            "prefix": self.prefix,
            "epoch": self.epoch,
            "data": data,
            "bad": len(self.bad),
            **metrics,
            "intervals": self.intervals.to_dict(),
            "baseline": baseline,
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

    def _repr_html_(self) -> str:
        """Return the metrics as tables, as notebooks show them."""
        return evaluation_html(self)
