"""One training run: bind, then epochs of steps, each followed by validation and a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mxml.data.batches import BadImage, Batches
from mxml.data.image_sources import ImageFiles
from mxml.errors import SHOWN_FAULTS, Interrupted, StorageError, TrainingError
from mxml.model import symbols
from mxml.model.sidecar import Divergence, Sidecar
from mxml.progress import ConsoleProgress, Progress
from mxml.runtime.types import Context
from mxml.training import divergence, saving, starting_point
from mxml.training.averaging import WeightAverage
from mxml.training.bound_module import BoundModule
from mxml.training.config import TrainConfig
from mxml.training.divergence import Diverged, LossLimit
from mxml.training.epoch_totals import EpochTotals
from mxml.training.history import history_rows
from mxml.training.optimizers import OptimizerSettings, Schedule
from mxml.training.record import Callback, FinishedEpoch, RunRecord
from mxml.training.run_data import TrainData, augment_of, cache_bytes
from mxml.training.signals import StopRequest
from mxml.training.starting_point import StartingPoint
from mxml.training.stopping import StopHere, Stopping
from mxml.training.trainer import Trainer
from mxml.training.validation import Validated, Validation
from mxml.training.workers import ALONE, Workers, all_bad_images, own_totals, summed_totals


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
    finished : bool
        False where a time limit ended the run before its last epoch.
    bad : tuple of BadImage
        The images that could not be read and were skipped.
    """

    prefix: str
    best_epoch: int
    best: Mapping[str, Any]
    epochs: int
    finished: bool
    bad: tuple[BadImage, ...]


