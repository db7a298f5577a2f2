"""What an evaluation found: a list's metrics, with the names of the labels."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mxml.data.batches import BadImage
from mxml.evaluation.evaluation_html import evaluation_html
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
    def per_class(self) -> tuple[tuple[str, ClassMetrics], ...]:
        """Each label's name and its metrics, in the model's order."""
        return tuple(zip(self.label_names, self.metrics.per_class))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it, as ``mxml evaluate --json`` prints it.

        Returns
        -------
        dict
            ``prefix``, ``epoch``, ``data``, ``bad`` (a count), every metric by its name, and ``per_class``, one dict
            per label with its ``name``. None where a metric is undefined.
        """
        metrics = self.metrics.to_dict()
        for entry in metrics["per_class"]:
            entry["name"] = self.label_names[entry["index"]]
        data = os.fsencode(self.data).decode("utf-8", "replace")
        return {"prefix": self.prefix, "epoch": self.epoch, "data": data, "bad": len(self.bad), **metrics}

    def _repr_html_(self) -> str:
        """Return the metrics as tables, as notebooks show them."""
        return evaluation_html(self)
