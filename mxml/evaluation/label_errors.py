"""Labels of a list that are likely wrong, found by confident learning.

Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels (JAIR 2021), section 3.1. A
value of a label (present or absent; of single labels, one of the labels) is confident in an image if its probability is
at least its mean probability over the images that have it in the list. What is likely true is the confident value, and
of several the most probable one. Where it differs from the list's, and the model does not predict the list's either,
the list is likely wrong: the off-diagonals of the confident joint, with the condition that cleanlab 2 adds. Each label
of several is such a problem of its own, in which unknown values take no part.

The means adapt to each label: one that the model never gives much probability is held to little. Scores should be of
images that the model was not trained on; it has learnt the others' labels, the wrong ones too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

_TOLERANCE = 1e-6
"""Rounding must not make a value that all images share less than its mean; as much as cleanlab allows."""


@dataclass(frozen=True)
class LabelError:
    """A label of an image that is likely wrong in the list.

    Attributes
    ----------
    position : int
        The image's position in the list, from 0.
    path : str
        The image, as the list names it.
    class_id : int
        The label's column, from 0.
    name : str
        The label's name.
    present : bool
        Whether the list says that the image has it; likely the opposite is true.
    score : float
        The label's probability, from 0 to 1.
    likely : str or None
        Of single labels, the name of the label that the image likely has in its place.
    """

    position: int
    path: str
    class_id: int
    name: str
    present: bool
    score: float
    likely: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it.

        Returns
        -------
        dict
            ``path``, ``name``, ``present``, ``score`` and, of single labels, ``likely``.
        """
        path = os.fsencode(self.path).decode("utf-8", "replace")
        found = {"path": path, "name": self.name, "present": self.present, "score": self.score}
        return found if self.likely is None else {**found, "likely": self.likely}


def multilabel_errors(scores: np.ndarray, labels: np.ndarray, thresholds: float | np.ndarray = 0.5) -> np.ndarray:
    """Find likely errors among labels that are decided one by one.

    Parameters
    ----------
    scores : ndarray of shape (N, C)
        Probabilities in [0, 1].
    labels : ndarray of shape (N, C)
        1, 0 and -1 (unknown).
    thresholds : float or ndarray of shape (C,), default 0.5
        The lowest score at which the model gives a label.

    Returns
    -------
    ndarray of shape (K, 2)
        Rows and columns, int64, those first whose value in the list has the lowest probability. A label that is never
        known to be present, or never absent, has none.
    """
    rows, columns, certainties = [], [], []
    for column, threshold in enumerate(np.broadcast_to(thresholds, labels.shape[1:]).tolist()):
        known = np.flatnonzero(labels[:, column] >= 0)
        values = labels[known, column].astype(np.intp)
        present = scores[known, column].astype(np.float64)
        likely = _likely_values(np.stack([1 - present, present], axis=1), values)
        wrong = np.flatnonzero((likely >= 0) & (likely != values) & ((present >= threshold) != values))
        rows.append(known[wrong])
        columns.append(np.full(len(wrong), column))
        certainties.append(np.where(values[wrong] == 1, present[wrong], 1 - present[wrong]))
    order = np.argsort(np.concatenate(certainties), kind="stable")
    found: np.ndarray = np.stack([np.concatenate(rows), np.concatenate(columns)], axis=1)[order]
    return found


def single_label_errors(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Find likely errors among images of exactly one label each.

    Parameters
    ----------
    scores : ndarray of shape (N, C)
        Probabilities that add up to 1 over each image.
    labels : ndarray of shape (N, C)
        1 once in each row, and 0.

    Returns
    -------
    ndarray of shape (K, 3)
        Rows, the columns of the list's labels and those of the likely ones, int64, those first whose label in the list
        has the lowest probability.
    """
    given = labels.argmax(axis=1)
    likely = _likely_values(scores.astype(np.float64), given)
    wrong = np.flatnonzero((likely >= 0) & (likely != given) & (scores.argmax(axis=1) != given))
    wrong = wrong[np.argsort(scores[wrong, given[wrong]], kind="stable")]
    found: np.ndarray = np.stack([wrong, given[wrong], likely[wrong]], axis=1)
    return found


def _likely_values(scores: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return (N,) the most probable of each row's confident values, -1 without one; ``scores`` (N, K) are theirs."""
    counts = np.bincount(values, minlength=scores.shape[1])
    sums = np.bincount(values, scores[np.arange(len(values)), values], minlength=scores.shape[1])
    # A value that no image has is confident in none.
    means = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    confident = scores >= means - _TOLERANCE
    likely: np.ndarray = np.where(confident, scores, -1).argmax(axis=1)
    return np.where(confident.any(axis=1), likely, -1)
