"""A run as it is written down: its sidecar as it grows, its checkpoints, its history and curves."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mxml import atomic
from mxml.errors import MxmlError, StorageError
from mxml.model import checkpoint, symbols
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Divergence, Epoch, Pause, Sidecar
from mxml.progress import Progress
from mxml.runtime.types import NDArray
from mxml.training import chosen_loss, divergence, saving
from mxml.training.config import TrainConfig
from mxml.training.curves import plot_history
from mxml.training.history import best_epoch, history_rows, thinned, to_csv
from mxml.training.prefix import make_room
from mxml.training.recipe import Recipe
from mxml.training.report import RunReport
from mxml.training.saving import SavedState
from mxml.training.starting_point import StartingPoint

SECONDS_BETWEEN_CURVES = 30


@dataclass(frozen=True, eq=False)
class FinishedEpoch:
    """An epoch that has been trained and validated, and is to be saved.

    ``metrics`` is what the sidecar keeps of it: ``lr``, what ``EpochTotals.metrics`` returns, and ``val``.
    ``num_update`` counts the optimizer's steps; where it is 0, ``states`` may be None: a fresh optimizer goes on.
    """

    epoch: int
    num_update: int
    metrics: Mapping[str, Any]
    arg_params: Mapping[str, NDArray]
    aux_params: Mapping[str, NDArray]
    states: Mapping[str, NDArray] | None


class RunRecord:
    """Writes what a run has reached, so that the files on disk are a whole run at any time.

    Of several workers the first one ``writes``; the others only know what it has written.
    """

    def __init__(
        self, config: TrainConfig, sidecar: Sidecar, progress: Progress, report: RunReport, writes: bool = True
    ):
        self.config = config
        self.sidecar = sidecar
        self._writes = writes
        self._progress = progress
        self._report = report
        self.files = RunFiles(config.prefix)
        self._drawn = time.monotonic()
        # Whether the picture on disk lacks something of this run.
        self._undrawn = False
        # Where this run begins whose first checkpoint will replace the run at the prefix.
        self._waiting: StartingPoint | None = None
        # Where the sidecar on disk has a place inside an epoch.
        self._slot = None if sidecar.pause is None else sidecar.pause.slot

    def begin(self, point: StartingPoint, is_new: bool, waits: bool = False) -> None:
        """Write that the run goes on from ``point``; ``is_new`` says that nothing at the prefix belongs to it.

        One that ``waits`` is written with its first checkpoint: until then the run that it replaces stays.
        """
        config = self.config
        epochs = tuple(entry for entry in self.sidecar.epochs if entry.epoch <= point.epoch)
        self.sidecar = dataclasses.replace(
            self.sidecar, epochs=epochs, best_epoch=best_epoch(epochs, config.best_by), pause=None
        )
        self.sidecar = dataclasses.replace(
            self.sidecar, finished=bool(epochs) and (point.epoch >= config.last_epoch or self.out_of_patience())
        )
        if waits or self._waiting is not None:
            self._waiting = point
            return
        if not self._writes:
            return
        if is_new:
            make_room(config)
        checkpoint.discard_leftovers(config.prefix)
        if point.is_beginning:
            self._save_beginning(point)
        else:
            if self.sidecar.finished:
                self._save_settings()
            # A run killed after it saved an epoch has not shown it yet.
            self._show_history(draw=point.epoch >= config.last_epoch)

    def _save_beginning(self, point: StartingPoint) -> None:
        # Without the loss, so that every program with MXNet can load it.
        stamp = checkpoint.save_symbol(self.config.prefix, symbols.plain_symbol(point.symbol))
        self.sidecar = dataclasses.replace(self.sidecar, symbol=stamp)
        checkpoint.save_sidecar(self.config.prefix, self.sidecar)

    @property
    def waits(self) -> bool:
        """Whether what is at the prefix is still the run that this one will replace."""
        return self._waiting is not None

    def not_saved(self, error: StorageError) -> StorageError:
        """Return the error with what a person should do where the run cannot go on."""
        return saving.still_replaceable(error) if self.waits else saving.nothing_lost(error)

    def _take_place(self, state: SavedState) -> None:
        """Put a run that has waited for its first checkpoint in the place of the one at the prefix.

        Raises StorageError, and leaves that one, where there is no room for ``state`` beside it.
        """
        if self._waiting is None:
            return
        if self._writes:
            saving.require_room(self.config.prefix, state)
        self._report.begin_files()
        if self._writes:
            make_room(self.config)
            checkpoint.discard_leftovers(self.config.prefix)
            self._save_beginning(self._waiting)
        self._waiting = None

    def _save_settings(self) -> None:
        """Save what a resume has changed of a run that has nothing left to do, after which nothing else would be."""
        saved = checkpoint.read_sidecar(self.config.prefix)
        if saved is None:
            return
        # The metrics were measured on the images that are recorded, whatever the files show now.
        data = {
            name: dataclasses.replace(used, path=self.sidecar.data[name].path, root=self.sidecar.data[name].root)
            for name, used in saved.data.items()
        }
        now = dataclasses.replace(saved, config=self.sidecar.config, data=data, finished=True)
        if now != saved:
            checkpoint.save_sidecar(self.config.prefix, now)

    def finish_epoch(self, finished: FinishedEpoch) -> None:
        """Save an epoch, and show it."""
        prefix = self.config.prefix
        state = SavedState(finished.arg_params, finished.aux_params, finished.states)
        try:
            self._take_place(state)
        except StorageError as error:
            raise self.not_saved(error) from error
        files = saving.save_epoch(prefix, finished.epoch, state) if self._writes else {}
        epochs = (
            *self.sidecar.epochs,
            Epoch(finished.epoch, finished.num_update, finished.metrics, files),
        )
        best = best_epoch(epochs, self.config.best_by)
        epochs = thinned(saving.without_files(epochs, best, self.config.keep), best)
        self.sidecar = dataclasses.replace(self.sidecar, epochs=epochs, best_epoch=best, pause=None)
        self.sidecar = dataclasses.replace(
            self.sidecar, finished=finished.epoch >= self.config.last_epoch or self.out_of_patience()
        )
        if not self._writes:
            return
        try:
            checkpoint.save_sidecar(prefix, self.sidecar)
        except MxmlError as error:
            saving.discard_unnamed(prefix, finished.epoch)
            if isinstance(error, StorageError):
                raise saving.nothing_lost(error) from error
            raise
        # Only now does nothing need them: a run killed before this line still has every file that its sidecar names.
        saving.discard_unkept(prefix, epochs)
        self._discard_pause()
        # Drawing takes longer than an epoch of a small network does.
        self._show_history(self.sidecar.finished or time.monotonic() - self._drawn > SECONDS_BETWEEN_CURVES)
        self._report.finish_epoch(self.sidecar)

    def save_inside(self, pause: Pause, state: SavedState) -> None:
        """Save a place inside an epoch; until that is done the last such place stays. Raises StorageError."""
        self._take_place(state)
        if not self._writes:
            return
        prefix = self.config.prefix
        slot = 0 if self._slot is None else 1 - self._slot
        try:
            files = saving.save_pause(prefix, slot, state)
            pause = dataclasses.replace(pause, files=files, slot=slot)
            checkpoint.save_sidecar(prefix, dataclasses.replace(self.sidecar, pause=pause))
        except StorageError:
            # What is there of it takes the room that the next try needs.
            self._discard_slot(slot)
            raise
        self._slot = slot
        self._discard_slot(1 - slot)

    def diverged(self, entry: Divergence) -> None:
        """Write that the run diverged. What was saved on the way there goes, unless this ends the run."""
        sidecar = dataclasses.replace(self.sidecar, diverged=(*self.sidecar.diverged, entry), pause=None)
        if not divergence.has_ended(sidecar):
            epochs = divergence.good_epochs(sidecar.epochs, sidecar.best_epoch)
            sidecar = dataclasses.replace(sidecar, epochs=epochs)
        self.sidecar = sidecar
        self._undrawn = True
        if not self._writes or self._waiting is not None:
            return
        # A disk that is full must not hide the loss.
        with contextlib.suppress(MxmlError):
            checkpoint.save_sidecar(self.config.prefix, self.sidecar)
            self._discard_pause()

    def show_history(self) -> None:
        """Write the history and draw the curves of what has been finished, unless they are there."""
        if self._undrawn:
            self._show_history(draw=True)

    def _discard_slot(self, slot: int) -> None:
        # A file that nothing names does no harm.
        with contextlib.suppress(OSError):
            checkpoint.discard_pause(self.config.prefix, (slot,))

    def _discard_pause(self) -> None:
        checkpoint.discard_pause(self.config.prefix)
        self._slot = None

    def out_of_patience(self) -> bool:
        """Say whether there has been no better epoch for as many epochs as ``patience`` says, after the warm-up."""
        config, epochs, best = self.config, self.sidecar.epochs, self.sidecar.best_epoch
        if config.patience is None or not epochs or best is None:
            return False
        # Until then the learning rate is too low to be judged, and a head that was fitted may well be the best.
        warm = config.epoch + config.fits_head + math.ceil(Recipe.of(config).warmup_epochs)
        return epochs[-1].epoch - max(best, warm) >= config.patience

    def _show_history(self, draw: bool) -> None:
        """Write the history, and its curves if they are asked for; a disk that is full costs these alone."""
        if not self._writes or not self.sidecar.epochs:
            return
        rows = history_rows(self.sidecar.epochs, self.sidecar.label_names)
        self._undrawn = not draw
        try:
            atomic.write_text(self.files.history, to_csv(rows))
            if draw:
                diverged = [entry.epoch for entry in self.sidecar.diverged]
                trained_on = chosen_loss.other_than_validation(self.config)
                plot_history(rows, self.files.curves, self.sidecar.best_epoch, diverged, trained_on)
                self._drawn = time.monotonic()
        except (StorageError, OSError) as error:
            # matplotlib needs a folder of its own.
            self._progress.note(f"{error}; the checkpoints are saved, and the next epoch writes it again")
