"""What must not have changed for a run to be resumed exactly, and what the user is told of the rest."""

from __future__ import annotations

import dataclasses
import platform
import shlex
from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np

from mxml import __version__
from mxml.errors import CheckpointError, MxmlError, SettingError, as_text
from mxml.model import checkpoint
from mxml.model.graph import Graph
from mxml.model.image_sums import has_images_of_run
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Sidecar, UsedList
from mxml.model.trusted_paths import lies_inside, require_trusted, require_trusted_root
from mxml.progress import Progress
from mxml.runtime.amx import uses_amx
from mxml.runtime.imports import load_mxnet
from mxml.runtime.threads import threads
from mxml.text import can_be_path
from mxml.training import changed_images, divergence, method_settings, source_lists
from mxml.training.config import SmallerThanBefore, TrainConfig, resumed, train_settings
from mxml.training.launching import environment
from mxml.training.run_data import TrainData

mx = load_mxnet()


def versions() -> dict[str, str]:
    """Return what computes this run, as its sidecar remembers it."""
    return {
        "mxml": __version__,
        "mxnet": mx.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "threads": str(threads()[0]),
        "AMX": "used" if uses_amx() else "not used",
        "workers": str(environment.place().count),
    }


def resumed_config(prefix: str, sidecar: Sidecar, given: Mapping[str, Any], progress: Progress) -> TrainConfig:
    """Return the settings of the run at the prefix with what ``given`` may change.

    Raises MxmlError that names a setting which may not, and TrainingError for a run that diverged.
    """
    files = RunFiles(prefix)
    try:
        saved = TrainConfig.from_dict(sidecar.config, files.folder)
    except MxmlError as error:
        raise CheckpointError(f"{files.sidecar}: {error}") from error
    given = source_lists.named_by_source(saved, given)
    config = method_settings.going_on(saved, given, lambda: Graph.of(checkpoint.load_symbol(prefix, sidecar)))
    try:
        config = resumed(dataclasses.replace(config, prefix=prefix), given)
    except SmallerThanBefore as error:
        raise MxmlError(f"{error.given}: the run at {prefix} {_how_far(saved, sidecar)}") from None
    _check_method(saved, config)
    config = _trusted(config, sidecar, given, progress)
    if divergence.has_ended(sidecar):
        raise divergence.still_ended(config, sidecar)
    now = {**versions(), "device": config.device}
    for name, before in {"workers": "1", **sidecar.versions, "device": saved.device}.items():
        if name in ("mxnet", "threads", "AMX", "device", "workers") and before != now[name]:
            of_batch = name == "workers" and config.method == "finetune"
            more = ", and by what BatchNorm sees of a batch" if of_batch else ""
            progress.note(
                f"the run began with {name} {before} and continues with {name} {now[name]}: its parameters will differ "
                f"by rounding{more}"
            )
    return config


def _how_far(saved: TrainConfig, sidecar: Sidecar) -> str:
    """Return how far a run is, and which last epochs it can be given."""
    last = saved.num_epoch
    done = sidecar.epochs[-1].epoch if sidecar.epochs else saved.epoch
    if done >= last:
        return f"has finished epoch {done}, its last; leave it out, or give {last + 1} or more to train on"
    reached = f"finished epoch {done}" if sidecar.epochs else "finished no epoch yet"
    return f"has {reached} and ends with epoch {last}, or a later one; leave it out, or give {last} or more"


def _check_method(saved: TrainConfig, config: TrainConfig) -> None:
    """Raise SettingError unless the run goes on with its method: a head that is fitted may be fine-tuned from."""
    if config.method != saved.method and (saved.method, config.method) != ("features", "lp-ft"):
        raise SettingError("method", config.method, f"{saved.method}, as the run began; only features goes on as lp-ft")


