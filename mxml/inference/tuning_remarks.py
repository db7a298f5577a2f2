"""What a tuning has found, in sentences."""

from __future__ import annotations

from mxml.evaluation.bootstrap import Difference
from mxml.evaluation.candidates import COMMON, PER_LABEL, PLAIN, SHRUNK
from mxml.inference.tuning import TuningResult
from mxml.model.tuning_record import TuningRecord
from mxml.text import counted, shown_labels

_KINDS = {
    PLAIN: "The thresholds stay as they were: the higher F1 that the page of mxml evaluate shows at another threshold "
    "was chosen and judged on the same images, and does not last on others.",
    COMMON: "All labels have one threshold, which was better by cross-validation than one for each.",
    SHRUNK: "Each threshold lies between the label's own best one and the best for all labels, the nearer to its own "
    "the more images have it.",
    PER_LABEL: "Each label has its own best threshold.",
}
_SHOWN = 10


def remarks(result: TuningResult) -> tuple[str, ...]:
    """Return what a person should know of a tuning, a sentence or two each."""
    tuning = result.tuning
    found = []
    if tuning.refused:
        found.append(
            "The calibration was left out: on images that it was not fitted to, the cross-entropy would be no lower."
        )
    elif tuning.calibration is not None:
        slope = tuning.calibration.slopes[0]
        how = (
            f"by the temperature {1 / slope:.3g}" if tuning.calibration.method == "temperature" else "by Platt's method"
        )
        loss = tuning.cross_fitted.metrics["loss"]
        found.append(
            f"Logits are calibrated {how} before they become scores: the cross-entropy of a label falls from "
            f"{tuning.before.loss:.4f} to {loss:.4f} on images that it was not fitted to."
        )
    if tuning.rejected is not None:
        found.append(
            f"Tuned thresholds were no better on images that they were not chosen on: F {_signed(tuning.rejected)}."
        )
    found.append(_KINDS[tuning.kind])
    pooled = [name for name, alone in zip(result.label_names, tuning.pooled) if alone]
    if pooled and tuning.kind in (SHRUNK, PER_LABEL):
        with_few = counted(len(pooled), "label has", "labels have")
        found.append(
            f"{with_few} fewer than {result.min_support} known images with it, or without it (`min_support`), and the "
            f"best threshold for all labels: {shown_labels(pooled, _SHOWN)}."
        )
    if result.unreached:
        count = counted(len(result.unreached), "label does", "labels do")
        found.append(
            f"{count} not reach {tuning.objective} at any threshold: {shown_labels(result.unreached, _SHOWN)}."
        )
    if tuning.objective.is_target:
        found.append(_kept(result))
    elif tuning.kind != PLAIN:
        name, key = ("CF1", "CF1") if str(tuning.objective) == "f1" else (f"the mean {tuning.objective}", "F")
        gain = tuning.cross_fitted.gain[key]
        found.append(
            f"On images that nothing was chosen on, {name} changes by {_signed(gain)}: "
            + ("other images might show none of it." if gain.is_noise else "more than noise.")
        )
    return tuple(found)


def described(record: TuningRecord) -> str:
    """Return which tuning a record is, in a few words."""
    return (
        f"thresholds of epoch {record.epoch}, chosen for {record.objective} on {record.list_path} "
        f"({counted(record.images, 'image')}) by mxml {record.mxml}"
    )


def _kept(result: TuningResult) -> str:
    """Say how far a precision or recall that was asked for holds on other images."""
    objective = result.tuning.objective
    values = result.tuning.cross_fitted.per_label[objective.kind].tolist()
    # The labels that no image has hold nothing.
    below = [name for name, value in zip(result.label_names, values) if value < objective.value]
    defined = [value for value in values if value == value]
    mean = sum(defined) / len(defined)
    return (
        f"On images that nothing was chosen on, the mean {objective.kind} of a label is {mean:.4f}, and "
        f"{len(below):,} of {len(defined):,} labels are below {objective.value:g}"
        + (f": {shown_labels(below, _SHOWN)}." if below else ".")
    )


def _signed(gain: Difference) -> str:
    return f"{gain.value:+.4f} (95 % interval {gain.low:+.4f} to {gain.high:+.4f})"
