"""The evaluation page's charts as numbers that its template draws: percent of a chart's width and height."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.evaluation.calibration_error import BINS
from mxml.evaluation.label_curves import SWEEP, PrecisionRecall, Sweep
from mxml.evaluation.metrics import ClassMetrics
from mxml.evaluation.reliability import Reliability


@dataclass(frozen=True)
class PrecisionRecallChart:
    """Precision upwards against recall to the right; ``x`` and ``y`` are where the threshold is."""

    label: int
    entry: ClassMetrics
    path: str
    x: float
    y: float

    @classmethod
    def of(cls, label: int, curve: PrecisionRecall, entry: ClassMetrics) -> PrecisionRecallChart:
        """Draw the curve of a label with these metrics."""
        steps = (f"V{_down(high)}H{_across(end)}" for end, high in zip(curve.recall, curve.precision))
        path = f"M0 {_down(curve.precision[0])}" + "".join(steps)
        return cls(label, entry, path, _across(entry.recall), _down(entry.precision))


@dataclass(frozen=True)
class SweepChart:
    """Precision, recall and F1 upwards against the threshold to the right; ``x`` is where the threshold is.

    ``best`` is the threshold of the highest F1, of several the nearest to the one now.
    """

    label: int
    entry: ClassMetrics
    paths: tuple[str, str, str]
    x: float
    best: float
    best_F1: float

    @classmethod
    def of(cls, label: int, found: Sweep, entry: ClassMetrics) -> SweepChart:
        """Draw the sweep of a label with these metrics."""
        precision, recall, F1 = (_line(zip(SWEEP, values)) for values in (found.precision, found.recall, found.F1))
        highest = np.flatnonzero(np.equal(found.F1, found.F1.max()))
        best = int(highest[np.abs(SWEEP[highest] - entry.threshold).argmin()])
        return cls(
            label, entry, (precision, recall, F1), _across(entry.threshold), float(SWEEP[best]), float(found.F1[best])
        )


def reliability_chart(found: Reliability) -> dict[str, Any]:
    """Return the bins that hold decisions, with the places of their dots and bars."""
    largest = max(1, int(found.counts.max(initial=0)))
    bins = [
        {
            "low": index / BINS,
            "high": (index + 1) / BINS,
            "count": int(found.counts[index]),
            "confidence": float(found.confidence[index]),
            "share": float(found.share[index]),
            "x": _across(found.confidence[index]),
            "y": _down(found.share[index]),
            "left": _across(index / BINS),
            "height": round(100 * int(found.counts[index]) / largest, 2),
        }
        for index in np.flatnonzero(found.counts).tolist()
    ]
    counts = found.counts[found.counts > 0]
    both = [values[found.counts > 0] for values in (found.confidence, found.share)]
    confidence, share = (float((counts * values).sum() / max(1, counts.sum())) for values in both)
    return {
        "bins": bins,
        "width": round(100 / BINS, 2),
        "line": _line(zip(*both)),
        "error": found.error,
        "confidence": confidence,
        "share": share,
        "decisions": int(counts.sum()),
    }


def _across(value: float) -> float:
    return round(100 * float(value), 1)


def _down(value: float) -> float:
    """Return where a value is from the top: SVG counts downwards."""
    return round(100 - 100 * float(value), 1)


def _line(points: Iterable[tuple[float, float]]) -> str:
    """Return a path through points, without those that have no value."""
    places = [f"{_across(x)} {_down(y)}" for x, y in points if y == y]
    return "M" + "L".join(places) if places else ""
