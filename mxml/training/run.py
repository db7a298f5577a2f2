"""One training run: bind, then epochs of steps, each followed by validation and a checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml import atomic
from mxml.data.batches import BadImage, Batches
from mxml.data.image_sources import ImageFiles
from mxml.errors import SHOWN_FAULTS, Interrupted, MxmlError, NotFiniteError, StorageError, TrainingError
from mxml.inference import metrics
from mxml.inference.scores import Scores, collect
from mxml.model import checkpoint, symbols
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Epoch, Pause, Sidecar
from mxml.progress import ConsoleProgress, Progress
from mxml.runtime.types import Context
from mxml.training import divergence, saving, starting_point
from mxml.training.bound_module import BoundModule
from mxml.training.config import TrainConfig
from mxml.training.curves import plot_history
from mxml.training.epoch_totals import EpochTotals
from mxml.training.history import best_epoch, epoch_line, history_rows, to_csv
from mxml.training.optimizers import OptimizerSettings, Schedule
from mxml.training.prefix import make_room
from mxml.training.run_data import TrainData, augment_of, cache_bytes
from mxml.training.signals import StopRequest
from mxml.training.starting_point import StartingPoint
from mxml.training.workers import ALONE, Workers, all_bad_images, merged_scores, own_totals, summed_totals

SECONDS_BETWEEN_CURVES = 30

Callback = Callable[[Mapping[str, Any]], None]
"""Takes the metrics of an epoch that has been saved, as one row of PREFIX-history.csv."""


@dataclass(frozen=True)
class TrainResult:
    """The result of a training run.

    Attributes
    ----------
    prefix : str
        Where the run's files are.
    best_epoch : int
        The epoch with the best validation metric.
    best : mapping
        Its row of the history: ``epoch``, ``train_loss``, ``val_loss``, ``mAP`` and the other columns.
    epochs : int
        How many epochs the run has.
    bad : tuple of BadImage
        The images that could not be read and were skipped.
    """

    prefix: str
    best_epoch: int
    best: Mapping[str, Any]
    epochs: int
    bad: tuple[BadImage, ...]


@dataclass(frozen=True)
class _Trained:
    """The batch that was trained on last: its number in the epoch, and its images' positions in the list."""

    batch: int
    positions: np.ndarray


