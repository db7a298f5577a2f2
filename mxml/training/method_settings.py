"""Which settings belong to a method or a schedule: others are refused, or said to be without effect."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mxml.data.record_list import is_record_file
from mxml.errors import SettingError
from mxml.model.graph import Graph
from mxml.progress import Progress
from mxml.training.config import TrainConfig, train_settings
from mxml.training.recipe import with_rate, with_recipe
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
    _check_schedule(asked)
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


def going_on(saved: TrainConfig, given: Mapping[str, Any], graph: Callable[[], Graph]) -> TrainConfig:
    """Return the settings with which a resume goes on from a run of method features, ``saved``; others as they are.

    As lp-ft it fine-tunes with what is ``given``: no step was taken yet. Where that is another optimizer or schedule,
    what belongs to the old one is decided again; what else the run was given stays. ``graph`` returns the run's
    network. Raises SettingError for such settings without a step to take, and for one of another schedule.
    """
    if saved.method != "features":
        return saved
    fixed = [name for name in FINE_TUNING if name in given and train_settings()[name].on_resume != "free"]
    changes = {name: train_settings()[name].checked(given[name]) for name in fixed}
    changes = {name: value for name, value in changes.items() if value != getattr(saved, name)}
    if given.get("method") != "lp-ft":
        for name, value in changes.items():
            wanted = "given with `method` lp-ft, as which the run can go on: features fits only a head"
            raise SettingError(name, value, wanted)
        return saved
    schedule = changes.get("lr_schedule", saved.lr_schedule)
    others = [name for name, its_schedule in _OF_SCHEDULE.items() if its_schedule != schedule]
    decided: dict[str, Any] = {name: train_settings()[name].default for name in others}
    if "optimizer" in changes:
        decided.update(dict.fromkeys(_decided_for(saved, changes["optimizer"], graph)))
    decided = {name: value for name, value in decided.items() if name not in given}
    config = dataclasses.replace(saved, **{**decided, **changes, "method": "lp-ft"})
    _check_schedule(config)
    return _complete(config, graph)


def _decided_for(saved: TrainConfig, optimizer: str, graph: Callable[[], Graph]) -> list[str]:
    """Return the settings that the recipe decided for the run's optimizer, and what ``optimizer`` has no use for."""
    undecided: dict[str, Any] = dict.fromkeys(_OF_OPTIMIZER)
    of_recipe = _complete(dataclasses.replace(saved, **undecided), graph)
    names = [name for name in _OF_OPTIMIZER if getattr(saved, name) == getattr(of_recipe, name)]
    takes_momentum = with_recipe(dataclasses.replace(saved, optimizer=optimizer, mom=None)).mom is not None
    return names if takes_momentum else [*names, "mom"]


def _complete(config: TrainConfig, graph: Callable[[], Graph]) -> TrainConfig:
    config = with_recipe(config)
    return config if config.lr is not None else with_rate(config, graph())


def _check_schedule(config: TrainConfig) -> None:
    """Raise SettingError for a setting of another schedule than the run's."""
    for name, schedule in _OF_SCHEDULE.items():
        if _is_set(config, name) and config.lr_schedule != schedule:
            wanted = f"left out, or given with `lr_schedule` {schedule}: it is {config.lr_schedule}"
            raise SettingError(name, getattr(config, name), wanted)


def _is_set(config: TrainConfig, name: str) -> bool:
    return getattr(config, name) != train_settings()[name].default


def _named(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]])) + (" has" if len(names) == 1 else " have")
