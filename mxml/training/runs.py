"""Runs side by side: found by prefix, folder or pattern, and described from their sidecars alone.

Nothing here loads MXNet, so that a hundred runs are compared in a moment. A sidecar may come from anyone, so that its
numbers and settings are shown only where they are of the expected type.
"""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mxml.errors import MxmlError
from mxml.model.prefix_lock import is_at_work
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import SURVIVED, Epoch, Sidecar, read_sidecar
from mxml.text import path_from
from mxml.training.config import train_settings
from mxml.training.settings.run import BEST_BY, LOWER_IS_BETTER

SORT_BY = (*BEST_BY, "seconds")
_ASCENDING = LOWER_IS_BETTER | {"seconds"}


@dataclass(frozen=True)
class RunSummary:
    """What a sidecar tells about a run.

    Attributes
    ----------
    prefix : str
        Where the run's files are.
    error : str
        Why the run cannot be described, in one line; then all that follows is empty.
    state : str
        ``finished``, ``running``, ``stopped`` or ``diverged``.
    epochs : int
        How many epochs the run has.
    all_epochs : int, optional
        How many it has once it is finished, unless its patience ends it before.
    best_epoch : int, optional
        The epoch with the best validation metric.
    metrics : mapping
        The validation metrics of that epoch, by name; None where one is undefined.
    seconds : float
        Time of the training steps of all epochs, without validation.
    rates : tuple of float
        The learning rates it was trained with, in their order: the one of its settings, and a lower one after it
        diverged.
    settings : mapping
        The run's settings by name, paths as seen from the working directory.
    lists : mapping
        The SHA-256 sums of the lists ``train`` and ``val``: metrics compare only where the latter is the same.
    """

    prefix: str
    error: str = ""
    state: str = ""
    epochs: int = 0
    all_epochs: int | None = None
    best_epoch: int | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    rates: tuple[float, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)


def find_runs(places: Sequence[str]) -> list[str]:
    """Return the prefixes of the runs at ``places``, each once and in their order.

    A place is a prefix, one of a run's files, a folder (its runs, without the folders below it) or a shell pattern. Of
    folders and patterns only what belongs to a run counts; a prefix is taken as it is.
    """
    found: dict[str, None] = {}
    for place in places:
        for prefix in _at(place):
            found.setdefault(os.path.normpath(prefix))
    return list(found)


def folders_with_runs(folder: str) -> dict[str, int]:
    """Return the folders in a folder that have runs, sorted, each with their number."""
    if not os.path.isdir(folder):
        return {}
    inner = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    runs = {os.path.normpath(path): len(_in_folder(path)) for path in inner if os.access(path, os.R_OK | os.X_OK)}
    return {path: count for path, count in runs.items() if count}


def _at(place: str) -> list[str]:
    if os.path.exists(RunFiles(place).sidecar):
        return [place]
    if os.path.isdir(place):
        return _in_folder(place)
    if os.path.exists(place):
        prefix = RunFiles.parse(place)[0].prefix
        # A folder has other files than a run's, which a shell puts in place of a * as well.
        return [prefix] if _is_run(prefix) else []
    matches = sorted(glob.glob(place, recursive=True)) if glob.has_magic(place) else []
    return [prefix for match in matches for prefix in _at(match)] if matches else [place]


def _in_folder(folder: str) -> list[str]:
    prefixes = sorted(os.path.join(folder, name) for name in RunFiles.prefixes_in(folder))
    return [prefix for prefix in prefixes if _is_run(prefix)]


def _is_run(prefix: str) -> bool:
    return os.path.exists(RunFiles(prefix).sidecar) and os.path.exists(RunFiles(prefix).symbol)


def read_run(prefix: str) -> RunSummary:
    """Describe the run at a prefix."""
    try:
        sidecar = read_sidecar(prefix)
    except MxmlError as error:
        return RunSummary(prefix, error=str(error))
    if sidecar is None:
        is_pattern = glob.has_magic(prefix)
        fault = f"{prefix}: no run of mxml matches" if is_pattern else f"{RunFiles(prefix).sidecar}: does not exist"
        return RunSummary(prefix, error=fault + ("" if is_pattern else "; there is no run of mxml"))
    best = next((entry for entry in sidecar.epochs if entry.epoch == sidecar.best_epoch), None)
    return RunSummary(
        prefix,
        state=_state(prefix, sidecar),
        epochs=len(sidecar.epochs),
        all_epochs=_all_epochs(sidecar.config),
        best_epoch=sidecar.best_epoch,
        metrics=_validation(best) if best else {},
        seconds=sum(_number(entry.metrics.get("seconds")) or 0.0 for entry in sidecar.epochs),
        rates=_rates(sidecar),
        settings=_settings(sidecar, RunFiles(prefix).folder),
        lists={name: used.sha256 for name, used in sidecar.data.items()},
    )


def _state(prefix: str, sidecar: Sidecar) -> str:
    if is_at_work(prefix):
        return "running"
    if sidecar.has_ended_diverged:
        return "diverged"
    return "finished" if sidecar.finished else "stopped"


def _rates(sidecar: Sidecar) -> tuple[float, ...]:
    lr = _number(sidecar.config.get("lr"))
    if lr is None:
        return ()
    # The rate after the divergence that ended a run was never trained with.
    return (lr, *(lr * entry.lr_factor for entry in sidecar.diverged[:SURVIVED]))


def _all_epochs(settings: Mapping[str, Any]) -> int | None:
    if settings.get("method") == "features":
        return 1
    last, pretrained = _number(settings.get("num_epoch")), _number(settings.get("epoch", 0))
    return None if last is None or pretrained is None else int(last - pretrained)


def _validation(epoch: Epoch) -> dict[str, float | None]:
    val = epoch.metrics.get("val")
    if not isinstance(val, Mapping):
        return {}
    return {name: _number(value) for name, value in val.items() if not isinstance(value, (list, dict, str))}


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def _settings(sidecar: Sidecar, folder: str) -> dict[str, Any]:
    known = train_settings()

    def seen(value: Any) -> Any:
        if isinstance(value, list):
            return [seen(part) for part in value]
        return path_from(folder, value) if isinstance(value, str) else value

    return {
        name: seen(value) if name in known and known[name].path else value for name, value in sidecar.config.items()
    }


def sort_runs(runs: Sequence[RunSummary], by: str) -> list[RunSummary]:
    """Return the runs with the best first; those without the metric follow, and broken ones are last."""
    sign = 1 if by in _ASCENDING else -1

    def key(run: RunSummary) -> tuple[bool, bool, float]:
        value = run.seconds if by == "seconds" else run.metrics.get(by)
        return bool(run.error), value is None, 0.0 if value is None else sign * value

    return sorted(runs, key=key)


def settings_that_differ(runs: Sequence[RunSummary]) -> list[str]:
    """Return the settings in which the runs differ, but for where they write; one that a run does not know differs."""
    described = [run.settings for run in runs if not run.error]
    names = dict.fromkeys(name for settings in described for name in settings)
    order = {name: position for position, name in enumerate(train_settings())}
    differing = [name for name in names if len({repr(settings.get(name)) for settings in described}) > 1]
    return sorted(
        (name for name in differing if name not in ("prefix", "tensorboard")),
        key=lambda name: order.get(name, len(order)),
    )
