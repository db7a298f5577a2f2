"""What thresholds are chosen for: the highest F-beta, or a precision or recall that is to be reached."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mxml.errors import SettingError

LEAST_BETA, MOST_BETA = 0.01, 100.0
WANTED = "f1, f-beta=NUMBER, precision=NUMBER or recall=NUMBER"


@dataclass(frozen=True)
class Objective:
    """What is best.

    Attributes
    ----------
    kind : {"f-beta", "precision", "recall"}
        ``f-beta`` has the highest F-beta; ``precision`` the highest recall with at least that precision, and
        ``recall`` the highest precision with at least that recall.
    value : float
        The beta (above 1 recall counts for more, below 1 precision; van Rijsbergen 1979), or what is to be reached.
    """

    kind: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Read ``f1``, ``f-beta=2``, ``precision=0.9`` or ``recall=0.95``. Raises SettingError for anything else."""
        if text == "f1":
            return cls("f-beta", 1.0)
        kind, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if kind == "f-beta" and LEAST_BETA <= value <= MOST_BETA:
            return cls(kind, value)
        if kind in ("precision", "recall") and 0 < value <= 1:
            return cls(kind, value)
        wanted = {
            "f-beta": f"f-beta=NUMBER with a beta from {LEAST_BETA:g} to {MOST_BETA:g}, such as f-beta=2",
            "precision": "precision=NUMBER above 0 and up to 1, such as precision=0.9",
            "recall": "recall=NUMBER above 0 and up to 1, such as recall=0.95",
        }.get(kind, WANTED)
        raise SettingError("objective", text, wanted)

    def __str__(self) -> str:
        return "f1" if (self.kind, self.value) == ("f-beta", 1.0) else f"{self.kind}={self.value:.12g}"

    @property
    def is_target(self) -> bool:
        """Whether a precision or a recall is to be reached."""
        return self.kind != "f-beta"

    def f_score(self, hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray | int) -> np.ndarray:
        """Return F-beta from counts: true positives, predicted, and present; 0 where nothing is either.

        A recall or precision that is to be reached is measured by F1.
        """
        weight = self.value**2 if self.kind == "f-beta" else 1.0
        # (1 + b²) TP / ((1 + b²) TP + b² FN + FP), with FN = positives - TP and FP = predicted - TP.
        below = weight * positives + predicted
        found: np.ndarray = np.divide((1 + weight) * hits, below, out=np.zeros(np.shape(hits)), where=below > 0)
        return found
