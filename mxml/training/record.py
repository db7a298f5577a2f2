"""A run as it is written down: its sidecar as it grows, its checkpoints, its history and curves."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mxml import atomic
from mxml.errors import MxmlError, StorageError
from mxml.model import checkpoint, symbols
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Epoch, Pause, Sidecar
from mxml.progress import Progress
from mxml.runtime.types import NDArray
from mxml.training import saving
from mxml.training.config import TrainConfig
from mxml.training.curves import plot_history
from mxml.training.history import best_epoch, epoch_line, history_rows, to_csv
from mxml.training.prefix import make_room
from mxml.training.starting_point import StartingPoint

SECONDS_BETWEEN_CURVES = 30

Callback = Callable[[Mapping[str, Any]], None]
"""Takes the metrics of an epoch that has been saved, as one row of PREFIX-history.csv."""


@dataclass(frozen=True, eq=False)
class FinishedEpoch:
    """An epoch that has been trained and validated, and is to be saved.

    ``metrics`` is what the sidecar keeps of it: ``lr``, what ``EpochTotals.metrics`` returns, and ``val``.
    ``num_update`` counts the optimizer's steps; ``states`` is None where training goes on with a fresh optimizer.
    """

    epoch: int
    num_update: int
    metrics: Mapping[str, Any]
    arg_params: Mapping[str, NDArray]
    aux_params: Mapping[str, NDArray]
    states: Mapping[str, NDArray] | None


class RunRecord:
    """Writes what a run has reached, so that the files on disk are a whole run at any time."""

    def __init__(self, config: TrainConfig, sidecar: Sidecar, progress: Progress, callbacks: Sequence[Callback]):
        self.config = config
        self.sidecar = sidecar
        self._progress = progress
        self._callbacks = callbacks
        self.files = RunFiles(config.prefix)
        self._drawn = time.monotonic()

    def begin(self, point: StartingPoint, is_new: bool) -> None:
        """Write that the run goes on from ``point``; ``is_new`` says that nothing at the prefix belongs to it."""
        config = self.config
        epochs = tuple(entry for entry in self.sidecar.epochs if entry.epoch <= point.epoch)
        self.sidecar = dataclasses.replace(
            self.sidecar, epochs=epochs, best_epoch=best_epoch(epochs, config.best_by), pause=None, finished=False
        )
        if is_new:
            make_room(config.prefix)
        checkpoint.discard_leftovers(config.prefix)
        if point.is_pretrained:
            # Without the loss, so that every program with MXNet can load it.
            stamp = checkpoint.save_symbol(config.prefix, symbols.plain_symbol(point.symbol))
            self.sidecar = dataclasses.replace(self.sidecar, symbol=stamp)
            checkpoint.save_sidecar(config.prefix, self.sidecar)
        else:
            # A run killed after it saved an epoch has not shown it yet.
            self._show_history(draw=point.epoch >= config.last_epoch)

    def finish_epoch(self, finished: FinishedEpoch) -> None:
        """Save an epoch, and show it."""
        prefix = self.config.prefix
        files = saving.save_epoch(prefix, finished.epoch, finished.arg_params, finished.aux_params, finished.states)
        epochs = (
            *self.sidecar.epochs,
            Epoch(finished.epoch, finished.num_update, finished.metrics, files),
        )
        best = best_epoch(epochs, self.config.best_by)
        epochs = saving.without_files(epochs, best, self.config.keep)
        self.sidecar = dataclasses.replace(self.sidecar, epochs=epochs, best_epoch=best, pause=None)
        self.sidecar = dataclasses.replace(
            self.sidecar, finished=finished.epoch >= self.config.last_epoch or self.out_of_patience()
        )
        checkpoint.save_sidecar(prefix, self.sidecar)
        # Only now does nothing need them: a run killed before this line still has every file that its sidecar names.
        saving.discard_unkept(prefix, epochs)
        checkpoint.discard_pause(prefix)
        # Drawing takes longer than an epoch of a small network does.
        self._show_history(self.sidecar.finished or time.monotonic() - self._drawn > SECONDS_BETWEEN_CURVES)
        rows = history_rows(epochs)
        self._progress.note(epoch_line(rows[-1], self.config.last_epoch, best == finished.epoch))
        for callback in self._callbacks:
            callback(rows[-1])

    def pause(self, pause: Pause) -> None:
        """Write that the run has stopped inside an epoch, whose files are saved."""
        checkpoint.save_sidecar(self.config.prefix, dataclasses.replace(self.sidecar, pause=pause))
        self._show_history(draw=True)

    def diverged(self, epoch: int) -> None:
        """Write that the loss was not finite: resuming would repeat it."""
        self.sidecar = dataclasses.replace(self.sidecar, diverged=epoch)
        # A disk that is full must not hide the loss.
        with contextlib.suppress(MxmlError):
            checkpoint.save_sidecar(self.config.prefix, self.sidecar)
            checkpoint.discard_pause(self.config.prefix)

    def out_of_patience(self) -> bool:
        """Say whether there has been no better epoch for as many epochs as ``patience`` says."""
        patience, epochs, best = self.config.patience, self.sidecar.epochs, self.sidecar.best_epoch
        return bool(patience and epochs and best is not None and epochs[-1].epoch - best >= patience)

    def _show_history(self, draw: bool) -> None:
        """Write the history, and its curves if they are asked for; a disk that is full costs these alone."""
        if not self.sidecar.epochs:
            return
        rows = history_rows(self.sidecar.epochs)
        try:
            atomic.write_text(self.files.history, to_csv(rows))
            if draw:
                plot_history(rows, self.files.curves, self.sidecar.best_epoch)
                self._drawn = time.monotonic()
        except StorageError as error:
            self._progress.note(f"{error}; the checkpoints are saved, and the next epoch writes it again")