class Run:
    """What is fixed for a whole run, and its record as it grows.

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
        self.is_new = is_new
        self.progress = progress
        self.record = RunRecord(config, sidecar, progress, callbacks, workers.is_first)
        self.workers = workers
        self.stopping = Stopping(workers.agreed(stop), config.save_every, config.time_limit, workers)
        self.bad: dict[str, BadImage] = {}

    def go(self) -> TrainResult:
        """Run every epoch that is left."""
        config = self.config
        common: dict[str, Any] = {
            "preprocess": self.record.sidecar.preprocess,
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
            validation = Validation(
                config, val_batches, self.data.val, len(self.data.train), self.stopping, self.progress
            )
            while not self._reaches_its_end(train_batches, validation):
                # What is at the prefix now belongs to this run, and the next try begins there.
                self.is_new = False
        return self._result()

    def _reaches_its_end(self, batches: Batches, validation: Validation) -> bool:
        """Run what is left; False where that diverged, and has to be done again at a lower rate."""
        sidecar = self.record.sidecar
        try:
            self._run(batches, validation)
            return True
        except Diverged as error:
            factor = divergence.lr_factor(sidecar.diverged) * divergence.LR_FACTOR
            entry = Divergence(error.epoch, error.step, error.what, factor)
        self.record.diverged(entry)
        # All go back to what the first one has now written down.
        self.workers.barrier()
        sidecar = self.record.sidecar
        if divergence.has_ended(sidecar):
            raise divergence.ended(self.config, sidecar)
        self.progress.note(
            f"training diverged in epoch {entry.epoch}: {entry.what}; it goes back to what was saved last, and on with "
            f"`lr` {self.config.lr * entry.lr_factor:g} instead of {self.config.lr:g}"
        )
        return False

    def _run(self, batches: Batches, validation: Validation) -> None:
        config = self.config
        trainer, point = self._start(batches)
        trained_with = symbols.loss_of(point.symbol)
        before = own_totals(self.workers, point.totals)
        epoch, first_batch, totals = point.epoch, point.batch, EpochTotals(*trained_with, before)
        while epoch < config.num_epoch and not self.record.out_of_patience():
            epoch += 1
            try:
                trainer.train(batches, epoch, f"epoch {epoch}/{config.num_epoch}", first_batch, totals)
                self._note_bad(all_bad_images(self.workers, batches.bad))
                validated = validation.validate(trainer, epoch, batches.num_batches)
            except StopHere as here:
                try:
                    trainer.save(epoch, here.batch, totals)
                except StorageError as error:
                    raise saving.nothing_lost(error) from error
                self.record.show_history()
                self._stop(f"in epoch {epoch} after batch {here.batch}, and saved")
                return
            self._note_bad(validated.bad)
            self._finish_epoch(trainer, epoch, totals, validated)
            first_batch, totals = 0, EpochTotals(*trained_with)
            if self.stopping.out_of_time and not self.record.sidecar.finished:
                self._stop(f"after epoch {epoch}")
                return

    def _start(self, batches: Batches) -> tuple[Trainer, StartingPoint]:
        """Return a trainer, and where it goes on; what begins at the pretrained network leaves symbol and sidecar."""
        config = self.config
        sidecar = self.record.sidecar
        point = None if self.is_new else starting_point.of_run(config, sidecar, self.progress)
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
        self.record.begin(point, self.is_new)
        if isinstance(self.progress, ConsoleProgress):
            # Not before: a run that is refused should leave everything as it was.
            self.progress.begin_log()
        schedule = Schedule(
            config.lr_schedule,
            config.lr * divergence.lr_factor(sidecar.diverged),
            config.num_epoch - config.epoch,
            batches.num_batches,
            config.lr_steps,
            config.lr_factor,
            config.warmup_epochs,
        )
        trainer = Trainer(
            module,
            WeightAverage(module, config.ema, point.average) if config.ema else None,
            schedule,
            LossLimit(*symbols.loss_of(point.symbol), self.data.train.labels),
            self.data.train,
            self.record,
            self.stopping,
            self.progress,
        )
        return trainer, point

    def _finish_epoch(self, trainer: Trainer, epoch: int, totals: EpochTotals, validated: Validated) -> None:
        totals.sums = summed_totals(self.workers, totals.sums)
        module, train = trainer.module, totals.metrics()
        if trainer.limit.is_far_above(train["train_loss"], validated.loss):
            losses = f"the loss is {train['train_loss']:.3g} in training and {validated.loss:.3g} in validation"
            raise Diverged(epoch, module.num_update, divergence.far_above(losses, trainer.limit.limit))
        state = trainer.state(validated.averaged)
        epoch_metrics = {
            "lr": trainer.schedule.lr(module.num_update - 1),
            **train,
            "val": validated.metrics,
            "averaged": validated.averaged,
            "val_other": validated.other,
        }
        epoch_metrics = self.workers.of_first(epoch_metrics)
        self.record.finish_epoch(
            FinishedEpoch(epoch, module.num_update, epoch_metrics, state.arg_params, state.aux_params, state.states)
        )
        self.stopping.saved()

    def _stop(self, where: str) -> None:
        """Say that the run ends here; raise Interrupted for a signal, and for a time limit before the first epoch."""
        message = f"stopped by {self.stopping.reason} {where}; continue with `resume`"
        number = self.stopping.signal_number
        if number is not None:
            raise Interrupted(message, number)
        if not self.record.sidecar.epochs:
            raise TrainingError(message)
        self.progress.note(message)

    def _note_bad(self, bad: Sequence[BadImage]) -> None:
        for image in bad:
            self.bad.setdefault(image.path, image)

    def _result(self) -> TrainResult:
        sidecar = self.record.sidecar
        if sidecar.best_epoch is None:
            raise TrainingError(f"{self.config.prefix}: no epoch was run")
        bad = tuple(self.bad.values())
        for image in bad[:SHOWN_FAULTS]:
            self.progress.note(f"skipped, cannot be read: {image.path}: {image.reason}")
        if bad:
            self.progress.note(f"images skipped because they cannot be read: {len(bad):,}")
        rows = {row["epoch"]: row for row in history_rows(sidecar.epochs)}
        best = sidecar.best_epoch
        return TrainResult(self.config.prefix, best, rows[best], len(sidecar.epochs), sidecar.finished, bad)
