"""Which settings belong to a method or a schedule: others are refused, or said to be without effect."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mxml.data.record_list import is_record_file
from mxml.errors import SettingError
from mxml.progress import Progress
from mxml.training.config import TrainConfig, train_settings
from mxml.training.recipe import with_recipe
from mxml.training.settings.images import AUGMENT_SETTINGS

_SEEN_BY_FEATURES = ("image_shape", "fit", "preset", "seed")
# What the recipe decides to go with an optimizer.
_OF_OPTIMIZER = ("lr", "head_lr_mult", "warmup_epochs", "mom", "wd")
FINE_TUNING = (
    "num_epoch",
    "optimizer",
    *_OF_OPTIMIZER,
    "lr_schedule",
    "lr_steps",
    "lr_factor",
    "lr_decay",
    "clip_gradient",
    "freeze",
    "ema",
    "patience",
    "dtype",
    *(name for name in AUGMENT_SETTINGS if name not in _SEEN_BY_FEATURES),
)
"""The settings that a run of method features has no use for until it goes on as lp-ft."""

_OF_HEAD = ("feature_layers", "feature_poolings", "feature_copies")
_OF_SCHEDULE = {"lr_steps": "step", "lr_factor": "step", "lr_decay": "inverse"}


def check_used(asked: TrainConfig, method: str, progress: Progress) -> None:
    """Raise SettingError for a setting that ``asked`` has and its run would do without; note what waits for later.

    ``method`` is that of the run. A setting counts where it is not at its default.
    """
    for name, schedule in _OF_SCHEDULE.items():
        if _is_set(asked, name) and asked.lr_schedule != schedule:
            wanted = f"left out, or given with `lr_schedule` {schedule}: it is {asked.lr_schedule}"
            raise SettingError(name, getattr(asked, name), wanted)
    for name in _OF_HEAD:
        if _is_set(asked, name) and method == "finetune":
            wanted = "left out with `method` finetune, which fits no head to features"
            raise SettingError(name, getattr(asked, name), wanted)
    waiting = fine_tuning_set(asked)
    if method == "features" and waiting:
        progress.note(
            f"`method` features fits only a head: {_named(waiting)} no effect until the run goes on as lp-ft, with "
            "`resume` and `method` lp-ft"
        )
    for subset in ("train", "val"):
        path, root = getattr(asked, f"data_{subset}"), f"image_{subset}"
        if path is not None and is_record_file(path) and _is_set(asked, root):
            progress.note(f"`{root}` has no effect: {path} holds its images")


def note_folds(asked: TrainConfig, progress: Progress) -> None:
    """Say which settings have no effect on a cross-validation of heads."""
    unused = fine_tuning_set(asked)
    if unused:
        progress.note(f"`folds` fits only heads: {_named(unused)} no effect")


def fine_tuning_set(asked: TrainConfig) -> list[str]:
    """Return the settings of fine-tuning that are not at their defaults."""
    return [name for name in FINE_TUNING if _is_set(asked, name)]


def going_on(saved: TrainConfig, given: Mapping[str, Any]) -> TrainConfig:
    """Return the settings with which a resume goes on from a run of method features, ``saved``; others as they are.

    As lp-ft it fine-tunes with what is ``given``: no step was taken yet. Where that is another optimizer, what the
    recipe decides to go with it is decided again. Raises SettingError for such settings without a step to take.
    """
    if saved.method != "features":
        return saved
    changes = {name: train_settings()[name].checked(given[name]) for name in FINE_TUNING if name in given}
    changes = {name: value for name, value in changes.items() if value != getattr(saved, name)}
    if given.get("method") != "lp-ft":
        for name, value in changes.items():
            wanted = "given with `method` lp-ft, as which the run can go on: features fits only a head"
            raise SettingError(name, value, wanted)
        return saved
    if "optimizer" in changes:
        changes = {**{name: given.get(name) for name in _OF_OPTIMIZER}, **changes}
    config = dataclasses.replace(saved, **{**changes, "method": "lp-ft"})
    return with_recipe(config)


def _is_set(config: TrainConfig, name: str) -> bool:
    return getattr(config, name) != train_settings()[name].default


def _named(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]])) + (" has" if len(names) == 1 else " have")
