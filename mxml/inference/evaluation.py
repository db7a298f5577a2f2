"""What an evaluation found: a list's metrics, with the names of the labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from mxml.data.batches import BadImage
from mxml.inference.metrics import ClassMetrics, Metrics


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of evaluating a checkpoint on a list.

    Parameters
    ----------
    prefix : str
        The checkpoint's prefix.
    epoch : int
        The epoch that was evaluated.
    data : str
        The list's path.
    label_names : tuple of str
        The C names, in the model's order.
    metrics : Metrics
        Every metric of ``mxml.inference.metrics``; NaN where a metric is undefined.
    bad : tuple of BadImage
        The images that were left out, as they could not be read, each with ``position``, ``path`` and ``reason``.
    """

    prefix: str
    epoch: int
    data: str
    label_names: tuple[str, ...]
    metrics: Metrics
    bad: tuple[BadImage, ...] = ()

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
