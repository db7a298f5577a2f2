"""Scores and labels that have been checked, and which labels a model decides for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mxml.errors import ModelError, MxmlError

DIVERGED = (
    "finite: the training diverged or the parameters are damaged; take an earlier epoch, or train with a lower "
    "learning rate"
)
_TOP = 3


@dataclass(frozen=True, eq=False)
class Decisions:
    """The N images that have a known label, with C labels each.

    ``scores`` (N, C) float32 or float64 in [0, 1], ``logits`` the same or None; ``present``, ``known``
    and ``predicted`` (N, C) bool, the first and the last False where a label is unknown; ``thresholds`` (C,) float64.
    """

    scores: np.ndarray
    logits: np.ndarray | None
    present: np.ndarray
    known: np.ndarray
    predicted: np.ndarray
    thresholds: np.ndarray
    single_label: bool

    @classmethod
    def of(
        cls,
        scores: np.ndarray,
        labels: np.ndarray,
        thresholds: float | np.ndarray,
        logits: np.ndarray | None,
        single_label: bool,
    ) -> Decisions:
        """Check the values and leave out images without known labels; arguments as of ``multilabel_metrics``."""
        scores, labels = _as_float(scores), np.asarray(labels)
        logits = None if logits is None else _as_float(logits)
        if scores.ndim != 2 or scores.shape != labels.shape:
            raise ValueError(f"scores {scores.shape} and labels {labels.shape} must have the same two dimensions")
        if logits is not None and logits.shape != labels.shape:
            raise ValueError(f"logits {logits.shape} and labels {labels.shape} must have the same shape")
        thresholds = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), labels.shape[1:])
        present = labels == 1
        known = present | (labels == 0)
        _require(known | (labels == -1), "label", labels, "1 (present), 0 (absent) or -1 (unknown)")
        _require(np.isfinite(scores), "score", scores, DIVERGED, ModelError)
        _require((scores >= 0) & (scores <= 1), "score", scores, "probabilities: give the sigmoid's output as scores")
        if logits is not None:
            _require(np.isfinite(logits), "logit", logits, DIVERGED, ModelError)
        counted = known.any(axis=1)
        if not counted.all():
            scores, present, known = scores[counted], present[counted], known[counted]
            logits = None if logits is None else logits[counted]
        if single_label:
            if not (known.all() and (present.sum(axis=1) == 1).all()):
                raise MxmlError("a sample has unknown labels, or not exactly one label")
            predicted = np.zeros(present.shape, dtype=bool)
            predicted[np.arange(len(scores)), scores.argmax(axis=1)] = True
        else:
            # float32 scores are compared in float64, as the thresholds are.
            predicted = known & (scores >= thresholds)
        return cls(scores, logits, present, known, predicted, thresholds, single_label)

    @property
    def predicted_in_top(self) -> np.ndarray:
        """Return (N, C) bool: what is predicted and among the three known labels of an image that score highest.

        Of labels that score alike the first ones are taken.
        """
        left = np.where(self.known, self.scores, -1)
        rows = np.arange(len(left))
        top = np.zeros(left.shape, dtype=bool)
        for _ in range(min(_TOP, left.shape[1])):
            highest = left.argmax(axis=1)
            top[rows, highest] = True
            left[rows, highest] = -2
        return top & self.predicted


def _as_float(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    return values if values.dtype == np.float32 else values.astype(np.float64, copy=False)


def _require(sound: np.ndarray, kind: str, values: np.ndarray, demand: str, error: type[MxmlError] = MxmlError) -> None:
    if not sound.all():
        sample, column = np.argwhere(~sound)[0]
        raise error(
            f"the {kind} of sample {sample}, class {column} is {values[sample, column]:g}, "
            f"and {np.count_nonzero(~sound):,} of {sound.size:,} are not {demand}"
        )
