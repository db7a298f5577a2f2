"""A list with a model's scores: what evaluations, thresholds and pages are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.record_list import RecordList
from mxml.evaluation.scores import Scores


@dataclass(frozen=True, eq=False)
class ScoredList:
    """The images of a list, their labels, and a model's scores for them.

    ``path`` is the list's file, ``images`` has N images with ``labels`` (N, C), and ``scores`` theirs; the rows of
    images that could not be read hold NaN.
    """

    path: str
    images: ImageList | RecordList
    scores: Scores

    @property
    def positions(self) -> np.ndarray:
        """Return (M,) int64: the positions in the list of the images that could be read."""
        return np.flatnonzero(self.scores.readable)

    @property
    def probabilities(self) -> np.ndarray:
        """Return (M, C) float32, of the images that could be read."""
        found: np.ndarray = self.scores.probabilities[self.positions]
        return found

    @property
    def logits(self) -> np.ndarray:
        """Return (M, C) float32, of the images that could be read."""
        found: np.ndarray = self.scores.logits[self.positions]
        return found

    @property
    def labels(self) -> np.ndarray:
        """Return (M, C) int8 of 1, 0 and -1 (unknown), of the images that could be read."""
        found: np.ndarray = self.images.labels[self.positions]
        return found
