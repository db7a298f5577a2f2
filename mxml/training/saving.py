"""A run's parameters on disk: written for an epoch or a pause, and removed where they are not to be kept."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mxml.errors import StorageError
from mxml.model import checkpoint
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Epoch, Stamp
from mxml.runtime.types import NDArray

_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class SavedState:
    """What training goes on from: parameters and states, as they are written. ``states`` None: a fresh optimizer."""

    arg_params: Mapping[str, NDArray]
    aux_params: Mapping[str, NDArray]
    states: Mapping[str, NDArray] | None


def save_epoch(prefix: str, epoch: int, state: SavedState) -> dict[str, Stamp]:
    """Write an epoch's files, and return their stamps. Raises StorageError."""
    files = RunFiles(prefix)
    try:
        return _save(files.params(epoch), files.states(epoch), state)
    except StorageError as error:
        discard_unnamed(prefix, epoch)
        raise nothing_lost(error) from error


def discard_unnamed(prefix: str, epoch: int) -> None:
    """Remove the files of an epoch that no sidecar could name: they take the room that the next try needs."""
    files = RunFiles(prefix)
    for path in (files.params(epoch), files.states(epoch)):
        with contextlib.suppress(OSError):
            os.unlink(path)


def nothing_lost(error: StorageError) -> StorageError:
    """Return the error with what a person should do where the run cannot go on."""
    return StorageError(f"{error}; everything saved before is kept: make room, then continue with `resume`")


def still_replaceable(error: StorageError) -> StorageError:
    """Return the error with what a person should do where the run that this one would replace is still there."""
    return StorageError(f"{error}; the run that is to be replaced is kept: make room, then start again as before")


def require_room(prefix: str, state: SavedState) -> None:
    """Raise StorageError where the files of the state, and the small ones with them, cannot be written now."""
    reason = _why_not_written(os.path.dirname(prefix), _size(state) + _BLOCK)
    if reason:
        raise StorageError(f"{prefix}: a checkpoint cannot be written: {reason}")


def save_pause(prefix: str, slot: int, state: SavedState) -> dict[str, Stamp]:
    """Write what a run needs to go on inside an epoch, and return the files' stamps. Raises StorageError."""
    paths = RunFiles(prefix).paused(slot)
    return _save(paths["params"], paths["states"], state)


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


def _save(params_to: str, states_to: str, state: SavedState) -> dict[str, Stamp]:
    try:
        return checkpoint.save_arrays(params_to, states_to, state.arg_params, state.aux_params, state.states)
    except StorageError as error:
        reason = _why_not_written(os.path.dirname(params_to), _size(state))
        if not reason:
            raise
        path = states_to if str(error).startswith(f"{states_to}: ") else params_to
        raise StorageError(f"{path}: cannot be written: {reason}") from error


def _size(state: SavedState) -> int:
    """Return the size of the state's arrays in bytes."""
    arrays = (*state.arg_params.values(), *state.aux_params.values(), *(state.states or {}).values())
    return sum(array.size * array.dtype().itemsize for array in arrays)


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