def to_be_named(
    config: TrainConfig, sidecar: Sidecar, has_images: Callable[[str, UsedList], bool], named: Container[str] = ()
) -> dict[str, str]:
    """Return the settings whose paths a resume does not take from the sidecar, each with the reason.

    A person has to name them, those in ``named`` apart: see ``trusted_paths``. ``has_images`` says of the list that is
    called ``train`` or ``val`` whether its images, outside of the run's folder, are those of the run.
    """
    folder, reasons = RunFiles(config.prefix).folder, {}
    for name, what in (("train", "the run's training list"), ("val", "the run's validation list")):
        path, root = getattr(config, f"data_{name}"), getattr(config, f"image_{name}")
        used = sidecar.data.get(name)
        try:
            require_trusted(path, what, folder, used.sha256 if used else None)
        except CheckpointError as error:
            reasons[f"data_{name}"] = str(error)
        root_name = "data_root" if root is not None and root == config.data_root else f"image_{name}"
        try:
            if root is not None and root_name not in named and f"image_{name}" not in named:
                require_trusted_root(root, path, what, folder)
        except CheckpointError as error:
            is_known = used is not None and can_be_path(root) and f"data_{name}" not in reasons
            if used is None or not is_known or not has_images(name, dataclasses.replace(used, path=path, root=root)):
                reasons[root_name] = f"{error}, and cannot be seen to be those that the run read"
    if config.tensorboard is not None and not lies_inside(config.tensorboard, folder):
        reasons["tensorboard"] = f"{config.tensorboard}: the run's TensorBoard folder lies outside of the run's folder"
    if config.allow_absolute:
        reasons["allow_absolute"] = "the run let its lists name images by absolute paths or outside of their root"
    return {name: reason for name, reason in reasons.items() if name not in named}


def settings_to_name(prefix: str) -> dict[str, Any]:
    """Return the settings that a person has to give to resume the run at ``prefix``, with the run's values.

    Images are taken for those of the run where it has recorded by what they are known.
    """
    sidecar = checkpoint.read_sidecar(prefix)
    if sidecar is None:
        return {}
    config = TrainConfig.from_dict(sidecar.config, RunFiles(prefix).folder)
    return {name: getattr(config, name) for name in to_be_named(config, sidecar, _are_recorded)}


def _are_recorded(name: str, used: UsedList) -> bool:
    return (used.images_sha256 if name == "val" else used.image_sums) is not None


def _trusted(config: TrainConfig, sidecar: Sidecar, given: Mapping[str, Any], progress: Progress) -> TrainConfig:
    """Return the settings once every path in them that the sidecar alone names may be opened."""

    def are_of_run(name: str, used: UsedList) -> bool:
        return has_images_of_run(used, progress) if name == "val" else changed_images.are_of_run(used, progress)

    reasons = to_be_named(config, sidecar, are_of_run, given)
    if reasons.pop("allow_absolute", None):
        progress.note(
            "the run let its lists name images anywhere; that holds for this resume only if you set `allow_absolute`"
        )
        config = dataclasses.replace(config, allow_absolute=False)
    if reasons:
        values = {**given, **{name: getattr(config, name) for name in reasons}}
        raise CheckpointError(
            f"{'; '.join(reasons.values())}. A checkpoint may come from anyone, so only what you name is used: "
            f"{_to_type(config.prefix, values)}"
        )
    return config


def _to_type(prefix: str, given: Mapping[str, Any]) -> str:
    """Return the command that resumes the run at a prefix with these settings, its options as settings."""
    words = ["mxml train `prefix`", shlex.quote(prefix), "`resume`"]
    for name, value in given.items():
        known = train_settings()[name]
        if known.kind is bool:
            words += [f"`{name}`"] if value else []
        elif name != "prefix" and value is not None:
            values = value if known.several and known.kind is str else (value,)
            words += [f"`{name}` {shlex.quote(as_text(part))}" for part in values]
    return " ".join(words)


def check_same_data(sidecar: Sidecar, data: TrainData, prefix: str) -> None:
    """Raise CheckpointError where the lists or the label names are not those that the run began with."""
    for name, source in data.sources.items():
        before = sidecar.data.get(name)
        if before is not None and before.sha256 != source.sha256:
            raise CheckpointError(
                f"{source.path}: has changed since the run at {prefix} began, so it cannot be resumed exactly; "
                "start a new run from its last epoch with `model`"
            )
    if sidecar.label_names != data.label_names:
        raise CheckpointError(f"{RunFiles(prefix).sidecar}: its label names are not those of the lists")
