"""Progress of a run on stderr, and its log file."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import click
from tqdm import tqdm

from mxml.cli.image_bar import open_bar
from mxml.errors import MxmlError
from mxml.text import printable
from mxml.training.fit import Progress


class ConsoleProgress(Progress):
    """A bar an epoch with images per second and time left, a line an epoch, and all lines in a log with the time.

    The log at ``log_path`` is added to from the first epoch's start on: a run that never starts leaves none. Use it as
    a context manager: it closes the bar that an error left open, and logs the error.
    """

    def __init__(self, log_path: str, last_epoch: int):
        self._log_path = log_path
        self._started = False
        self._unwritten: list[str] = []
        self._last_epoch = last_epoch
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> ConsoleProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_bar()
        if error is not None:
            # A disk that is full may be the very error.
            with contextlib.suppress(MxmlError):
                self._log(f"{type(error).__name__}: {error}")

    def note(self, text: str) -> None:
        """Print and log one line."""
        text = printable(text)
        self._log(text)
        with tqdm.external_write_mode(file=sys.stderr):
            click.echo(text, err=True)

    def epoch_started(self, epoch: int, images: int, done: int) -> None:
        """Open the epoch's bar."""
        self._started = True
        self._write_log()
        self._open_bar(f"epoch {epoch}/{self._last_epoch}", images, done)

    def step_ended(self, images: int, loss: float, lr: float) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}, lr {lr:.2g}", refresh=False)
            self._bar.update(images)

    def validation_started(self, images: int) -> None:
        """Open the validation's bar."""
        self._open_bar("validation", images, 0)

    def validation_step(self, images: int) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update(images)

    def epoch_ended(self, figures: Mapping[str, Any], best: bool) -> None:
        """Print the epoch's line."""
        self._close_bar()
        shown = ", ".join(
            f"{label} {_figure(figures[name])}"
            for label, name in (
                ("loss", "train_loss"),
                ("val loss", "val_loss"),
                ("mAP", "mAP"),
                ("CF1", "CF1"),
                ("OF1", "OF1"),
                ("Hamming", "hamming"),
                ("acc", "element_accuracy"),
            )
        )
        rate = f"{figures['images_per_second']:.0f} img/s"
        self.note(f"epoch {figures['epoch']}/{self._last_epoch}: {shown}, {rate}" + (", best so far" if best else ""))

    def _open_bar(self, text: str, images: int, done: int) -> None:
        self._close_bar()
        self._bar = open_bar(text, images, done)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _log(self, text: str) -> None:
        self._unwritten.append(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        if self._started:
            self._write_log()

    def _write_log(self) -> None:
        try:
            with open(self._log_path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(self._unwritten)
        except OSError as error:
            raise MxmlError(f"{self._log_path}: cannot be written: {error.strerror}") from error
        self._unwritten.clear()


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
