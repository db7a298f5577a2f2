"""Which labels are given in the place of others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ROWS = 1 << 14


@dataclass(frozen=True, eq=False)
class Confusion:
    """The confusion of some labels, K of them.

    ``counts`` (K, K) int64: in how many images the row's label is missed and the column's is given wrongly; on the
    diagonal, in how many the label is found. Of single labels this is the confusion matrix. ``alone`` (K,): in how many
    images the label is missed and no label at all is given wrongly. ``images`` (K,): how many have the label.
    """

    counts: np.ndarray
    alone: np.ndarray
    images: np.ndarray


def confusion(present: np.ndarray, known: np.ndarray, predicted: np.ndarray, columns: np.ndarray) -> Confusion:
    """Count the confusions among the labels in ``columns`` (K,); the others are (N, C) bool.

    What is given where it is not known to be absent is no mistake.
    """
    counts = np.zeros((len(columns), len(columns)))
    alone = np.zeros(len(columns), np.int64)
    for first in range(0, len(present), _ROWS):
        rows = slice(first, first + _ROWS)
        wrong = predicted[rows] & known[rows] & ~present[rows]
        missed = (present[rows] & ~predicted[rows])[:, columns]
        counts += missed.T.astype(np.float32) @ wrong[:, columns].astype(np.float32)
        alone += np.count_nonzero(missed & ~wrong.any(axis=1, keepdims=True), axis=0)
    whole = counts.round().astype(np.int64)
    np.fill_diagonal(whole, np.count_nonzero((present & predicted)[:, columns], axis=0))
    return Confusion(whole, alone, np.count_nonzero(present[:, columns], axis=0))
