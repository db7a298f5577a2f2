"""What exists at a run's prefix, and how a new run may replace it."""

from __future__ import annotations

import os

from mxml.errors import CheckpointError, SettingError
from mxml.model import checkpoint
from mxml.model.run_files import RunFiles
from mxml.progress import Progress
from mxml.training import waiting_lists
from mxml.training.config import TrainConfig


def check_room(config: TrainConfig, progress: Progress, *, force: bool, resume: bool) -> None:
    """Refuse to overwrite what exists at the prefix of a new run.

    ``force`` lets a run be replaced; one that finished no epoch holds nothing to lose, and needs no force. ``resume``
    allows a run's symbol to be replaced if nothing else exists: a run that was killed as it began leaves it.
    """
    files = RunFiles(config.prefix)
    if config.model is not None and os.path.abspath(config.prefix) == os.path.abspath(config.model):
        raise SettingError("prefix", config.prefix, "another prefix than the pretrained model's")
    taken = [path for path in (files.sidecar, files.symbol) if os.path.exists(path)]
    if not taken or force:
        return
    if resume:
        if files.epochs_on_disk():
            raise CheckpointError(
                f"{taken[0]}: has no sidecar of mxml beside it, so the run cannot be resumed; "
                "start from it with `model`, under another `prefix`"
            )
        return
    if _has_no_checkpoint(config.prefix):
        progress.note(f"{files.sidecar}: belongs to a run that finished no epoch; the new run replaces it")
        return
    raise CheckpointError(
        f"{taken[0]}: already exists; continue with `resume`, replace it with `force`, or choose another `prefix`"
    )


def holds_a_run(prefix: str) -> bool:
    """Say whether there is something at the prefix that a new run would destroy: more than a run that only began."""
    files = RunFiles(prefix)
    return any(map(os.path.exists, (files.sidecar, files.symbol))) and not _has_no_checkpoint(prefix)


def make_room(config: TrainConfig) -> None:
    """Remove the run that a new one replaces, and put the lists of the new one where its lists were.

    Called last before a run begins: an earlier error should leave everything as it was. Raises StorageError.
    """
    if os.path.exists(RunFiles(config.prefix).sidecar):
        checkpoint.discard_run(config.prefix)
    if config.data:
        waiting_lists.move_in(config.prefix)


def _has_no_checkpoint(prefix: str) -> bool:
    """Say whether the run at the prefix has neither a finished epoch nor a pause."""
    try:
        sidecar = checkpoint.read_sidecar(prefix)
    except CheckpointError:
        return False
    return sidecar is not None and not sidecar.epochs and sidecar.pause is None
