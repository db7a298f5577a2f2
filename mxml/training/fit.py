"""Fine-tuning: read, check, bind, then epochs of steps, each followed by validation and a checkpoint."""

from __future__ import annotations

import dataclasses
import os
import platform
import shlex
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mxml import atomic
from mxml.data.batches import BadImage, Batches
from mxml.data.image_sources import ImageFiles
from mxml.errors import CheckpointError, Interrupted, MxmlError, TrainingError
from mxml.images.transforms import Augment, Preprocess, preset
from mxml.inference import metrics
from mxml.inference.scores import Scores, collect
from mxml.inference.thresholds import DEFAULT_THRESHOLD
from mxml.model import checkpoint, symbols
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Epoch, Pause, Sidecar
from mxml.runtime.devices import parse_devices
from mxml.runtime.imports import load_mxnet
from mxml.runtime.threads import threads
from mxml.training import starting_point
from mxml.training.bound_module import BoundModule
from mxml.training.config import TrainConfig
from mxml.training.curves import plot_history
from mxml.training.history import best_epoch, history_rows, to_csv
from mxml.training.optimizers import OptimizerSettings, Schedule
from mxml.training.run_data import TrainData, open_data
from mxml.training.signals import StopRequest
from mxml.training.starting_point import StartingPoint

mx = load_mxnet()

NAMED_IMAGES = 8
SECONDS_BETWEEN_CURVES = 30


class Progress:
    """What a run tells while it goes: subclass it and override what is of interest. Every method does nothing here."""

    def note(self, text: str) -> None:
        """Take one line that a person should read."""

    def epoch_started(self, epoch: int, images: int, done: int) -> None:
        """Take the start of an epoch of ``images`` images, ``done`` of them done before a resume."""

    def step_ended(self, images: int, loss: float, lr: float) -> None:
        """Take one step's image count, mean loss and learning rate."""

    def validation_started(self, images: int) -> None:
        """Take the start of a validation pass."""

    def validation_step(self, images: int) -> None:
        """Take how many images more are validated."""

    def epoch_ended(self, figures: Mapping[str, Any], best: bool) -> None:
        """Take one row of the history, and whether it is the best so far."""


@dataclass(frozen=True)
class TrainResult:
    """Where a finished run's files are and which epoch is best, with its row of the history."""

    prefix: str
    best_epoch: int
    best: Mapping[str, Any]
    epochs: int
    bad: tuple[BadImage, ...]


class _Steps:
    """A progress that calls a function with the images of each step."""

    def __init__(self, step: Callable[[int], None]):
        self._step = step

    def start(self, total: int, what: str, done: int = 0) -> None:
        pass

    def advance(self, count: int = 1, detail: str = "") -> None:
        self._step(count)

    def note(self, text: str) -> None:
        pass


class _Totals:
    """Sums over the steps of an epoch, from which its training figures come."""

    def __init__(self, start: Mapping[str, float] | None = None):
        self.sums = {"loss": 0.0, "right": 0.0, "known": 0.0, "seconds": 0.0, "images": 0.0, **(start or {})}

    def add(self, logits: np.ndarray, labels: np.ndarray, images: int) -> float:
        """Add one batch and return its mean loss; softplus(x) - y x per known label, exact for any logit."""
        known = labels >= 0
        x, y = logits[known].astype(np.float64), labels[known].astype(np.float64)
        loss = float((np.logaddexp(0, x) - y * x).sum())
        self.sums["loss"] += loss
        self.sums["right"] += float(((x >= 0) == (y > 0.5)).sum())
        self.sums["known"] += x.size
        self.sums["images"] += images
        return loss / x.size if x.size else 0.0


def fit(
    config: TrainConfig,
    progress: Progress | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    stop: StopRequest | None = None,
) -> TrainResult:
    """Fine-tune as ``config`` says and leave a run's files under its prefix.

    ``resume`` goes on exactly where the run at the prefix stopped, and starts it if it never began; ``force`` replaces
    it. When ``stop`` has noted a signal, the current step ends, the run is saved, and Interrupted is raised. Raises an
    MxmlError for wrong lists, a model that does not fit, a foreign or damaged checkpoint, a loss that is not finite.
    """
    progress = progress or Progress()
    devices = parse_devices(config.device)
    if config.batch_size < len(devices):
        raise MxmlError(f"--batch-size {config.batch_size}: should be at least one image for each device")
    sidecar = checkpoint.read_sidecar(config.prefix) if resume else None
    begins = sidecar is None
    if begins:
        _check_room(config, force, resume)
        checkpoint.find_epoch(config.model, config.epoch)
    data = open_data(config, progress.note)
    if sidecar is None:
        sidecar = _new_sidecar(config, data)
    else:
        _check_same_data(sidecar, data, config.prefix)
        _note_other_versions(sidecar, progress)
        sidecar = dataclasses.replace(sidecar, config=config.to_dict(), data=data.sources)
    return _Run(config, devices, data, sidecar, begins, progress, stop).go()


