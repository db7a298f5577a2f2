"""Training a bound network: the steps of an epoch, and what is saved of it."""

from __future__ import annotations

import time

import numpy as np

from mxml.data.batches import Batches
from mxml.data.image_list import ImageList
from mxml.data.record_list import RecordList
from mxml.errors import StorageError
from mxml.model import params_file
from mxml.model.sidecar import Pause
from mxml.progress import Progress
from mxml.training import averaging, divergence
from mxml.training.averaging import WeightAverage
from mxml.training.bound_module import BoundModule
from mxml.training.divergence import Diverged, LossLimit
from mxml.training.epoch_totals import EpochTotals
from mxml.training.optimizers import Schedule
from mxml.training.record import RunRecord
from mxml.training.report import RunReport
from mxml.training.saving import SavedState
from mxml.training.shared_run import summed_totals
from mxml.training.stopping import StopHere, Stopping


class Trainer:
    """A bound network with the average of its weights (None: there is none), trained epoch by epoch."""

    def __init__(
        self,
        module: BoundModule,
        average: WeightAverage | None,
        schedule: Schedule,
        limit: LossLimit,
        images: ImageList | RecordList,
        record: RunRecord,
        stopping: Stopping,
        progress: Progress,
        report: RunReport,
    ):
        self.module = module
        self.average = average
        self.schedule = schedule
        self.limit = limit
        self._images = images
        self._record = record
        self._stopping = stopping
        self._progress = progress
        self._report = report

    def train(self, batches: Batches, epoch: int, what: str, first_batch: int, totals: EpochTotals) -> None:
        """Take the steps of an epoch from ``first_batch`` on.

        Raises Diverged, and StopHere where the run has to end inside the epoch.
        """
        module = self.module
        batches.set_epoch(epoch, first_batch)
        self._progress.start(len(self._images), what, int(totals.sums["images"]))
        # What was trained on last: the number of the batch, and its images' positions in the list.
        last: tuple[int, np.ndarray] | None = None
        clock = time.perf_counter()
        for number, batch in enumerate(batches, start=first_batch + 1):
            lr = self.schedule.lr(module.num_update)
            logits = module.step(batch, lr)
            images = len(batch.index) - batch.pad
            trained = number, batch.index[:images]
            if not np.isfinite(logits).all():
                # The logits are from before this step: the update before it made them so.
                raise self._not_finite(epoch, last or trained)
            last = trained
            loss = module.workers.mean(totals.add(logits, batch.label[0].asnumpy(), images))
            self._check_recent(epoch, loss, totals)
            if self.average is not None:
                self.average.update()
            self._report.step(module.num_update - 1, images * module.workers.count, loss, lr)
            now = time.perf_counter()
            totals.sums["seconds"] += now - clock
            clock = now
            self._stopping.look()
            if self._stopping.reason or self._stopping.save_is_due:
                if module.not_finite():
                    raise self._not_finite(epoch, last)
                if self._stopping.reason:
                    raise StopHere(number)
                self._save_on_the_way(epoch, number, totals)
        module.sync()
        if last is not None and module.not_finite():
            raise self._not_finite(epoch, last)

    def save(self, epoch: int, batch: int, totals: EpochTotals) -> None:
        """Save all that the run needs to go on after ``batch`` of the epoch. Raises StorageError."""
        module = self.module
        state = self.state(averaged=False)
        self._record.save_inside(
            Pause(epoch, batch, module.num_update, summed_totals(module.workers, totals.sums), {}),
            SavedState(state.arg_params, state.aux_params, {**(state.states or {}), **module.statistics()}),
        )
        self._stopping.saved()

    def state(self, averaged: bool) -> SavedState:
        """Return what is saved; the parameters are the averaged weights, or the current ones."""
        arg_params, aux_params = self.module.parameters()
        states = self.module.states()
        if self.average is None:
            return SavedState(arg_params, aux_params, states)
        current = params_file.join_params(arg_params, aux_params)
        params, states = averaging.joined(current, self.average.arrays(), states, averaged)
        return SavedState(*params_file.split_params(params), states)

    def _save_on_the_way(self, epoch: int, batch: int, totals: EpochTotals) -> None:
        try:
            self.save(epoch, batch, totals)
        except StorageError as error:
            self._stopping.saved()
            self._progress.note(f"not saved inside epoch {epoch}: {error}; the run goes on")

    def _check_recent(self, epoch: int, loss: float, totals: EpochTotals) -> None:
        recent = self.limit.recent(totals.sums.get("recent_loss", 0.0), loss)
        totals.sums["recent_loss"] = recent
        if recent > self.limit.limit:
            what = divergence.far_above(f"the loss is {recent:.3g} over the last batches", self.limit.limit)
            raise Diverged(epoch, self.module.num_update, what)

    def _not_finite(self, epoch: int, trained: tuple[int, np.ndarray]) -> Diverged:
        number, positions = trained
        images = [self._images.path(int(position)) for position in positions]
        return Diverged(epoch, self.module.num_update, divergence.not_finite(number, images))
