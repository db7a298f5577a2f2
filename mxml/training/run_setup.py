"""What a run needs before it begins: its settings, its data, a network to begin at, and its sidecar."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mxml.errors import SettingError
from mxml.evaluation.thresholds import DEFAULT_THRESHOLD
from mxml.inference.feature_cache import FeatureCache
from mxml.model import checkpoint
from mxml.model.graph import Graph
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Sidecar, UsedList
from mxml.progress import NotesOnly, Progress
from mxml.runtime.devices import default_device, parse_devices
from mxml.runtime.dtypes import note_slowness
from mxml.runtime.mxnet_errors import memory_checked
from mxml.runtime.types import Context
from mxml.training import chosen_loss, resuming, source_lists, starting_point
from mxml.training.config import TrainConfig
from mxml.training.constant_labels import note_constant_labels
from mxml.training.features.preset_guess import with_preset
from mxml.training.kv_store import with_kv_store
from mxml.training.list_overlap import note_overlap
from mxml.training.method_settings import check_used
from mxml.training.prefix import check_room
from mxml.training.recipe import with_rate, with_recipe
from mxml.training.report import Callback
from mxml.training.run import Run
from mxml.training.run_data import TrainData, open_data, preprocess_of, sums_to_record
from mxml.training.shared_run import require_same_run
from mxml.training.signals import StoppableProgress, StopRequest
from mxml.training.starting_point import StartingPoint
from mxml.training.tensorboard import require_events
from mxml.training.workers import Workers


def set_up(
    config: TrainConfig | None,
    given: Mapping[str, Any],
    progress: Progress,
    callbacks: Sequence[Callback],
    resume: bool,
    force: bool,
    stop: StopRequest | None,
    workers: Workers,
) -> Run:
    """Return a run that is ready to go: a new one of ``config``, or with ``resume`` the one that is at the prefix.

    ``given`` are the settings that a person gave. What was at the prefix is still there when this returns.
    """
    prefix = given["prefix"]
    found = checkpoint.read_sidecar(prefix) if resume else None
    stoppable = _stoppable(progress, stop, found is not None)
    if found is None:
        config = _new_settings(config or TrainConfig.of(given), progress, resume=resume, force=force)
        _require_events(config, workers)
        config = _with_lists(config, stoppable, force, workers)
        lists = source_lists.files_of_lists(config, force=force)
    else:
        config = resuming.resumed_config(prefix, found, given, progress)
        _require_events(config, workers)
        lists = config.lists
    config = with_kv_store(config, given)
    devices = _devices(config, progress, workers)
    # Several workers read the lists each for itself, and would not stop together; the first one shows how far it is.
    reading = stoppable if workers.count == 1 else progress if workers.is_first else NotesOnly(progress)
    data = open_data(config, reading, _known_names(found, config, given), lists)
    paths = config.lists
    workers.by_first(lambda: note_overlap(paths, data, stoppable))
    if not config.data and workers.is_first:
        # Of lists that were made here it has been said.
        note_constant_labels(paths, data, stoppable)
    with memory_checked(config.batch_size):
        if found is not None:
            resuming.check_same_data(found, data, prefix)
            chosen_loss.require_same_weights(config, given, data.train.labels)
        config = chosen_loss.with_weights(config, data.train.labels, progress)
        if found is not None:
            pretrained = None
            sidecar = dataclasses.replace(found, config=config.to_dict(), data=data.sources)
        else:
            pretrained = starting_point.of_new_run(config, len(data.label_names))
            config = with_rate(config, Graph.of(pretrained.symbol))
            config = _with_preset(config, pretrained, data, devices, stoppable, workers)
            sidecar = _new_sidecar(config, data)
        sidecar = dataclasses.replace(sidecar, data=_with_sums_of_images(prefix, found, data, stoppable, workers))
    require_same_run(workers, sidecar)
    return Run(config, devices, data, sidecar, pretrained, progress, callbacks, stop, workers)


def _require_events(config: TrainConfig, workers: Workers) -> None:
    """Refuse a run whose events could not be written, before anything of it takes time."""
    if workers.is_first:
        require_events(config.tensorboard, config.prefix)


def _stoppable(progress: Progress, stop: StopRequest | None, is_resumed: bool) -> Progress:
    """Return a progress with which a signal ends what a run needs before it begins: there is nothing to save yet."""
    if is_resumed:
        return StoppableProgress(progress, stop, "stopped by {} before the run went on; continue with `resume`", True)
    message = "stopped by {} before the run began; to go on, start it again as before"
    return StoppableProgress(progress, stop, message, False)


def _new_settings(asked: TrainConfig, progress: Progress, *, resume: bool, force: bool) -> TrainConfig:
    """Return the settings of a new run with its device and recipe, once there is room for it and its model exists."""
    config = with_recipe(dataclasses.replace(asked, device=asked.device or default_device()))
    check_used(asked, config.method or "", progress)
    check_room(config, progress, force=force, resume=resume)
    if config.model is not None:
        checkpoint.find_epoch(config.model, config.epoch)
    return config


def _with_lists(config: TrainConfig, progress: Progress, force: bool, workers: Workers) -> TrainConfig:
    """Return the settings with the lists of ``data``, which the first worker makes."""
    if not config.data:
        return config
    # Until all have looked at what is at the prefix, nothing changes there.
    workers.barrier()
    names = ("data_root", "data_train", "data_val", "image_train", "image_val")
    return _changed_by_first(config, workers, names, lambda: source_lists.with_lists(config, progress, force=force))


def _devices(config: TrainConfig, progress: Progress, workers: Workers) -> list[Context]:
    """Return the devices of a run. Raises SettingError for a batch that they cannot share."""
    devices = parse_devices(config.device or "cpu")
    note_slowness(config.dtype, devices, progress)
    if config.batch_size < len(devices) * workers.count:
        raise SettingError("batch_size", config.batch_size, "at least one image for each device")
    return devices


def _known_names(found: Sidecar | None, config: TrainConfig, given: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the label names that a resumed run takes from its sidecar: the file they came from may be anywhere."""
    return found.label_names if found is not None and config.labels is not None and "labels" not in given else None