class _Run:
    """One call of fit: what is fixed for the whole run, and its sidecar as it grows."""

    def __init__(
        self,
        config: TrainConfig,
        devices: Sequence[Any],
        data: TrainData,
        sidecar: Sidecar,
        begins: bool,
        progress: Progress,
        stop: StopRequest | None,
    ):
        self.config = config
        self.devices = devices
        self.data = data
        self.sidecar = sidecar
        self.begins = begins
        self.progress = progress
        self.stop = stop
        self.bad: dict[str, BadImage] = {}
        self.drawn = time.monotonic()

    def go(self) -> TrainResult:
        """Run every epoch that is left."""
        config = self.config
        common: dict[str, Any] = {
            "preprocess": self.sidecar.preprocess,
            "batch_size": config.batch_size,
            "threads": config.decode_threads,
            "cache_bytes": config.cache_mb << 19,
            "seed": config.seed,
        }
        augment = augment_of(config)
        with (
            Batches(
                ImageFiles(self.data.train),
                labels=self.data.train.labels,
                augment=augment,
                shuffle=True,
                bad_images="skip",
                max_bad_share=config.max_bad_share,
                **common,
            ) as train_batches,
            Batches(
                ImageFiles(self.data.val), labels=self.data.val.labels, bad_images="report", **common
            ) as val_batches,
        ):
            module, point = self._start(train_batches)
            epoch, first_batch, totals = point.epoch, point.batch, _Totals(point.totals)
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
                first_batch, totals = 0, _Totals()
        return self._result()

    def _start(self, batches: Batches) -> tuple[BoundModule, StartingPoint]:
        """Return a module, and where it goes on; a run that begins leaves its symbol and sidecar."""
        config, note = self.config, self.progress.note
        point = None if self.begins else starting_point.of_run(config, self.sidecar, note)
        begun = point is not None
        if point is None:
            point = starting_point.of_pretrained(config, len(self.data.label_names))
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
            kv_store=config.kv_store,
            seed=config.seed,
            num_update=point.num_update,
        )
        if point.states is not None:
            module.restore(point.states, point.states_path)
        epochs = tuple(entry for entry in self.sidecar.epochs if entry.epoch <= point.epoch)
        self.sidecar = dataclasses.replace(
            self.sidecar, epochs=epochs, best_epoch=best_epoch(epochs, config.best_by), pause=None, finished=False
        )
        if self.begins:
            _make_room(config.prefix)
        checkpoint.discard_leftovers(config.prefix)
        if not begun:
            stamp = checkpoint.save_symbol(config.prefix, symbols.plain_symbol(point.symbol))
            self.sidecar = dataclasses.replace(self.sidecar, symbol=stamp)
            checkpoint.save_sidecar(config.prefix, self.sidecar)
        note(point.account)
        return module, point

    def _train_epoch(
        self, module: BoundModule, batches: Batches, schedule: Schedule, epoch: int, first_batch: int, totals: _Totals
    ) -> None:
        batches.set_epoch(epoch, first_batch)
        self.progress.epoch_started(epoch, len(self.data.train), int(totals.sums["images"]))
        began = time.perf_counter()
        for number, batch in enumerate(batches, start=first_batch + 1):
            lr = schedule.lr(module.num_update)
            logits = module.step(batch, lr)
            images = len(batch.index) - batch.pad
            if not np.isfinite(logits).all():
                raise TrainingError(self._not_finite(epoch, number, batch.index[:images]))
            loss = totals.add(logits, batch.label[0].asnumpy(), images)
            self.progress.step_ended(images, loss, lr)
            now = time.perf_counter()
            totals.sums["seconds"] += now - began
            began = now
            self._save_and_stop(module, epoch, number, totals)
        module.sync()
        self._note_bad(batches.bad)

    def _validate(self, module: BoundModule, batches: Batches, epoch: int, num_batches: int, totals: _Totals) -> Scores:
        batches.set_epoch(0)
        size = len(self.data.val)
        self.progress.validation_started(size)

        def step(images: int) -> None:
            self.progress.validation_step(images)
            self._save_and_stop(module, epoch, num_batches, totals)

        scores = collect(module, batches, size, len(self.data.label_names), _Steps(step))
        if len(scores.bad) > self.config.max_bad_share * size:
            raise TrainingError(_too_many_bad(scores.bad, size, self.config.data_val, self.config.max_bad_share))
        self._note_bad(scores.bad)
        return scores

    def _finish_epoch(
        self, module: BoundModule, epoch: int, schedule: Schedule, totals: _Totals, scores: Scores
    ) -> None:
        readable = scores.readable
        judged = metrics.multilabel_metrics(
            scores.probabilities[readable], self.data.val.labels[readable], logits=scores.logits[readable]
        ).to_dict()
        sums = totals.sums
        epoch_metrics = {
            "lr": schedule.lr(module.num_update - 1),
            "train_loss": sums["loss"] / max(1.0, sums["known"]),
            "train_accuracy": sums["right"] / max(1.0, sums["known"]),
            "seconds": round(sums["seconds"], 3),
            "images_per_second": round(sums["images"] / max(1e-9, sums["seconds"]), 2),
            "val": judged,
        }
        prefix = self.config.prefix
        files = checkpoint.save_arrays(
            RunFiles(prefix).params(epoch),
            RunFiles(prefix).states(epoch),
            *module.parameters(),
            module.states(),
        )
        epochs = (*self.sidecar.epochs, Epoch(epoch, module.num_update, epoch_metrics, files))
        best = best_epoch(epochs, self.config.best_by)
        self.sidecar = dataclasses.replace(self.sidecar, epochs=epochs, best_epoch=best, pause=None)
        self.sidecar = dataclasses.replace(
            self.sidecar, finished=epoch >= self.config.num_epoch or self._out_of_patience()
        )
        rows = history_rows(epochs)
        atomic.write_text(RunFiles(prefix).history, to_csv(rows))
        # Drawing takes longer than an epoch of a small network does.
        if self.sidecar.finished or time.monotonic() - self.drawn > SECONDS_BETWEEN_CURVES:
            self._draw()
        checkpoint.save_sidecar(prefix, self.sidecar)
        checkpoint.discard_pause(prefix)
        self.progress.epoch_ended(rows[-1], best == epoch)

    def _draw(self) -> None:
        if self.sidecar.epochs:
            rows = history_rows(self.sidecar.epochs)
            plot_history(rows, RunFiles(self.config.prefix).curves, self.sidecar.best_epoch)
            self.drawn = time.monotonic()

    def _save_and_stop(self, module: BoundModule, epoch: int, batch: int, totals: _Totals) -> None:
        if self.stop is None or self.stop.number is None:
            return
        number = self.stop.number
        prefix = self.config.prefix
        files = checkpoint.save_arrays(
            RunFiles(prefix).paused_params,
            RunFiles(prefix).paused_states,
            *module.parameters(),
            {**module.states(), **module.statistics()},
        )
        self._draw()
        pause = Pause(epoch, batch, module.num_update, dict(totals.sums), files)
        checkpoint.save_sidecar(prefix, dataclasses.replace(self.sidecar, pause=pause))
        raise Interrupted(
            f"stopped by {signal.Signals(number).name} in epoch {epoch} after batch {batch}, and saved; "
            f"go on with: mxml train --prefix {shlex.quote(prefix)} --resume",
            number,
        )

    def _out_of_patience(self) -> bool:
        patience, epochs, best = self.config.patience, self.sidecar.epochs, self.sidecar.best_epoch
        return bool(patience and epochs and best is not None and epochs[-1].epoch - best >= patience)

    def _note_bad(self, bad: Sequence[BadImage]) -> None:
        for image in bad:
            self.bad.setdefault(image.path, image)

    def _not_finite(self, epoch: int, batch: int, positions: np.ndarray) -> str:
        names = [self.data.train.path(int(position)) for position in positions]
        more = f" and {len(names) - NAMED_IMAGES} more" if len(names) > NAMED_IMAGES else ""
        return (
            f"the loss is not finite in epoch {epoch}, batch {batch} (images {', '.join(names[:NAMED_IMAGES])}{more}); "
            "lower --lr or --head-lr-mult, or set --clip-gradient 1"
        )

    def _result(self) -> TrainResult:
        sidecar = self.sidecar
        if sidecar.best_epoch is None:
            raise TrainingError(f"{self.config.prefix}: no epoch was run")
        rows = {row["epoch"]: row for row in history_rows(sidecar.epochs)}
        return TrainResult(
            self.config.prefix,
            sidecar.best_epoch,
            rows[sidecar.best_epoch],
            len(sidecar.epochs),
            tuple(self.bad.values()),
        )


