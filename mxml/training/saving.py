"""A run's parameters on disk: written for an epoch or a pause, and removed where they are not to be kept."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mxml.errors import CheckpointError, StorageError
from mxml.model import checkpoint
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Epoch, Stamp
from mxml.runtime.types import NDArray
from mxml.training.bound_module import BoundModule

_BLOCK = 1 << 20


def save_epoch(module: BoundModule, prefix: str, epoch: int) -> dict[str, Stamp]:
    """Write an epoch's parameters and states, and return their stamps. Raises StorageError.

    Of several workers the first one writes; the others return nothing.
    """
    files = RunFiles(prefix)
    return _save(module, files.params(epoch), files.states(epoch), {})


def save_pause(module: BoundModule, prefix: str) -> dict[str, Stamp]:
    """Write what a run needs to go on inside an epoch, and return the files' stamps. Raises StorageError."""
    files = RunFiles(prefix)
    return _save(module, files.paused_params, files.paused_states, module.statistics())


def without_files(epochs: Sequence[Epoch], best_epoch: int | None, keep: str) -> tuple[Epoch, ...]:
    """Return the epochs as the sidecar names them: with files only where ``keep`` says so, else only with metrics."""
    if keep == "all":
        return tuple(epochs)
    kept = {best_epoch, epochs[-1].epoch}
    return tuple(entry if entry.epoch in kept else dataclasses.replace(entry, files={}) for entry in epochs)


def discard_unkept(prefix: str, epochs: Sequence[Epoch]) -> None:
    """Remove the files of epochs that the sidecar on disk no longer names files for."""
    for entry in epochs:
        if not entry.files:
            for path in (RunFiles(prefix).params(entry.epoch), RunFiles(prefix).states(entry.epoch)):
                Path(path).unlink(missing_ok=True)


def _save(module: BoundModule, params_to: str, states_to: str, statistics: dict[str, NDArray]) -> dict[str, Stamp]:
    arg_params, aux_params = module.parameters()
    states = {**module.states(), **statistics}
    if not module.workers.is_first:
        return {}
    try:
        return checkpoint.save_arrays(params_to, states_to, arg_params, aux_params, states)
    except (CheckpointError, StorageError) as error:
        arrays = (*arg_params.values(), *aux_params.values(), *states.values())
        size = sum(array.size * array.dtype().itemsize for array in arrays)
        reason = _why_not_written(os.path.dirname(params_to), size)
        if not reason:
            raise
        raise StorageError(
            f"{params_to}: cannot be written: {reason}; everything saved before is kept: make room, then continue "
            "with `resume`"
        ) from error


def _why_not_written(folder: str, size: int) -> str:
    """Say why ``size`` bytes cannot be written into the folder: MXNet does not tell. Empty where they can."""
    try:
        with tempfile.TemporaryFile(dir=folder or ".") as file:
            for _ in range(0, size, _BLOCK):
                file.write(bytes(_BLOCK))
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""
