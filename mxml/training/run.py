"""One training run: bind, then epochs of steps, each followed by validation and a checkpoint."""

from __future__ import annotations

import dataclasses
import glob
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.data.batches import BadImage, Batches
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles
from mxml.errors import SHOWN_FAULTS, Interrupted, NotFiniteError, TrainingError
from mxml.inference import metrics
from mxml.inference.scores import Scores, collect
from mxml.model import symbols
from mxml.model.sidecar import Pause, Sidecar
from mxml.progress import ConsoleProgress, Progress
from mxml.runtime.types import Context
from mxml.training import divergence, saving, starting_point
from mxml.training.bound_module import BoundModule
from mxml.training.config import TrainConfig
from mxml.training.epoch_totals import EpochTotals
from mxml.training.features.cache import FeatureCache
from mxml.training.features.head_fit import fit_head
from mxml.training.history import history_rows
from mxml.training.optimizers import OptimizerSettings, Schedule
from mxml.training.recipe import Recipe
from mxml.training.record import Callback, FinishedEpoch, RunRecord
from mxml.training.run_data import TrainData, augment_of, cache_bytes, mixing_of
from mxml.training.signals import StopRequest
from mxml.training.starting_point import StartingPoint


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
    """What is fixed for a whole run, and its record as it grows.

    ``pretrained`` is where a new run begins; None for one that goes on from what is at the prefix.
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
    ):
        self.config = config
        self.devices = devices
        self.data = data
        self.pretrained = pretrained
        self.progress = progress
        self.record = RunRecord(config, sidecar, progress, callbacks)
        self.stop = stop
        self.bad: dict[str, BadImage] = {}

    def go(self) -> TrainResult:
        """Run every epoch that is left."""
        config = self.config
        common: dict[str, Any] = {
            "preprocess": self.record.sidecar.preprocess,
            "batch_size": config.batch_size,
            "threads": config.decode_threads,
            "seed": config.seed,
        }
        train_cache, val_cache = cache_bytes(config, self.data)
        with (
            Batches(
                ImageFiles(self.data.train),
                labels=self.data.train.labels,
                augment=augment_of(config),
                mixing=mixing_of(config),
                shuffle=True,
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
            point = self._starting_point()
            module = self._bind(point, train_batches) if config.method != "features" else None
            # Not before: a run that is refused should leave everything as it was.
            self.record.begin(point, self.pretrained is not None)
            if isinstance(self.progress, ConsoleProgress):
                self.progress.begin_log()
            if config.fits_head and point.epoch == config.epoch:
                point = self._fit_head(point)
                if module is not None:
                    module.set_parameters(point.arg_params, point.aux_params)
            if module is None:
                return self._result()
            trained_with = symbols.loss_of(point.symbol)
            epoch, first_batch, totals = point.epoch, point.batch, EpochTotals(*trained_with, point.totals)
            recipe = Recipe.of(config)
            schedule = Schedule(
                config.lr_schedule,
                recipe.lr,
                config.num_epoch - config.epoch - config.fits_head,
                train_batches.num_batches,
                config.lr_steps,
                config.lr_factor,
                recipe.warmup_epochs,
                config.lr_decay,
            )
            while epoch < config.last_epoch and not self.record.out_of_patience():
                epoch += 1
                self._train_epoch(module, train_batches, schedule, epoch, first_batch, totals)
                scores = self._validate(module, val_batches, epoch, train_batches.num_batches, totals)
                self._finish_epoch(module, epoch, schedule, totals, scores)
                first_batch, totals = 0, EpochTotals(*trained_with)
        return self._result()

    def _starting_point(self) -> StartingPoint:
        point = self.pretrained or starting_point.of_run(self.config, self.record.sidecar, self.progress)
        if point is None:
            point = starting_point.of_new_run(self.config, len(self.data.label_names))
        self.progress.note(point.message)
        return point

    def _fit_head(self, point: StartingPoint) -> StartingPoint:
        """Fit the head to feature vectors: the run's first epoch, from which the others fine-tune."""
        config = self.config
        with FeatureCache(self.record.files.features, self.progress) as cache:
            fitted = fit_head(
                point,
                config,
                self.record.sidecar.preprocess,
                self.data,
                self.devices,
                cache,
                self.progress,
                self._stop_before_head,
            )
        self._note_bad((*fitted.bad, *fitted.scores.bad))
        if fitted.cross_validated is not None:
            self.progress.note(
                f"head fitted to {fitted.size:,} features: mAP {fitted.cross_validated:.4f} cross-validated on the "
                "training images"
            )
        epoch = config.epoch + 1
        self.record.finish_epoch(
            FinishedEpoch(
                epoch,
                0,
                {"lr": None, **fitted.metrics, "val": validation_metrics(fitted.scores, self.data.val)},
                fitted.point.arg_params,
                fitted.point.aux_params,
                None,
            )
        )
        return dataclasses.replace(fitted.point, epoch=epoch)

    def _stop_before_head(self) -> None:
        if self.stop is not None and self.stop.number is not None:
            raise Interrupted(
                f"stopped by {signal.Signals(self.stop.number).name} before the head is fitted; the feature vectors so "
                "far are kept; continue with `resume`",
                self.stop.number,
            )

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
            kv_store=config.kv_store,
            seed=config.seed,
            num_update=point.num_update,
        )
        if point.states is not None:
            module.restore(point.states, point.states_path)
        return module

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
            self.progress.advance(images, f"loss {loss:.4f}, lr {lr:.2g}")
            now = time.perf_counter()
            totals.sums["seconds"] += now - clock
            clock = now
            self._save_and_stop(module, epoch, number, totals, last)
        module.sync()
        if last is not None and module.not_finite():
            raise self._diverged(epoch, last)
        self._note_bad(batches.bad)

    def _validate(
        self, module: BoundModule, batches: Batches, epoch: int, num_batches: int, totals: EpochTotals
    ) -> Scores:
        batches.set_epoch(0)
        size = len(self.data.val)
        self.progress.start(size, "validation")

        def advance(images: int) -> None:
            self.progress.advance(images)
            self._save_and_stop(module, epoch, num_batches, totals)

        try:
            scores = collect(
                module, batches, size, len(self.data.label_names), advance, single_label=self.config.single_label
            )
        except NotFiniteError as error:
            # The parameters are finite, and have grown too large.
            raise self._diverged(epoch, None) from error
        if len(scores.bad) > self.config.max_bad_share * size:
            raise TrainingError(
                _too_many_bad(scores.bad, size, self.data.sources["val"].path, self.config.max_bad_share)
            )
        self._note_bad(scores.bad)
        return scores

    def _finish_epoch(
        self, module: BoundModule, epoch: int, schedule: Schedule, totals: EpochTotals, scores: Scores
    ) -> None:
        validation = validation_metrics(scores, self.data.val, single_label=self.config.single_label)
        arg_params, aux_params = module.parameters()
        self.record.finish_epoch(
            FinishedEpoch(
                epoch,
                module.num_update,
                {"lr": schedule.lr(module.num_update - 1), **totals.metrics(), "val": validation},
                arg_params,
                aux_params,
                module.states(),
            )
        )

    def _save_and_stop(
        self, module: BoundModule, epoch: int, batch: int, totals: EpochTotals, last: _Trained | None = None
    ) -> None:
        if self.stop is None or self.stop.number is None:
            return
        number = self.stop.number
        if last is not None and module.not_finite():
            raise self._diverged(epoch, last)
        files = saving.save_pause(module, self.config.prefix)
        self.record.pause(Pause(epoch, batch, module.num_update, dict(totals.sums), files))
        raise Interrupted(
            f"stopped by {signal.Signals(number).name} in epoch {epoch} after batch {batch}, and saved; "
            "continue with `resume`",
            number,
        )

    def _note_bad(self, bad: Sequence[BadImage]) -> None:
        for image in bad:
            self.bad.setdefault(image.path, image)

    def _diverged(self, epoch: int, trained: _Trained | None) -> TrainingError:
        """Return the error for a loss that is not finite, once the sidecar says so: resuming would repeat it."""
        self.record.diverged(epoch)
        if trained is None:
            return divergence.diverged(self.config, epoch)
        images = [self.data.train.path(int(position)) for position in trained.positions]
        return divergence.diverged(self.config, epoch, trained.batch, images)

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
        return TrainResult(self.config.prefix, sidecar.best_epoch, rows[sidecar.best_epoch], len(sidecar.epochs), bad)


def validation_metrics(scores: Scores, images: ImageList, *, single_label: bool = False) -> dict[str, Any]:
    """Return every metric of the scores of ``images``, by its name."""
    readable = scores.readable
    return metrics.multilabel_metrics(
        scores.probabilities[readable],
        images.labels[readable],
        logits=scores.logits[readable],
        single_label=single_label,
    ).to_dict()


def _too_many_bad(bad: Sequence[BadImage], size: int, list_path: str, max_share: float) -> str:
    first = f"{bad[0].path}: {bad[0].reason}"
    return f"{list_path}: {len(bad):,} of {size:,} images cannot be read, more than {max_share:.0%}; the first: {first}"