def preprocess_of(config: TrainConfig) -> Preprocess:
    """Return the preprocessing that ``config`` asks for: its preset with what it replaces."""
    base = preset(config.preset, config.image_shape[1:])
    changes: dict[str, Any] = {
        name: value
        for name, value in (("mean", config.mean), ("std", config.std), ("channels", config.channels))
        if value is not None
    }
    return dataclasses.replace(base, **changes)


def augment_of(config: TrainConfig) -> Augment:
    """Return the random changes that ``config`` asks for while training."""
    return Augment(
        rand_crop=config.rand_crop,
        rand_mirror=config.rand_mirror,
        rand_resized_crop=config.min_area,
        brightness=config.jitter,
        contrast=config.jitter,
        saturation=config.jitter,
    )


def _check_room(config: TrainConfig, force: bool, resume: bool) -> None:
    """Refuse to write over what is at the prefix unless told to; a symbol alone is a run killed as it began."""
    if os.path.abspath(config.prefix) == os.path.abspath(config.model):
        raise MxmlError(f"--prefix {config.prefix}: is the pretrained model itself; choose another prefix")
    taken = [path for path in (RunFiles(config.prefix).sidecar, RunFiles(config.prefix).symbol) if os.path.exists(path)]
    if taken and resume and RunFiles(config.prefix).epochs_on_disk():
        raise CheckpointError(
            f"{taken[0]}: has no sidecar of mxml beside it, so there is nothing to resume exactly; "
            "start from it with --model, under another --prefix"
        )
    if taken and not resume and not force:
        raise MxmlError(
            f"{taken[0]}: is there already; go on with --resume, replace it with --force, or choose another --prefix"
        )


