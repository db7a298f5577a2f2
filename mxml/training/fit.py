"""Fine-tuning as one call: a new run, or one that continues where it stopped."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mxml import __version__
from mxml.errors import SettingError
from mxml.model.prefix_lock import locked
from mxml.model.run_files import RunFiles
from mxml.progress import ConsoleProgress, Progress
from mxml.training import waiting_lists
from mxml.training.config import MissingSettings, TrainConfig, train_settings
from mxml.training.kv_store import with_kv_store
from mxml.training.launching import environment
from mxml.training.settings.data import check_one_source
from mxml.training.signals import StopRequest

if TYPE_CHECKING:
    from mxml.training.report import Callback
    from mxml.training.result import TrainResult


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
    OutOfTime
        The time limit ended the run before its first epoch; what it did is kept, and ``resume`` goes on with it.
    Interrupted
        A signal came, and the run has been saved.
    """
    if resume and force:
        raise SettingError("force", True, "left out with `resume`, which continues the run")
    check_one_source(config)
    environment.serve_if_asked()
    config = with_kv_store(config, config.given())
    return _run(config, config.given(), progress, callbacks, resume, force, stop)


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
    return _run(None, given, progress, callbacks, True, False, stop)


def _run(
    config: TrainConfig | None,
    given: Mapping[str, Any],
    progress: Progress | None,
    callbacks: Sequence[Callback],
    resume: bool,
    force: bool,
    stop: StopRequest | None,
) -> TrainResult:
    """Run what ``config`` says, or the run at the prefix without one; ``given`` are the settings that a person gave."""
    prefix = given["prefix"]
    with _shown(progress, prefix) as told:
        told.note(f"{'resuming' if config is None else 'training'} {prefix} with mxml {__version__}")
        with _noting_signals(stop) as noted, _held(prefix, told):
            # Whoever waits for MXNet to load has read the first line by now.
            from mxml.runtime.mxnet_errors import memory_checked
            from mxml.training.run_setup import set_up
            from mxml.training.workers import connected

            with connected() as workers, _settled(prefix):
                # Before that is done, nobody reads a list there.
                workers.barrier()
                run = set_up(config, given, told, callbacks, resume, force, noted, workers)
                with memory_checked(run.config.batch_size):
                    return run.go()


def _shown(progress: Progress | None, prefix: str) -> contextlib.AbstractContextManager[Progress]:
    if progress is not None:
        return contextlib.nullcontext(progress)
    return ConsoleProgress(RunFiles(prefix).log if environment.place().is_first else None)


def _held(prefix: str, progress: Progress) -> contextlib.AbstractContextManager[None]:
    # The other workers write nothing.
    return locked(prefix, progress) if environment.place().is_first else contextlib.nullcontext()


def _settled(prefix: str) -> contextlib.AbstractContextManager[None]:
    return waiting_lists.settled(prefix) if environment.place().is_first else contextlib.nullcontext()


def _noting_signals(stop: StopRequest | None) -> contextlib.AbstractContextManager[StopRequest | None]:
    # Python lets the main thread alone handle signals.
    if stop is None and threading.current_thread() is threading.main_thread():
        return StopRequest()
    return contextlib.nullcontext(stop)
