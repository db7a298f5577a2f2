"""The loss that a run's settings choose: what belongs to it, what was left out, and weights counted from the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mxml.errors import MxmlError, SettingError
from mxml.model.loss_settings import KINDS, LABEL_SMOOTHING, PUBLISHED
from mxml.progress import Progress
from mxml.training.setting import Check

if TYPE_CHECKING:
    import numpy as np

    from mxml.model.losses import Loss, Settings
    from mxml.training.config import TrainConfig

AUTO = "auto"
SMALLEST_AUTO, LARGEST_AUTO = 0.1, 10.0
"""Bounds of a counted weight: a label with a few images would otherwise outweigh all others."""

_OWNER = {name: loss for loss, kinds in KINDS.items() for name in kinds}


def as_in_files(name: str) -> Check:
    """Return a check for a loss's setting: it may be what a symbol file may hold."""
    kind = LABEL_SMOOTHING if name == "label_smoothing" else KINDS[_OWNER[name]][name]

    def check(value: Any) -> str:
        try:
            kind.parse(str(value))
        except ValueError as error:
            # Brackets are a file's, and Python's; on the command line there are none.
            return str(error).removesuffix(" in brackets")
        return ""

    return check


def completed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the own settings of the ``loss`` that were left out, with their published values.

    Raises SettingError for a setting of another loss, and with ``single_label``, which is a loss, for any.
    """
    loss = given["loss"]
    if given["single_label"]:
        for name in ("loss", "label_smoothing", *_OWNER):
            if given[name] is not None and (name, given[name]) != ("label_smoothing", 0):
                wanted = "left out with `single_label`, whose loss is the cross-entropy of the softmax"
                raise SettingError(name, given[name], wanted)
        return {}
    for name, owner in _OWNER.items():
        if given[name] is not None and owner != loss:
            raise SettingError(name, given[name], f"left out: it belongs to `loss` {owner}, and `loss` is {loss}")
    return {name: PUBLISHED[name] for name in KINDS[loss] if given[name] is None and name in PUBLISHED}


def loss_of(config: TrainConfig) -> tuple[Loss, Settings]:
    """Return the loss that ``config`` chooses, with its settings. ``pos_weight`` has to be numbers by now."""
    from mxml.model import losses

    if config.loss is None:
        return losses.SOFTMAX_CROSS_ENTROPY, {}
    values = {name: getattr(config, name) for name in KINDS[config.loss]}
    if config.label_smoothing:
        values["label_smoothing"] = config.label_smoothing
    return losses.of_name(config.loss), {name: value for name, value in values.items() if value is not None}


def other_than_validation(config: TrainConfig) -> str:
    """Return in a few words what training minimises where that is not validation's plain cross-entropy."""
    words = [
        "" if config.loss in (None, "bce") else str(config.loss),
        "weighted" if config.pos_weight else "",
        "smoothing" if config.label_smoothing else "",
        "mixing" if config.mixup or config.cutmix else "",
    ]
    return "" if config.method == "features" else ", ".join(filter(None, words))


def with_weights(config: TrainConfig, labels: np.ndarray, progress: Progress) -> TrainConfig:
    """Return ``config`` with numbers for a ``pos_weight`` of auto, counted from the labels (N, C) of the training list.

    Raises SettingError where there is not one number, and not one for each label.
    """
    if config.pos_weight is None:
        return config
    if config.pos_weight == AUTO:
        weights = counted_weights(labels)
        progress.note(
            f"weights of present labels: {min(weights):.3g} to {max(weights):.3g}, from absent per present ones"
        )
        return dataclasses.replace(config, pos_weight=weights)
    count, classes = len(config.pos_weight), labels.shape[1]
    if count not in (1, classes):
        raise SettingError("pos_weight", f"of {count:,} numbers", f"one number, or {classes:,}, one for each label")
    return config


def counted_weights(labels: np.ndarray) -> tuple[float, ...]:
    """Return the absent labels per present one of each class, unknown ones left out, held to the bounds above.

    The weight is the largest for a class without any present label, and 1 for one without any known label.
    """
    known = labels >= 0
    present = (labels * known).sum(axis=0, dtype="float64")
    absent = known.sum(axis=0) - present
    return tuple(_weight(float(yes), float(no)) for yes, no in zip(present, absent))


def _weight(present: float, absent: float) -> float:
    if not present:
        return LARGEST_AUTO if absent else 1.0
    return min(max(absent / present, SMALLEST_AUTO), LARGEST_AUTO)


def require_same_weights(config: TrainConfig, given: Mapping[str, Any], labels: np.ndarray) -> None:
    """Raise MxmlError where a resume was given ``pos_weight`` auto, and the run has other numbers than that."""
    if given.get("pos_weight") == AUTO and config.pos_weight != counted_weights(labels):
        raise MxmlError(
            f"`pos_weight` {AUTO}: the run to resume has other weights, and has to continue with them; leave it out, "
            "or start a new run under another `prefix`"
        )
