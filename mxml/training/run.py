"""One training run: bind, then epochs of steps, each followed by validation and a checkpoint."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Sequence

from mxml.data.batches import BadImage, Batches
from mxml.errors import SHOWN_FAULTS, Interrupted, OutOfTime, StorageError, TrainingError
from mxml.inference.feature_cache import FeatureCache
from mxml.model import symbols
from mxml.model.sidecar import Divergence, Sidecar
from mxml.progress import Progress
from mxml.runtime.types import Context
from mxml.text import counted
from mxml.training import chosen_loss, divergence, starting_point
from mxml.training.averaging import WeightAverage
from mxml.training.bound_module import BoundModule, frozen_parameters
from mxml.training.config import TrainConfig
from mxml.training.description import describe_run
from mxml.training.divergence import Diverged, LossLimit
from mxml.training.epoch_totals import EpochTotals
from mxml.training.features.head_fit import FittedHead, check_views, fit_head
from mxml.training.history import history_rows
from mxml.training.optimizers import OptimizerSettings, Schedule
from mxml.training.prefix import holds_a_run
from mxml.training.recipe import Recipe
from mxml.training.record import FinishedEpoch, RunRecord
from mxml.training.report import Callback, RunReport
from mxml.training.result import TrainResult
from mxml.training.run_batches import open_batches
from mxml.training.run_data import TrainData
from mxml.training.shared_run import all_bad_images, own_totals, sidecar_of_first, summed_totals
from mxml.training.signals import StopRequest
from mxml.training.starting_point import StartingPoint
from mxml.training.stopping import StopHere, Stopping
from mxml.training.trainer import Trainer
from mxml.training.validation import Validated, Validation, validation_metrics
from mxml.training.workers import ALONE, Workers


class Run:
    """What is fixed for a whole run, and its record as it grows.

    ``pretrained`` is where a new run begins; None for one that goes on from what is at the prefix. Of several
    ``workers`` each has one, and only the first writes files.
    """

    def __init__(
        self,
        config: TrainConfig,
        devices: Sequence[Context],
        data: TrainData,
        sidecar: Sidecar,
        pretrained: StartingPoint | None,
        progress: Progress,
        callbacks: Sequence[Callback],
        stop: StopRequest | None,
        workers: Workers = ALONE,
    ):
        self.config = config
        self.devices = devices
        self.data = data
        self.pretrained = pretrained
        self.progress = progress
        # The others tell nobody.
        told = config if workers.is_first else dataclasses.replace(config, tensorboard=None)
        self.report = RunReport(told, progress, callbacks)
        self.record = RunRecord(config, sidecar, progress, self.report, workers.is_first)
        self.workers = workers
        self.stop = stop
        self.stopping = Stopping(workers.agreed(stop), config.save_every, config.time_limit, workers)
        self.bad: dict[str, BadImage] = {}

    def go(self) -> TrainResult:
        """Run every epoch that is left."""
        config, preprocess = self.config, self.record.sidecar.preprocess
        trained_on = chosen_loss.other_than_validation(config)
        if trained_on:
            self.progress.note(
                f"the loss in training ({trained_on}) and the val loss (cross-entropy) are not on one scale"
            )
        with open_batches(config, self.data, preprocess, self.workers) as (train_batches, parts), self.report:
            validation = Validation(config, parts, self.data.val, self.stopping, self.progress, self.report)
            try:
                while not self._reaches_its_end(train_batches, validation):
                    # What is at the prefix now belongs to this run, and the next try begins there.
                    self.pretrained = None
            except (TrainingError, Interrupted):
                self.record.show_history()
                raise
            self.record.show_history()
        if self.record.sidecar.finished:
            self.workers.by_first(lambda: describe_run(config, self.data, self.devices, self.progress, self.stop))
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
        self.record.sidecar = sidecar = sidecar_of_first(self.workers, self.record.sidecar)
        if divergence.has_ended(sidecar):
            raise divergence.ended(self.config, sidecar)
        lr = Recipe.of(self.config).lr
        self.progress.note(
            f"training diverged in epoch {entry.epoch}: {entry.what}; {divergence.goes_back_to(sidecar.epochs)}, with "
            f"`lr` {lr * entry.lr_factor:g} instead of {lr:g}"
        )
        return False

    def _run(self, batches: Batches, validation: Validation) -> None:
        config = self.config
        point = self._starting_point()
        self.workers.require_same({"network": point.symbol.tojson(), "place to start at": [point.epoch, point.batch]})
        # A head that is fitted may be fine-tuned from, with the same settings.
        frozen_parameters(tuple(point.arg_params), config.freeze)
        module = None if config.method == "features" else self._bind(point, batches)
        fits_head = config.fits_head and point.epoch == config.epoch
        if fits_head:
            check_views(point, config, self.record.sidecar.preprocess)
        # Until there is a first checkpoint nothing replaces the run that is there.
        replaces = self.pretrained is not None and holds_a_run(config.prefix)
        if replaces:
            self.progress.note(f"{config.prefix}: the run there stays until this one saves its first checkpoint")
        self._begin(point, waits=replaces)
        if fits_head:
            point = self._finish_head(self._fit_head(point))
            if module is not None:
                module.set_parameters(point.arg_params, point.aux_params)
        elif point.epoch >= config.last_epoch or self.record.out_of_patience():
            self._note_nothing_left(point.epoch)
        if module is None:
            return
        trainer = self._trainer(module, point, batches)
        trained_with = symbols.loss_of(point.symbol)
        before = own_totals(self.workers, point.totals)
        epoch, first_batch, totals = point.epoch, point.batch, EpochTotals(*trained_with, before)
        while epoch < config.last_epoch and not self.record.out_of_patience():
            epoch += 1
            try:
                trainer.train(batches, epoch, f"epoch {epoch}/{config.last_epoch}", first_batch, totals)
                self._note_bad(all_bad_images(self.workers, batches.bad))
                has_stepped = first_batch < batches.num_batches
                validated = validation.validate(trainer, epoch, batches.num_batches, has_stepped=has_stepped)
            except StopHere as here:
                try:
                    trainer.save(epoch, here.batch, totals)
                except StorageError as error:
                    raise self.record.not_saved(error) from error
                self._stop(f"in epoch {epoch} after batch {here.batch}, and saved")
                return
            self._note_bad(validated.bad)
            self._finish_epoch(trainer, epoch, totals, validated)
            first_batch, totals = 0, EpochTotals(*trained_with)
            if self.stopping.out_of_time and not self.record.sidecar.finished:
                self._stop(f"after epoch {epoch}")
                return

    def _starting_point(self) -> StartingPoint:
        point = self.pretrained
        if point is None:
            point = starting_point.of_run(self.config, self.record.sidecar, self.progress)
        if point is None:
            point = starting_point.of_new_run(self.config, len(self.data.label_names))
        self.progress.note(point.message)
        return point

    def _bind(self, point: StartingPoint, batches: Batches) -> BoundModule:
        config, recipe = self.config, Recipe.of(self.config)
        module = BoundModule(
            point.symbol,
            point.arg_params,
            point.aux_params,
            devices=self.devices,
            provide_data=batches.provide_data,
            provide_label=batches.provide_label,
            optimizer=OptimizerSettings(
                recipe.optimizer,
                recipe.mom,
                recipe.wd,
                config.clip_gradient,
                dict.fromkeys(point.head_names, recipe.head_lr_mult),
            ),
            freeze=(*config.freeze, *map(glob.escape, point.statistics[:2])),
            # The head was fitted to what the network computes with them.
            keeps_statistics=config.method == "lp-ft",
            kv_store=config.kv_store or "device",
            seed=config.seed,
            num_update=point.num_update,
            dtype=config.dtype,
            workers=self.workers,
        )
        if point.states is not None:
            module.restore(point.states, point.states_path)
        return module

    def _note_nothing_left(self, epoch: int) -> None:
        config = self.config
        if config.method == "features":
            how_to_go_on = "its head is fitted; fine-tune it with `method` lp-ft"
        elif epoch >= config.last_epoch:
            how_to_go_on = (
                f"it has {counted(epoch - config.epoch, 'epoch')}; raise `num_epoch`, which is {config.num_epoch}"
            )
        else:
            how_to_go_on = f"no epoch was better for as many as `patience` says; raise it, it is {config.patience}"
        self.progress.note(f"nothing left to train: {how_to_go_on}")

    def _begin(self, point: StartingPoint, waits: bool) -> None:
        """Write and say that the run begins: not before, since one that is refused should leave all as it was.

        One that ``waits`` replaces what is at the prefix with its first checkpoint: see ``RunRecord.begin``.
        """
        self.record.begin(point, self.pretrained is not None, waits)
        images = int((point.totals or {}).get("images", 0))
        self.report.begin(self.record.sidecar, point.epoch, images, point.num_update)
        if not self.record.waits:
            self.report.begin_files()

    def _fit_head(self, point: StartingPoint) -> FittedHead:
        """Fit the head to feature vectors."""
        with FeatureCache(self.record.files.features if self.workers.is_first else None, self.progress) as cache:
            try:
                return fit_head(
                    point,
                    self.config,
                    self.record.sidecar.preprocess,
                    self.data,
                    self.devices,
                    cache,
                    self.progress,
                    self._stop_if_asked,
                    # No step is kept: a run with a short time limit would never get past the fit.
                    lambda: self.stopping.end_if_asked(0, by_time=False),
                    self.workers,
                )
            except StopHere:
                kept = "are kept" if cache.is_usable else "could not be kept, and all have to be computed in one run"
                where = f"before the head was fitted; the feature vectors so far {kept}"
                raise self._stopped(where, not self.record.waits, cache.is_usable) from None

    def _finish_head(self, fitted: FittedHead) -> StartingPoint:
        """Save the fitted head: the run's first epoch, from which the others fine-tune."""
        config = self.config
        self._note_bad((*fitted.bad, *fitted.scores.bad))
        if fitted.cross_validated is not None:
            self.progress.note(
                f"head fitted to {fitted.size:,} features: mAP {fitted.cross_validated:.4f} cross-validated on the "
                "training images, the mean over the folds"
            )
        epoch = config.epoch + 1
        found = validation_metrics(fitted.scores, self.data.val.labels)
        epoch_metrics = self.workers.of_first(
            {"lr": None, **fitted.metrics, "val": found, "averaged": False, "val_other": None}
        )
        point = dataclasses.replace(fitted.point, epoch=epoch)
        self.record.finish_epoch(FinishedEpoch(epoch, 0, epoch_metrics, point.arg_params, point.aux_params, None))
        self.stopping.saved()
        self.report.begin(self.record.sidecar, epoch, 0, 0)
        return point

    def _stop_if_asked(self) -> None:
        self.workers.vote(True)
        self.stopping.end_if_asked(0)

    def _trainer(self, module: BoundModule, point: StartingPoint, batches: Batches) -> Trainer:
        config, recipe = self.config, Recipe.of(self.config)
        schedule = Schedule(
            config.lr_schedule,
            recipe.lr * divergence.lr_factor(self.record.sidecar.diverged),
            config.num_epoch - config.epoch - config.fits_head,
            batches.num_batches,
            # Counted with the epoch that fitted the head, which took no steps.
            tuple(epoch - config.fits_head for epoch in config.lr_steps),
            config.lr_factor,
            recipe.warmup_epochs,
            config.lr_decay,
        )
        return Trainer(
            module,
            WeightAverage(module, config.ema, point.average) if config.ema else None,
            schedule,
            LossLimit(*symbols.loss_of(point.symbol), self.data.train.labels),
            self.data.train,
            self.record,
            self.stopping,
            self.progress,
            self.report,
        )

    def _finish_epoch(self, trainer: Trainer, epoch: int, totals: EpochTotals, validated: Validated) -> None:
        totals.sums = summed_totals(self.workers, totals.sums)
        module, train = trainer.module, totals.metrics()
        val_loss = self.workers.of_first(validated.loss)
        if trainer.limit.is_far_above(train["train_loss"], val_loss):
            losses = f"the loss is {train['train_loss']:.3g} in training and {val_loss:.3g} in validation"
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
        error = self._stopped(where)
        if isinstance(error, Interrupted) or not self.record.sidecar.epochs:
            raise error
        self.progress.note(str(error))

    def _stopped(self, where: str, has_begun: bool = True, is_kept: bool = True) -> Interrupted | TrainingError:
        how_to_go_on = "continue with `resume`" if has_begun else "to go on, start it again as before"
        message = f"stopped by {self.stopping.reason} {where}; {how_to_go_on}"
        number = self.stopping.signal_number
        if number is not None:
            return Interrupted(message, number, has_begun)
        return OutOfTime(message) if has_begun and is_kept else TrainingError(message)

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
        rows = {row["epoch"]: row for row in history_rows(sidecar.epochs, sidecar.label_names)}
        best = sidecar.best_epoch
        return TrainResult(self.config.prefix, best, rows[best], len(sidecar.epochs), sidecar.finished, bad)
