"""The thresholds that labelled scores suggest, from the simplest to those that follow each label most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mxml.evaluation.cuts import SortedScores, mixed
from mxml.evaluation.objectives import Objective

PLAIN, COMMON, SHRUNK, PER_LABEL = "plain", "common", "shrunk", "per-label"
KINDS = (PLAIN, COMMON, SHRUNK, PER_LABEL)
"""The simplest first.

``plain`` are the thresholds without tuning, ``common`` is one threshold that is best for all labels together,
``per-label`` is the best of each label, and ``shrunk`` lies between the last two, the nearer to ``per-label`` the more
images have the label.
"""

# With so many images a label's own threshold counts as much as the common one.
_SHRINKAGE = 50
_SEED = 0
# Where there are many images the best threshold hardly jumps, and one sample of them takes long.
_MOST_ROUNDS, _ROUND_NUMBERS = 25, 500_000


@dataclass(frozen=True, eq=False)
class Candidates:
    """Thresholds (C,) by their kind; ``reached`` and ``pooled`` (C,) are bool.

    ``reached`` says whether each label's own threshold reaches the precision or recall that was asked for;
    ``pooled`` that the label has too few images for one of its own, so that it takes the common one.
    """

    thresholds: dict[str, np.ndarray]
    reached: np.ndarray
    pooled: np.ndarray


def find_candidates(
    scores: np.ndarray, labels: np.ndarray, objective: Objective, plain: np.ndarray, min_support: int
) -> Candidates:
    """Return the thresholds that scores (N, C) with labels (N, C) suggest; a target has only those per label."""
    known = labels >= 0
    count = labels.shape[1]
    generator = np.random.default_rng(_SEED)
    everyone = SortedScores(scores[known], labels[known] == 1)
    common, reached_common = _best(everyone, objective, float(np.median(plain)), generator)
    own, shrunk = np.full(count, common), np.full(count, common)
    reached, pooled = np.full(count, reached_common), np.ones(count, dtype=bool)
    for column in range(count):
        rows = known[:, column]
        label = SortedScores(scores[rows, column], labels[rows, column] == 1)
        if min(label.positives, int(rows.sum()) - label.positives) < max(min_support, 1):
            continue
        pooled[column] = False
        own[column], reached[column] = _best(label, objective, common, generator)
        share = label.positives / (label.positives + _SHRINKAGE)
        shrunk[column] = label.between(mixed(np.array([own[column], common]), np.array([share, 1 - share])))
    if objective.is_target:
        return Candidates({PER_LABEL: own}, reached, pooled)
    thresholds = {PLAIN: plain, COMMON: np.full(count, common), SHRUNK: shrunk, PER_LABEL: own}
    return Candidates(thresholds, reached, pooled)


def _best(
    scores: SortedScores, objective: Objective, near: float, generator: np.random.Generator
) -> tuple[float, bool]:
    if objective.is_target:
        # What is promised has to hold on these images.
        return scores.best(objective, near)
    rounds = min(_MOST_ROUNDS, _ROUND_NUMBERS // max(scores.count, 1))
    return (scores.bagged(objective, near, rounds, generator) if rounds > 1 else scores.best(objective, near)[0]), True