class Run:
    """What is fixed for a whole run, and its sidecar as it grows.

    ``is_new`` says that nothing which is at the prefix belongs to the run. Of several ``workers`` each has one, and
    only the first writes files.
    """

    def __init__(
        self,
        config: TrainConfig,
        devices: Sequence[Context],
        data: TrainData,
        sidecar: Sidecar,
        is_new: bool,
        progress: Progress,
        callbacks: Sequence[Callback],
        stop: StopRequest | None,
        workers: Workers = ALONE,
    ):
        self.config = config
        self.devices = devices
        self.data = data
        self.sidecar = sidecar
        self.is_new = is_new
        self.progress = progress
        self.callbacks = callbacks
        self.stop = workers.agreed(stop)
        self.workers = workers
        self.files = RunFiles(config.prefix)
        self.bad: dict[str, BadImage] = {}
        self.drawn = time.monotonic()

    def go(self) -> TrainResult:
        """Run every epoch that is left."""
        config = self.config
        common: dict[str, Any] = {
            "preprocess": self.sidecar.preprocess,
            "batch_size": config.batch_size // self.workers.count,
            "part_index": self.workers.rank,
            "num_parts": self.workers.count,
            "threads": config.decode_threads,
            "seed": config.seed,
        }
        train_cache, val_cache = cache_bytes(config, self.data)
        with (
            Batches(
                ImageFiles(self.data.train),
                labels=self.data.train.labels,
                augment=augment_of(config),
                shuffle=True,
                split_batches=True,
                bad_images="skip",
                max_bad_share=config.max_bad_share,
                cache_bytes=train_cache,
                **common,
            ) as train_batches,
            Batches(
                ImageFiles(self.data.val),
                labels=self.data.val.labels,
                bad_images="report",
                cache_bytes=val_cache,
                **common,
            ) as val_batches,
        ):
            module, point = self._start(train_batches)
            if isinstance(self.progress, ConsoleProgress):
                # Not before: a run that is refused should leave everything as it was.
                self.progress.begin_log()
            trained_with = symbols.loss_of(point.symbol)
            before = own_totals(self.workers, point.totals)
            epoch, first_batch, totals = point.epoch, point.batch, EpochTotals(*trained_with, before)
            schedule = Schedule(
                config.lr_schedule,
                config.lr,
                config.num_epoch - config.epoch,
                train_batches.num_batches,
                config.lr_steps,
                config.lr_factor,
                config.warmup_epochs,
            )
            while epoch < config.num_epoch and not self._out_of_patience():
                epoch += 1
                self._train_epoch(module, train_batches, schedule, epoch, first_batch, totals)
                scores = self._validate(module, val_batches, epoch, train_batches.num_batches, totals)
                self._finish_epoch(module, epoch, schedule, totals, scores)
                first_batch, totals = 0, EpochTotals(*trained_with)
        return self._result()

    def _start(self, batches: Batches) -> tuple[BoundModule, StartingPoint]:
        """Return a module, and where it goes on; what begins at the pretrained network leaves symbol and sidecar."""
        config = self.config
        point = None if self.is_new else starting_point.of_run(config, self.sidecar, self.progress)
        if point is None:
            point = starting_point.of_pretrained(config, len(self.data.label_names))
        self.progress.note(point.message)
        module = BoundModule(
            point.symbol,
            point.arg_params,
            point.aux_params,
            devices=self.devices,
            provide_data=batches.provide_data,
            provide_label=batches.provide_label,
            optimizer=OptimizerSettings(
                config.optimizer,
                config.mom,
                config.wd,
                config.clip_gradient,
                dict.fromkeys(point.head_names, config.head_lr_mult),
            ),
            freeze=config.freeze,
            kv_store=config.kv_store or "device",
            seed=config.seed,
            num_update=point.num_update,
            workers=self.workers,
        )
        self.workers.require_same({"network": point.symbol.tojson(), "place to start at": [point.epoch, point.batch]})
        if point.states is not None:
            module.restore(point.states, point.states_path)
        epochs = tuple(entry for entry in self.sidecar.epochs if entry.epoch <= point.epoch)
        self.sidecar = dataclasses.replace(
            self.sidecar, epochs=epochs, best_epoch=best_epoch(epochs, config.best_by), pause=None, finished=False
        )
        if not self.workers.is_first:
            return module, point
        if self.is_new:
            make_room(config.prefix)
        checkpoint.discard_leftovers(config.prefix)
        if point.states is None:
            # Without the loss, so that every program with MXNet can load it.
            stamp = checkpoint.save_symbol(config.prefix, symbols.plain_symbol(point.symbol))
            self.sidecar = dataclasses.replace(self.sidecar, symbol=stamp)
            checkpoint.save_sidecar(config.prefix, self.sidecar)
        else:
            # A run killed after it saved an epoch has not shown it yet.
            self._show_history(draw=point.epoch >= config.num_epoch)
        return module, point

    def _train_epoch(
        self,
        module: BoundModule,
        batches: Batches,
        schedule: Schedule,
        epoch: int,
        first_batch: int,
        totals: EpochTotals,
    ) -> None:
        batches.set_epoch(epoch, first_batch)
        what = f"epoch {epoch}/{self.config.num_epoch}"
        self.progress.start(len(self.data.train), what, int(totals.sums["images"]))
        last: _Trained | None = None
        clock = time.perf_counter()
        for number, batch in enumerate(batches, start=first_batch + 1):
            lr = schedule.lr(module.num_update)
            logits = module.step(batch, lr)
            images = len(batch.index) - batch.pad
            trained = _Trained(number, batch.index[:images])
            if not np.isfinite(logits).all():
                # The logits are from before this step: the update before it made them so. Where there was none, the
                # parameters were finite, so that it is this batch's own images.
                raise self._diverged(epoch, last or trained)
            last = trained
            loss = totals.add(logits, batch.label[0].asnumpy(), images)
            self.progress.advance(images * self.workers.count, f"loss {loss:.4f}, lr {lr:.2g}")
            now = time.perf_counter()
            totals.sums["seconds"] += now - clock
            clock = now
            self._save_and_stop(module, epoch, number, totals, last)
        module.sync()
        if last is not None and module.not_finite():
            raise self._diverged(epoch, last)
        self._note_bad(all_bad_images(self.workers, batches.bad))

    def _validate(
        self, module: BoundModule, batches: Batches, epoch: int, num_batches: int, totals: EpochTotals
    ) -> Scores:
        batches.set_epoch(0)
        size = len(self.data.val)
        self.progress.start(size, "validation")

        def advance(images: int) -> None:
            self.progress.advance(images * self.workers.count)
            self._save_and_stop(module, epoch, num_batches, totals)

        try:
            scores = merged_scores(self.workers, collect(module, batches, size, len(self.data.label_names), advance))
        except NotFiniteError as error:
            # The parameters are finite, and have grown too large.
            raise self._diverged(epoch, None) from error
        if len(scores.bad) > self.config.max_bad_share * size:
            raise TrainingError(_too_many_bad(scores.bad, size, self.config.data_val, self.config.max_bad_share))
        self._note_bad(scores.bad)
        return scores

    def _finish_epoch(
        self, module: BoundModule, epoch: int, schedule: Schedule, totals: EpochTotals, scores: Scores
    ) -> None:
        readable = scores.readable
        validation = metrics.multilabel_metrics(
            scores.probabilities[readable], self.data.val.labels[readable], logits=scores.logits[readable]
        ).to_dict()
        totals.sums = summed_totals(self.workers, totals.sums)
        epoch_metrics = {"lr": schedule.lr(module.num_update - 1), **totals.metrics(), "val": validation}
        epoch_metrics = self.workers.of_first(epoch_metrics)
        prefix = self.config.prefix
        files = saving.save_epoch(module, prefix, epoch)
        epochs = (*self.sidecar.epochs, Epoch(epoch, module.num_update, epoch_metrics, files))
        best = best_epoch(epochs, self.config.best_by)
        epochs = saving.without_files(epochs, best, self.config.keep)
        self.sidecar = dataclasses.replace(self.sidecar, epochs=epochs, best_epoch=best, pause=None)
        self.sidecar = dataclasses.replace(
            self.sidecar, finished=epoch >= self.config.num_epoch or self._out_of_patience()
        )
        if not self.workers.is_first:
            return
        checkpoint.save_sidecar(prefix, self.sidecar)
        # Only now does nothing need them: a run killed before this line still has every file that its sidecar names.
        saving.discard_unkept(prefix, epochs)
        checkpoint.discard_pause(prefix)
        # Drawing takes longer than an epoch of a small network does.
        self._show_history(self.sidecar.finished or time.monotonic() - self.drawn > SECONDS_BETWEEN_CURVES)
        rows = history_rows(epochs)
        self.progress.note(epoch_line(rows[-1], self.config.num_epoch, best == epoch))
        for callback in self.callbacks:
            callback(rows[-1])

    def _show_history(self, draw: bool) -> None:
        """Write the history, and its curves if they are asked for; a disk that is full costs these alone."""
        if not self.sidecar.epochs:
            return
        rows = history_rows(self.sidecar.epochs)
        try:
            atomic.write_text(self.files.history, to_csv(rows))
            if draw:
                plot_history(rows, self.files.curves, self.sidecar.best_epoch)
                self.drawn = time.monotonic()
        except StorageError as error:
            self.progress.note(f"{error}; the checkpoints are saved, and the next epoch writes it again")

    def _save_and_stop(
        self, module: BoundModule, epoch: int, batch: int, totals: EpochTotals, last: _Trained | None = None
    ) -> None:
        if self.stop is None or self.stop.number is None:
            return
        number = self.stop.number
        if last is not None and module.not_finite():
            raise self._diverged(epoch, last)
        files = saving.save_pause(module, self.config.prefix)
        pause = Pause(epoch, batch, module.num_update, summed_totals(self.workers, totals.sums), files)
        if self.workers.is_first:
            checkpoint.save_sidecar(self.config.prefix, dataclasses.replace(self.sidecar, pause=pause))
            self._show_history(draw=True)
        raise Interrupted(
            f"stopped by {signal.Signals(number).name} in epoch {epoch} after batch {batch}, and saved; "
            "continue with `resume`",
            number,
        )

    def _out_of_patience(self) -> bool:
        patience, epochs, best = self.config.patience, self.sidecar.epochs, self.sidecar.best_epoch
        return bool(patience and epochs and best is not None and epochs[-1].epoch - best >= patience)

    def _note_bad(self, bad: Sequence[BadImage]) -> None:
        for image in bad:
            self.bad.setdefault(image.path, image)

    def _diverged(self, epoch: int, trained: _Trained | None) -> TrainingError:
        """Return the error for a loss that is not finite, once the sidecar says so: resuming would repeat it."""
        self.sidecar = dataclasses.replace(self.sidecar, diverged=epoch)
        # A disk that is full must not hide the loss.
        with contextlib.suppress(MxmlError):
            if self.workers.is_first:
                checkpoint.save_sidecar(self.config.prefix, self.sidecar)
                checkpoint.discard_pause(self.config.prefix)
        if trained is None:
            return divergence.diverged(self.config, epoch)
        images = [self.data.train.path(int(position)) for position in trained.positions]
        return divergence.diverged(self.config, epoch, trained.batch, images)

    def _result(self) -> TrainResult:
        sidecar = self.sidecar
        if sidecar.best_epoch is None:
            raise TrainingError(f"{self.config.prefix}: no epoch was run")
        bad = tuple(self.bad.values())
        for image in bad[:SHOWN_FAULTS]:
            self.progress.note(f"skipped, cannot be read: {image.path}: {image.reason}")
        if bad:
            self.progress.note(f"images skipped because they cannot be read: {len(bad):,}")
        rows = {row["epoch"]: row for row in history_rows(sidecar.epochs)}
        return TrainResult(self.config.prefix, sidecar.best_epoch, rows[sidecar.best_epoch], len(sidecar.epochs), bad)


def _too_many_bad(bad: Sequence[BadImage], size: int, list_path: str, max_share: float) -> str:
    first = f"{bad[0].path}: {bad[0].reason}"
    return f"{list_path}: {len(bad):,} of {size:,} images cannot be read, more than {max_share:.0%}; the first: {first}"
