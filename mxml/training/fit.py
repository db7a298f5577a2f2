"""Fine-tuning as one call: a new run, or one that continues where it stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mxml import __version__
from mxml.errors import Interrupted, ListError, SettingError
from mxml.model.run_files import RunFiles
from mxml.progress import ConsoleProgress, NotesOnly, Progress
from mxml.training.config import MissingSettings, TrainConfig, train_settings
from mxml.training.kv_store import with_kv_store
from mxml.training.launching import environment
from mxml.training.prefix_lock import locked
from mxml.training.signals import StoppableProgress, StopRequest

if TYPE_CHECKING:
    from mxml.model.sidecar import Sidecar, UsedList
    from mxml.runtime.types import Context
    from mxml.training.report import Callback
    from mxml.training.run import TrainResult
    from mxml.training.run_data import TrainData
    from mxml.training.starting_point import StartingPoint
    from mxml.training.workers import Workers


def fit(
    config: TrainConfig,
    progress: Progress | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
    force: bool = False,
    stop: StopRequest | None = None,
) -> TrainResult:
    """Fine-tune as ``config`` says and leave a run's files under its prefix.

    Parameters
    ----------
    config : TrainConfig
        What to train on what, and how.
    progress : Progress, optional
        Receives the progress. By default stderr shows it, and ``train.log`` beside the run's files keeps it;
        ``mxml.progress.SILENT`` shows nothing.
    callbacks : sequence of callable
        Each is called with the metrics of every epoch, once it is saved: a row of the history by column.
        Of several workers only the first one calls them.
    resume : bool
        Continue exactly where the run at the prefix stopped; start a new run if there is none. A setting that
        differs from the run's own, and changes what is computed, is refused.
    force : bool
        Replace the run that is at the prefix.
    stop : StopRequest, optional
        When it has noted a signal, the current step ends and the run is saved. By default Ctrl-C and SIGTERM are
        noted so, if the call is made in the main thread.

    Returns
    -------
    TrainResult
        Where the files are, which epoch is best, and its metrics.

    Raises
    ------
    MxmlError
        Lists or a model that are wrong or do not fit, a foreign or damaged checkpoint, a disk that is full, a loss
        that is not finite, another run that is at work on the prefix.
    Interrupted
        A signal came, and the run has been saved.
    """
    if resume and force:
        raise SettingError("force", True, "left out with `resume`, which continues the run")
    check_one_source(config)
    environment.serve_if_asked()
    config = with_kv_store(config, config.given())
    with _shown(progress, config.prefix) as told:
        told.note(f"training {config.prefix} with mxml {__version__}")
        with _noting_signals(stop) as noted, _held(config.prefix, told):
            return _fit_together(config, config.given(), told, callbacks, resume, force, noted)


def resume(
    prefix: str | os.PathLike[str],
    changes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    stop: StopRequest | None = None,
) -> TrainResult:
    """Continue exactly where the run at ``prefix`` stopped, with its own settings.

    Parameters
    ----------
    prefix : str or path
        Where the run's files are.
    changes : mapping, optional
        Settings by name. ``num_epoch`` may be raised; paths, device, threads and cache may differ. A run of ``method``
        features goes on as lp-ft with any settings of fine-tuning. Where no run is at the prefix, one begins, and
        ``changes`` has to hold all settings without a default.
    progress, callbacks, stop
        As for ``fit``.

    Returns
    -------
    TrainResult
        As for ``fit``.

    Raises
    ------
    MxmlError
        As for ``fit``; also for a setting that differs from the run's own and changes what is computed.
    """
    prefix = os.fspath(prefix)
    given = {**(changes or {}), "prefix": prefix}
    unknown = sorted(set(given) - set(train_settings()))
    if unknown:
        raise SettingError(unknown[0], given[unknown[0]], "left out: there is no such setting")
    if not os.path.exists(RunFiles(prefix).sidecar):
        try:
            config = TrainConfig.of(given)
        except MissingSettings as error:
            raise MissingSettings(error.names, f"; there is no run at {prefix} to resume") from error
        return fit(config, progress, callbacks=callbacks, resume=True, stop=stop)
    environment.serve_if_asked()
    with _shown(progress, prefix) as told:
        told.note(f"resuming {prefix} with mxml {__version__}")
        with _noting_signals(stop) as noted, _held(prefix, told):
            return _fit_together(None, given, told, callbacks, True, False, noted)


def check_one_source(config: TrainConfig) -> None:
    """Raise SettingError for settings that say in two ways what to train on."""
    if not config.data:
        if config.data_root is not None:
            raise SettingError("data_root", config.data_root, "left out without `data`, whose image folder it is")
        return
    for name in ("data_train", "data_val", "image_train", "image_val"):
        value = getattr(config, name)
        if value is not None:
            wanted = "left out with `data`, of which the lists are made; `data_root` is its image folder"
            raise SettingError(name, value, wanted)


def _shown(progress: Progress | None, prefix: str) -> contextlib.AbstractContextManager[Progress]:
    if progress is not None:
        return contextlib.nullcontext(progress)
    return ConsoleProgress(RunFiles(prefix).log if environment.place().is_first else None)


def _held(prefix: str, progress: Progress) -> contextlib.AbstractContextManager[None]:
    # The other workers write nothing.
    return locked(prefix, progress) if environment.place().is_first else contextlib.nullcontext()


def _noting_signals(stop: StopRequest | None) -> contextlib.AbstractContextManager[StopRequest | None]:
    # Python lets the main thread alone handle signals.
    if stop is None and threading.current_thread() is threading.main_thread():
        return StopRequest()
    return contextlib.nullcontext(stop)


def _fit_together(
    config: TrainConfig | None,
    given: Mapping[str, Any],
    progress: Progress,
    callbacks: Sequence[Callback],
    resume: bool,
    force: bool,
    stop: StopRequest | None,
) -> TrainResult:
    # Whoever waits for MXNet to load has read the first line by now.
    from mxml.training import waiting_lists
    from mxml.training.workers import connected

    with connected() as workers:
        if workers.is_first:
            waiting_lists.settle(given["prefix"])
        # Before that is done, nobody reads a list there.
        workers.barrier()
        try:
            return _fit(config, given, progress, callbacks, resume, force, stop, workers)
        except ListError:
            # It may name lines of lists that wait: these stay until the next start, to be looked at.
            raise
        except BaseException:
            if workers.is_first:
                waiting_lists.discard(given["prefix"])
            raise


def _fit(
    config: TrainConfig | None,
    given: Mapping[str, Any],
    progress: Progress,
    callbacks: Sequence[Callback],
    resume: bool,
    force: bool,
    stop: StopRequest | None,
    workers: Workers,
) -> TrainResult:
    from mxml.model import checkpoint
    from mxml.model.graph import Graph
    from mxml.runtime.devices import default_device, parse_devices
    from mxml.runtime.dtypes import note_slowness
    from mxml.runtime.mxnet_errors import memory_checked
    from mxml.training import chosen_loss, resuming, source_lists, starting_point
    from mxml.training.list_overlap import note_overlap
    from mxml.training.method_settings import check_used
    from mxml.training.prefix import check_room
    from mxml.training.recipe import with_rate, with_recipe
    from mxml.training.run import Run
    from mxml.training.run_data import open_data
    from mxml.training.waiting_lists import NamedInPlace
    from mxml.training.workers import require_same_run

    prefix = given["prefix"]
    found = checkpoint.read_sidecar(prefix) if resume else None
    preparing = _stoppable(progress, stop, found is not None)
    if found is not None:
        config = resuming.resumed_config(prefix, found, given, progress)
    else:
        asked = config or TrainConfig.of(given)
        config = with_recipe(dataclasses.replace(asked, device=asked.device or default_device()))
        check_used(asked, config.method or "", progress)
        check_room(config, progress, force=force, resume=resume)
        if config.model is not None:
            checkpoint.find_epoch(config.model, config.epoch)
        config = _with_lists(config, preparing, force, workers)
    config = with_kv_store(config, given)
    devices = parse_devices(config.device or "cpu")
    note_slowness(config.dtype, devices, progress)
    if config.batch_size < len(devices) * workers.count:
        raise SettingError("batch_size", config.batch_size, "at least one image for each device")
    # A resumed run has its label names in the sidecar: the file that they came from may be anywhere.
    known = found.label_names if found is not None and config.labels is not None and "labels" not in given else None
    # Several workers read the lists each for itself, and would not stop together; the first one shows how far it is.
    reading = preparing if workers.count == 1 else progress if workers.is_first else NotesOnly(progress)
    told = NamedInPlace(reading, prefix)
    data = open_data(config, told, known)
    config, data = source_lists.in_place(config, data)
    lists = config.lists
    _by_first(workers, lambda: note_overlap(lists, data, preparing))
    with memory_checked(config.batch_size):
        if found is not None:
            resuming.check_same_data(found, data, prefix)
            chosen_loss.require_same_weights(config, given, data.train.labels)
            config = chosen_loss.with_weights(config, data.train.labels, progress)
            sidecar, pretrained = dataclasses.replace(found, config=config.to_dict(), data=data.sources), None
        else:
            config = chosen_loss.with_weights(config, data.train.labels, progress)
            pretrained = starting_point.of_new_run(config, len(data.label_names))
            config = with_rate(config, Graph.of(pretrained.symbol))
            config = _with_preset(config, pretrained, data, devices, preparing, workers)
            sidecar = _new_sidecar(config, data)
        sidecar = dataclasses.replace(sidecar, data=_with_sums_of_images(prefix, found, data, preparing, workers))
        require_same_run(workers, sidecar)
        return Run(config, devices, data, sidecar, pretrained, progress, callbacks, stop, workers).go()


def _stoppable(progress: Progress, stop: StopRequest | None, is_resumed: bool) -> Progress:
    """Return a progress with which a signal ends what a run needs before it begins: there is nothing to save yet."""
    if is_resumed:
        return StoppableProgress(progress, stop, "stopped by {} before the run went on; continue with `resume`", True)
    message = "stopped by {} before the run began; to go on, start it again as before"
    return StoppableProgress(progress, stop, message, False)


def _with_lists(config: TrainConfig, progress: Progress, force: bool, workers: Workers) -> TrainConfig:
    """Return the settings with the lists of ``data``, which the first worker makes."""
    from mxml.training import source_lists

    if not config.data:
        return config
    # Until all have looked at what is at the prefix, nothing changes there.
    workers.barrier()
    names = ("data_root", "data_train", "data_val", "image_train", "image_val")
    return _changed_by_first(config, workers, names, lambda: source_lists.with_lists(config, progress, force=force))


def _with_preset(
    config: TrainConfig,
    pretrained: StartingPoint,
    data: TrainData,
    devices: Sequence[Context],
    progress: Progress,
    workers: Workers,
) -> TrainConfig:
    """Return the settings with a preset, which the first worker guesses where none is given."""
    from mxml.training.features.cache import FeatureCache
    from mxml.training.features.preset_guess import with_preset

    def guessed() -> TrainConfig:
        with FeatureCache(RunFiles(config.prefix).features, progress) as cache:
            return with_preset(config, pretrained, data.train, devices, cache, progress)

    return _changed_by_first(config, workers, ("preset", "mean", "std", "channels"), guessed)


def _with_sums_of_images(
    prefix: str, found: Sidecar | None, data: TrainData, progress: Progress, workers: Workers
) -> Mapping[str, UsedList]:
    """Return the lists of a run with the sums of their images, which the first worker reads."""
    from mxml.training.run_data import sums_to_record

    sums = _by_first(workers, lambda: sums_to_record(data, prefix, found, progress))
    return {name: dataclasses.replace(used, **sums[name]) for name, used in data.sources.items()}


def _changed_by_first(
    config: TrainConfig, workers: Workers, names: Sequence[str], change: Callable[[], TrainConfig]
) -> TrainConfig:
    """Return the settings with those of ``names`` as the first worker's ``change`` has them."""

    def changed() -> dict[str, Any]:
        settings = change()
        return {name: getattr(settings, name) for name in names}

    values: dict[str, Any] = _by_first(workers, changed)
    # JSON has no tuples.
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return dataclasses.replace(config, **values)


def _by_first(workers: Workers, work: Callable[[], Any]) -> Any:
    """Return what ``work`` does in the first worker, which JSON can hold.

    Where a signal ends that, it ends all workers: they wait for the first one, and would do so for ever.
    """
    done: Any = None
    stopped: tuple[str, int, bool] | None = None
    if workers.is_first:
        try:
            done = work()
        except Interrupted as error:
            stopped = str(error), error.signal_number, error.can_resume
    done, stopped = workers.of_first([done, stopped])
    if stopped:
        raise Interrupted(*stopped)
    return done


def _new_sidecar(config: TrainConfig, data: TrainData) -> Sidecar:
    from mxml.inference.thresholds import DEFAULT_THRESHOLD
    from mxml.model.sidecar import Sidecar
    from mxml.training.resuming import versions
    from mxml.training.run_data import preprocess_of

    return Sidecar(
        label_names=data.label_names,
        preprocess=preprocess_of(config),
        thresholds=(DEFAULT_THRESHOLD,) * len(data.label_names),
        config=config.to_dict(),
        versions=versions(),
        data=data.sources,
        best_by=config.best_by,
    )