def _with_preset(
    config: TrainConfig,
    pretrained: StartingPoint,
    data: TrainData,
    devices: Sequence[Context],
    progress: Progress,
    workers: Workers,
) -> TrainConfig:
    """Return the settings with a preset, which the first worker guesses where none is given."""

    def guessed() -> TrainConfig:
        with FeatureCache(RunFiles(config.prefix).features, progress) as cache:
            return with_preset(config, pretrained, (data.train, data.val), devices, cache, progress)

    return _changed_by_first(config, workers, ("preset", "mean", "std", "channels"), guessed)


def _changed_by_first(
    config: TrainConfig, workers: Workers, names: Sequence[str], change: Callable[[], TrainConfig]
) -> TrainConfig:
    """Return the settings with those of ``names`` as the first worker's ``change`` has them."""

    def changed() -> dict[str, Any]:
        settings = change()
        return {name: getattr(settings, name) for name in names}

    values: dict[str, Any] = workers.by_first(changed)
    # JSON has no tuples.
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return dataclasses.replace(config, **values)


def _new_sidecar(config: TrainConfig, data: TrainData) -> Sidecar:
    return Sidecar(
        label_names=data.label_names,
        preprocess=preprocess_of(config),
        thresholds=(DEFAULT_THRESHOLD,) * len(data.label_names),
        config=config.to_dict(),
        versions=resuming.versions(),
        data=data.sources,
        best_by=config.best_by,
    )


def _with_sums_of_images(
    prefix: str, found: Sidecar | None, data: TrainData, progress: Progress, workers: Workers
) -> Mapping[str, UsedList]:
    """Return the lists of a run with the sums of their images, which the first worker reads."""
    sums = workers.by_first(lambda: sums_to_record(data, prefix, found, progress))
    return {name: dataclasses.replace(used, **sums[name]) for name, used in data.sources.items()}
