"""What a sidecar keeps of a tuning: thresholds and calibration for the parameters of one epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Optional

import msgspec

from mxml.errors import CheckpointError
from mxml.evaluation.calibration import LEAST_SLOPE, MOST_INTERCEPT, MOST_SLOPE, Calibration
from mxml.model.field_bounds import Digest, EpochNumber, Number, Path, Share, Word

_Slope = Annotated[float, msgspec.Meta(ge=LEAST_SLOPE, le=MOST_SLOPE)]
_Intercept = Annotated[float, msgspec.Meta(ge=-MOST_INTERCEPT, le=MOST_INTERCEPT)]
# An alias, since Python 3.9 knows no `float | None` when msgspec asks for the types.
_NumberOrNone = Optional[float]


@dataclass(frozen=True)
class CalibrationRecord:
    """The fields of a ``Calibration``."""

    method: Word
    slopes: tuple[_Slope, ...]
    intercepts: tuple[_Intercept, ...]


_CalibrationOrNone = Optional[CalibrationRecord]


@dataclass(frozen=True)
class TuningRecord:
    """Thresholds that were chosen on a list, and what they gain.

    They count for the parameters whose file has ``params_sha256``, written as those of ``epoch``. ``list_path``,
    ``list_sha256`` and ``images`` say on what they were chosen; the file is never opened again. ``before``, ``after``
    and ``cross_fitted`` have metrics by name, ``gain`` has ``value``, ``low`` and ``high`` of some.
    """

    epoch: EpochNumber
    params_sha256: Digest
    objective: Word
    kind: Word
    thresholds: tuple[Share, ...]
    calibration: _CalibrationOrNone
    min_support: Number
    list_path: Path
    list_sha256: Digest
    images: Number
    before: Mapping[str, _NumberOrNone]
    after: Mapping[str, _NumberOrNone]
    cross_fitted: Mapping[str, _NumberOrNone]
    gain: Mapping[str, Mapping[str, _NumberOrNone]]
    mxml: Word

    def check(self, labels: int) -> None:
        """Raise CheckpointError unless it is of a network with so many ``labels``."""
        per_label = [self.thresholds]
        if self.calibration is not None:
            per_label += [self.calibration.slopes, self.calibration.intercepts]
        if any(len(values) != labels for values in per_label):
            raise CheckpointError(f"has a tuning of other than its {labels} labels")

    @property
    def logit_calibration(self) -> Calibration | None:
        """Return what is done to logits before these thresholds mean anything."""
        found = self.calibration
        return None if found is None else Calibration(found.method, found.slopes, found.intercepts)
