"""What a run tells while it works: the live line, the line per epoch, the callbacks and TensorBoard's events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mxml.model.sidecar import Sidecar
from mxml.progress import ConsoleProgress, Progress
from mxml.training.config import TrainConfig
from mxml.training.history import epoch_line, history_rows
from mxml.training.tensorboard import EventLog
from mxml.training.time_left import TimeLeft

Callback = Callable[[Mapping[str, Any]], None]
"""Takes the metrics of an epoch that has been saved, as one row of PREFIX-history.csv."""


class RunReport:
    """Tells how a run goes. Use it as a context manager, and call ``begin`` before the first step."""

    def __init__(self, config: TrainConfig, progress: Progress, callbacks: Sequence[Callback]):
        self._config = config
        self._progress = progress
        self._callbacks = callbacks
        self._events = EventLog(config.tensorboard, config.prefix, progress)

    def __enter__(self) -> RunReport:
        return self

    def __exit__(self, *error: object) -> None:
        self._events.__exit__(*error)

    def begin_files(self) -> None:
        """Write the log and the events from now on, and first what they have missed: until here nothing is written.

        A run that replaces another one must not spoil what that one told before it has taken its place.
        """
        self._events.begin_file()
        if isinstance(self._progress, ConsoleProgress):
            self._progress.begin_log()

    def begin(self, sidecar: Sidecar, epoch: int, images: int, num_update: int) -> None:
        """Say where the run goes on: after ``epoch``, ``images`` images of the next one and ``num_update`` steps.

        ``sidecar`` has the epochs before. Call it again where a run goes back to an earlier state.
        """
        train, val = sidecar.data["train"].images, sidecar.data["val"].images
        may_end_earlier = self._config.patience is not None
        self._left = TimeLeft(train, val, self._config.last_epoch - epoch, images, may_end_earlier)
        rows = history_rows(sidecar.epochs, sidecar.label_names)
        self._events.begin(num_update, {entry.num_update: row for entry, row in zip(sidecar.epochs, rows)})

    def step(self, num_update: int, images: int, loss: float, lr: float) -> None:
        """Tell of a step, before which ``num_update`` others were taken."""
        self._left.step(images)
        detail = [self._left.of_run(), f"loss {loss:.4f}", f"lr {lr:.2g}"]
        self._progress.advance(images, ", ".join(filter(None, detail)))
        self._events.step(num_update, loss, lr)
        estimate = self._left.first_estimate()
        if estimate:
            self._progress.note(estimate)

    def validate(self, images: int) -> None:
        """Tell of a batch of the validation."""
        self._left.validate(images)
        self._progress.advance(images, self._left.of_run())

    def finish_epoch(self, sidecar: Sidecar) -> None:
        """Tell of the newest epoch in the sidecar, which has been saved."""
        entry = sidecar.epochs[-1]
        row = history_rows([entry], sidecar.label_names)[0]
        self._left.end_epoch()
        left = "" if sidecar.finished else self._left.after_epoch()
        self._progress.note(epoch_line(row, self._config.last_epoch, sidecar.best_epoch == entry.epoch, left))
        self._events.epoch(entry.num_update, row)
        for callback in self._callbacks:
            callback(row)
