"""The tuning in a sidecar: written and removed while no run is at work there."""

from __future__ import annotations

import dataclasses

from mxml.errors import CheckpointError
from mxml.model import checkpoint
from mxml.model.prefix_lock import locked
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Sidecar, read_sidecar
from mxml.model.tuning_record import TuningRecord
from mxml.progress import Progress


def save_tuning(prefix: str, record: TuningRecord, progress: Progress) -> TuningRecord | None:
    """Write a tuning into ``PREFIX.json``, and return the one that was there before.

    Raises CheckpointError where there is no sidecar, or where the epoch's parameters are no longer those that were
    tuned; TrainingError where a run is at work; StorageError where it cannot be written.
    """
    path = RunFiles(prefix).sidecar
    with locked(prefix, progress):
        sidecar = _read(prefix)
        if sidecar.params_sha256(record.epoch) != record.params_sha256:
            raise CheckpointError(f"{path}: epoch {record.epoch} has been trained again since it was tuned; tune again")
        record.check(len(sidecar.label_names))
        checkpoint.save_sidecar(prefix, dataclasses.replace(sidecar, tuning=record))
        return sidecar.tuning


def remove_tuning(prefix: str, progress: Progress) -> TuningRecord | None:
    """Remove the tuning from ``PREFIX.json``, and return it; None where there is none. Raises as ``save_tuning``."""
    prefix = RunFiles.parse(prefix)[0].prefix
    with locked(prefix, progress):
        sidecar = _read(prefix)
        if sidecar.tuning is not None:
            checkpoint.save_sidecar(prefix, dataclasses.replace(sidecar, tuning=None))
        return sidecar.tuning


def read_tuning(prefix: str) -> TuningRecord | None:
    """Return the tuning that ``remove_tuning`` would remove. Raises CheckpointError where there is no sidecar."""
    return _read(RunFiles.parse(prefix)[0].prefix).tuning


def require_sidecar(prefix: str, sidecar: Sidecar | None) -> Sidecar:
    """Return a sidecar. Raises CheckpointError where there is none."""
    if sidecar is None:
        raise CheckpointError(
            f"{RunFiles(prefix).sidecar}: does not exist, so there is nowhere to keep thresholds; mxml tune "
            "shows them with `dry_run`, and mxml predict takes them as `threshold`"
        )
    return sidecar


def _read(prefix: str) -> Sidecar:
    return require_sidecar(prefix, read_sidecar(prefix))
