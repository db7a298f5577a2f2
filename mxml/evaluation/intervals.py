"""Intervals of metrics over what other images might have given; see ``mxml.evaluation.bootstrap``.

What is slow or biased in resamples has no interval: 11-point AP, and the calibration error, which any noise makes
larger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.evaluation.bootstrap import LEVEL, SEED, Interval, percentile_interval, resample_count, resamples
from mxml.evaluation.decisions import Decisions
from mxml.evaluation.image_values import ImageValues
from mxml.evaluation.metrics import top3_averages
from mxml.evaluation.precision_recall import mean_of_defined
from mxml.evaluation.weighted import WeightedCounts, WeightedRanks
from mxml.progress import SILENT, Progress


@dataclass(frozen=True)
class Intervals:
    """The 95 % intervals of one evaluation.

    Attributes
    ----------
    resamples : int
        How many resamples they are from: 1,000, and down to 200 for many images and labels; 0 for fewer than two
        images, which have no intervals.
    metrics : mapping of str to (float, float)
        The lower and the upper end for each metric by its name, without those that have no interval.
    AP : tuple of (float, float) or None
        The same for each class's AP; None without a positive.
    level, seed
        The share of the resamples within an interval, and what they were drawn with.
    """

    resamples: int
    metrics: Mapping[str, Interval]
    AP: tuple[Interval | None, ...]
    level: float = LEVEL
    seed: int = SEED

    def to_dict(self) -> dict[str, Any]:
        """Return all but the classes' as JSON holds it: the metrics' as lists of two beside the other fields."""
        return {
            "level": self.level, "resamples": self.resamples, "seed": self.seed,
            **{name: list(interval) for name, interval in self.metrics.items()},
        }  # fmt: skip


def bootstrap_intervals(decisions: Decisions, progress: Progress = SILENT) -> Intervals:
    """Compute the intervals of checked scores and labels.

    Parameters
    ----------
    decisions : Decisions
        The N images that have a known label.
    progress : Progress
        Told of as large a share of the images as of the resamples is done.

    Returns
    -------
    Intervals
        The same for the same scores and labels in the same order. A resample in which a metric is undefined, as an AP
        is without a positive, does not count for that metric, nor a class without a positive for the resample's mAP.
    """
    count, width = decisions.known.shape
    if count < 2:
        return Intervals(0, {}, (None,) * width)
    number = resample_count(count, width)
    ranks = WeightedRanks(decisions.scores, decisions.present, decisions.known)
    plain, top3 = (
        WeightedCounts(decisions.present, predicted) for predicted in (decisions.predicted, decisions.predicted_in_top)
    )
    values = ImageValues.of(decisions)
    sums = np.stack(list(values.columns.values()))
    APs, others = [], []
    for weights in resamples(count, number, progress, "intervals of the metrics"):
        APs.append(ranks.average_precisions(weights))
        others.append(
            {
                **plain.of(weights).averages(),
                **top3_averages(top3.of(weights)),
                **values.metrics(dict(zip(values.columns, sums @ weights))),
            }
        )
    AP = np.concatenate(APs)
    columns = {"mAP": mean_of_defined(AP)}
    columns |= {name: np.concatenate([block[name] for block in others]) for name in others[0]}
    found = {name: percentile_interval(resampled) for name, resampled in columns.items()}
    return Intervals(
        number,
        {name: interval for name, interval in found.items() if interval is not None},
        tuple(map(percentile_interval, AP.T)),
    )