def _make_room(prefix: str) -> None:
    """Remove the run that --force replaces, and make the prefix's folder.

    The last thing before a run begins: what keeps it from beginning should leave everything as it was.
    """
    if os.path.exists(RunFiles(prefix).sidecar):
        checkpoint.discard_run(prefix)
    folder = os.path.dirname(prefix)
    try:
        Path(folder or ".").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MxmlError(f"{folder}: cannot be made ({error.strerror}); choose another --prefix") from error


def _too_many_bad(bad: Sequence[BadImage], size: int, list_path: str, share: float) -> str:
    first = f"{bad[0].path}: {bad[0].reason}"
    return f"{list_path}: {len(bad):,} of {size:,} images cannot be read, more than {share:.0%}; the first: {first}"


def _new_sidecar(config: TrainConfig, data: TrainData) -> Sidecar:
    return Sidecar(
        label_names=data.label_names,
        preprocess=preprocess_of(config),
        thresholds=(DEFAULT_THRESHOLD,) * len(data.label_names),
        config=config.to_dict(),
        versions=_versions(),
        data=data.sources,
        best_by=config.best_by,
    )


def _versions() -> dict[str, str]:
    from mxml import __version__

    return {
        "mxml": __version__,
        "mxnet": mx.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "threads": str(threads()[0]),
    }


def _note_other_versions(sidecar: Sidecar, progress: Progress) -> None:
    """Tell what may keep a resumed run from ending bit for bit as it would have."""
    now = _versions()
    for name in ("mxnet", "threads"):
        if name in sidecar.versions and sidecar.versions[name] != now[name]:
            progress.note(
                f"the run began with {name} {sidecar.versions[name]} and goes on with {now[name]}: its parameters will "
                "differ by rounding"
            )


def _check_same_data(sidecar: Sidecar, data: TrainData, prefix: str) -> None:
    for name, source in data.sources.items():
        before = sidecar.data.get(name)
        if before is not None and before.sha256 != source.sha256:
            raise CheckpointError(
                f"{source.path}: has changed since the run at {prefix} began, so it cannot be resumed exactly; "
                "start a new run from its last epoch with --model"
            )
    if sidecar.label_names != data.label_names:
        raise CheckpointError(f"{RunFiles(prefix).sidecar}: its label names are not those of the lists")
