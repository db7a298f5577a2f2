"""Thresholds of a checkpoint from a list of held-out images."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from mxml import __version__
from mxml.errors import MxmlError, SettingError
from mxml.evaluation.calibration import METHODS
from mxml.evaluation.candidates import PLAIN
from mxml.evaluation.metrics import Metrics
from mxml.evaluation.objectives import Objective
from mxml.evaluation.scored_list import ScoredList
from mxml.evaluation.tuning import Tuning, tune_thresholds
from mxml.inference.trained_lists import list_sha256, was_trained_on
from mxml.model.checkpoint import Checkpoint
from mxml.model.run_files import RunFiles
from mxml.model.saved_tuning import require_sidecar
from mxml.model.tuning_record import CalibrationRecord, TuningRecord
from mxml.progress import Progress
from mxml.text import counted, printable

if TYPE_CHECKING:
    from mxml.inference.classifier import Classifier

DEFAULT_OBJECTIVE = "f1"
# More images than any list has, and no more than a sidecar may hold.
_MOST_SUPPORT = 1_000_000_000
_RECORDED = ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "loss")


@dataclass(frozen=True, eq=False, repr=False)
class TuningResult:
    """Thresholds for one epoch of a checkpoint, and what they gain.

    Attributes
    ----------
    checkpoint : Checkpoint
        What was tuned.
    label_names : tuple of str
        The C names, in the model's order.
    tuning : Tuning
        Thresholds, calibration and metrics.
    scored : ScoredList
        The list, its images, and their scores without calibration.
    min_support : int
        As it was given.
    on_training_list : bool
        Whether the run was trained on this list: its scores are too good there, so that nothing follows from them.
    """

    checkpoint: Checkpoint
    label_names: tuple[str, ...]
    tuning: Tuning
    scored: ScoredList
    min_support: int
    on_training_list: bool

    def __repr__(self) -> str:
        """Return what was chosen, for what, and what it gains, in one line."""
        tuning, images = self.tuning, counted(len(self.scored.positions), "image")
        gain = tuning.cross_fitted.gain["CF1"]
        return (
            f"<TuningResult {tuning.kind} thresholds for {tuning.objective} from {images} of "
            f"{printable(self.scored.path)}: CF1 {gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}) on others>"
        )

    @property
    def changes_nothing(self) -> bool:
        """Whether the checkpoint's epoch has these thresholds without a tuning, so that there is nothing to keep."""
        sidecar = self.checkpoint.sidecar
        is_tuned = sidecar is not None and sidecar.tuning_of(self.checkpoint.epoch) is not None
        return self.tuning.kind == PLAIN and self.tuning.calibration is None and not is_tuned

    @property
    def unreached(self) -> tuple[str, ...]:
        """The labels that cannot reach the precision or recall that was asked for."""
        return tuple(name for name, reached in zip(self.label_names, self.tuning.reached) if not reached)

    def record(self) -> TuningRecord:
        """Return what the sidecar keeps. Raises CheckpointError where the checkpoint has none."""
        tuning, model = self.tuning, self.checkpoint
        sidecar = require_sidecar(model.prefix, model.sidecar)
        calibration = tuning.calibration
        return TuningRecord(
            model.epoch,
            sidecar.params_sha256(model.epoch) or "",
            str(tuning.objective),
            tuning.kind,
            tuple(tuning.thresholds.tolist()),
            None
            if calibration is None
            else CalibrationRecord(calibration.method, calibration.slopes, calibration.intercepts),
            self.min_support,
            self.scored.path,
            list_sha256(self.scored.path, self.scored.images),
            len(self.scored.positions),
            _recorded(tuning.before, tuning.F_before),
            _recorded(tuning.after, tuning.F_after),
            dict(tuning.cross_fitted.metrics),
            {name: gain.interval() for name, gain in tuning.cross_fitted.gain.items()},
            __version__,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it, as ``mxml tune --json`` prints it.

        Returns
        -------
        dict
            ``prefix``, ``epoch``, ``data``, ``images``, ``bad`` (a count), ``on_training_list``, ``objective``,
            ``kind``, ``calibration``, ``before``, ``after`` and ``cross_fitted`` (metrics by name), ``gain``,
            ``kinds_of_folds``, and ``per_label``, one dict each. None where a number is undefined.
        """
        tuning, fitted = self.tuning, self.tuning.cross_fitted
        calibration = tuning.calibration
        per_label = []
        for index, (name, before, after) in enumerate(
            zip(self.label_names, tuning.before.per_class, tuning.after.per_class)
        ):
            per_label.append(
                {
                    "name": name,
                    "positives": before.positives,
                    "known": before.known,
                    "threshold": after.threshold,
                    "threshold_before": before.threshold,
                    "pooled": bool(tuning.pooled[index]),
                    "reached": bool(tuning.reached[index]),
                    "before": {key: _finite(getattr(before, key)) for key in ("precision", "recall", "F1")},
                    "after": {key: _finite(getattr(after, key)) for key in ("precision", "recall", "F1")},
                    "cross_fitted": {key: _finite(values[index]) for key, values in fitted.per_label.items()},
                }
            )
        return {
            "prefix": self.checkpoint.prefix,
            "epoch": self.checkpoint.epoch,
            "data": os.fsencode(self.scored.path).decode("utf-8", "replace"),
            "images": len(self.scored.positions),
            "bad": len(self.scored.scores.bad),
            "on_training_list": self.on_training_list,
            "objective": str(tuning.objective),
            "kind": tuning.kind,
            "calibration": None
            if calibration is None
            else {
                "method": calibration.method,
                "slopes": list(calibration.slopes),
                "intercepts": list(calibration.intercepts),
            },
            "calibration_refused": tuning.refused,
            "rejected_gain": None if tuning.rejected is None else tuning.rejected.to_dict(),
            "before": _recorded(tuning.before, tuning.F_before),
            "after": _recorded(tuning.after, tuning.F_after),
            "cross_fitted": {name: _finite(value) for name, value in fitted.metrics.items()},
            "gain": {name: gain.to_dict() for name, gain in fitted.gain.items()},
            "kinds_of_folds": list(fitted.kinds),
            "per_label": per_label,
        }


def tune(
    classifier: Classifier,
    data: str | os.PathLike[str] | None,
    root: str | os.PathLike[str] | None,
    *,
    objective: str,
    calibrate: str | None,
    min_support: int,
    progress: Progress,
    **scoring: Any,
) -> TuningResult:
    """Choose thresholds as ``Classifier.tune`` says."""
    model, aim = classifier.checkpoint, Objective.parse(objective)
    if calibrate is not None and calibrate not in METHODS:
        raise SettingError("calibrate", calibrate, " or ".join(METHODS))
    if not isinstance(min_support, Integral) or isinstance(min_support, bool) or not 1 <= min_support <= _MOST_SUPPORT:
        raise SettingError("min_support", min_support, f"a whole number from 1 to {_MOST_SUPPORT}")
    if classifier.single_label:
        files = RunFiles(model.prefix)
        raise MxmlError(
            f"{files.symbol}: is a network of single labels, which has no thresholds: the label with the highest score "
            "is taken"
        )
    plain = copy.copy(classifier)
    plain.calibration = None
    scored = plain.score_list(data, root, progress=progress, **scoring)
    try:
        tuning = tune_thresholds(
            scored.logits,
            scored.labels,
            _plain_thresholds(classifier),
            aim,
            calibrate=calibrate,
            min_support=int(min_support),
            progress=progress,
        )
    except MxmlError as error:
        raise MxmlError(f"{scored.path}: {error}") from error
    trained_on = was_trained_on(model.sidecar, scored.path, scored.images)
    if trained_on:
        progress.note(
            f"{scored.path}: is the list that the network was trained on, where its scores are better than on other "
            "images; thresholds from it may be far off, so give a list of other images as `data`"
        )
    return TuningResult(model, classifier.label_names, tuning, scored, int(min_support), trained_on)


def own_tuning(model: Checkpoint, single_label: bool) -> tuple[TuningRecord | None, tuple[str, ...]]:
    """Return the tuning of a checkpoint's epoch, if there is one, and a note where its tuning is of another."""
    sidecar = model.sidecar
    if sidecar is None or sidecar.tuning is None or single_label:
        return None, ()
    found = sidecar.tuning_of(model.epoch)
    if found is not None:
        return found, ()
    tuned = sidecar.tuning.epoch
    of_what = f"epoch {tuned}" if tuned != model.epoch else "other parameters of that epoch"
    return None, (
        f"{RunFiles(model.prefix).sidecar}: its thresholds were tuned for {of_what}, so epoch {model.epoch} is used "
        "without them; mxml tune chooses others",
    )


def _plain_thresholds(classifier: Classifier) -> np.ndarray:
    sidecar = classifier.checkpoint.sidecar
    return classifier.thresholds if sidecar is None else np.array(sidecar.thresholds, dtype=np.float64)


def _recorded(metrics: Metrics, F: float) -> dict[str, float | None]:
    return {"F": F, **{name: _finite(getattr(metrics, name)) for name in _RECORDED}}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
