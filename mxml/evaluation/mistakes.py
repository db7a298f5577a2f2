"""The mistakes of a label that its scores are surest of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Mistakes of one label.

    ``false`` are rows whose image gets the label and does not have it, highest score first, and ``missed`` those that
    have it and do not get it, lowest first; the first ones of ``false_count`` and ``missed_count``.
    """

    label: int
    false: np.ndarray
    missed: np.ndarray
    false_count: int
    missed_count: int


def surest_mistakes(
    label: int, scores: np.ndarray, present: np.ndarray, known: np.ndarray, predicted: np.ndarray, most: int
) -> Mistakes:
    """Choose at most so many mistakes of each kind; the columns of ``label``, (n,) each."""
    false = np.flatnonzero(predicted & known & ~present)
    missed = np.flatnonzero(present & ~predicted)
    return Mistakes(
        label,
        false[np.argsort(-scores[false], kind="stable")][:most],
        missed[np.argsort(scores[missed], kind="stable")][:most],
        len(false),
        len(missed),
    )
