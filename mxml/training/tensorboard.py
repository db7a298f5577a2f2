"""A run's numbers as TensorBoard event files.

Every scalar's step is the number of optimizer steps before it. So one number says what a resumed run will compute
again: its first event tells TensorBoard to drop all earlier ones from that step on.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mxml.errors import SetupError, StorageError
from mxml.progress import Progress
from mxml.training.history import label_columns

if TYPE_CHECKING:
    from tensorboardX import RecordWriter

# Steps between two points of the training loss and the learning rate, and seconds between two writes to disk.
STEPS_PER_POINT = 10
_SECONDS_PER_FLUSH = 30.0
# From this version on TensorBoard follows the start of a session.
_FILE_VERSION = "brain.Event:2"

_TAGS = {
    "train_loss": "epoch/train_loss",
    "train_accuracy": "epoch/train_accuracy",
    "images_per_second": "epoch/images_per_second",
    "val_loss": "validation/loss",
    "mAP": "validation/mAP",
    "CF1": "validation/CF1",
    "OF1": "validation/OF1",
    "hamming": "validation/hamming",
    "element_accuracy": "validation/element_accuracy",
}


class EventLog:
    """Writes a run's scalars to an event file below ``folder``; see ``run_folder``. Without a folder it does nothing.

    Use it as a context manager, and call ``begin`` before the first scalar. What is told before ``begin_file`` is
    written by that. A disk that is full costs the run nothing but its events: a note says so.

    ``require_events`` says before whether it can.
    """

    def __init__(self, folder: str | None, prefix: str, progress: Progress):
        self._folder = None if folder is None else run_folder(folder, prefix)
        self._progress = progress
        self._writer: RecordWriter | None = None
        # What was told before the file was begun; None afterwards.
        self._unwritten: list[bytes] | None = None if folder is None else []
        self._flushed = time.monotonic()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *error: object) -> None:
        self._try(lambda writer: writer.close())
        self._writer = None

    def begin(self, num_update: int, epochs: Mapping[int, Mapping[str, Any]]) -> None:
        """Go on after ``num_update`` steps; ``epochs`` are the rows of the history by the steps at their end.

        Call it again where a run goes back to an earlier state. An epoch that ended at this very step is written again:
        a run that was killed after it had saved the epoch may not have written its events.
        """
        if self._folder is None:
            return
        from tensorboardX.proto.event_pb2 import SessionLog

        self._write(num_update, session_log=SessionLog(status=SessionLog.START))
        if num_update in epochs:
            self.epoch(num_update, epochs[num_update])

    def begin_file(self) -> None:
        """Write events from now on, and first those that were told before. Raises StorageError."""
        if self._folder is None or self._unwritten is None:
            return
        self._writer = _open(self._folder)
        unwritten, self._unwritten = self._unwritten, None
        self._write(file_version=_FILE_VERSION)
        self._try(lambda writer: [writer.write(event) for event in unwritten])
        self._flush()

    def step(self, num_update: int, loss: float, lr: float) -> None:
        """Write the loss of a batch, before whose step ``num_update`` others were taken, and the learning rate."""
        if self._is_open and num_update % STEPS_PER_POINT == 0:
            self._scalars(num_update, {"train/loss": loss, "train/lr": lr})
            if time.monotonic() - self._flushed > _SECONDS_PER_FLUSH:
                self._flush()

    def epoch(self, num_update: int, row: Mapping[str, Any]) -> None:
        """Write a row of the history, of an epoch at whose end ``num_update`` steps were taken."""
        if self._is_open:
            tags = {**_TAGS, **{column: f"AP/{name}" for column, name in label_columns(row).items()}}
            self._scalars(num_update, {tag: row[column] for column, tag in tags.items() if row[column] is not None})
            self._flush()

    @property
    def _is_open(self) -> bool:
        """Whether an event that is told now is written, or kept to be written."""
        return self._writer is not None or self._unwritten is not None

    def _scalars(self, num_update: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        # Not add_scalar, which makes one tag of two labels that differ in a sign.
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(num_update, summary=summary)

    def _write(self, num_update: int = 0, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=num_update, **content).SerializeToString()
        if self._unwritten is not None:
            self._unwritten.append(event)
        self._try(lambda writer: writer.write(event))

    def _flush(self) -> None:
        self._try(lambda writer: writer.flush())
        self._flushed = time.monotonic()

    def _try(self, action: Callable[[RecordWriter], object]) -> None:
        if self._writer is None:
            return
        try:
            action(self._writer)
        except OSError as error:
            # What it still holds cannot be written either.
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None
            reason = error.strerror or error
            self._progress.note(f"{self._folder}: cannot be written: {reason}; the run goes on without TensorBoard")


def run_folder(folder: str, prefix: str) -> str:
    """Return the folder of a run's event files: below ``folder``, and called as the prefix is seen from beside it.

    So TensorBoard shows each run under its prefix, and no two runs share a folder.
    """
    folder, prefix = os.path.abspath(folder), os.path.abspath(prefix)
    beside = os.path.dirname(folder)
    name = os.path.relpath(prefix, beside)
    return os.path.join(folder, prefix.lstrip(os.sep) if name.startswith(os.pardir) else name)


def require_events(folder: str | None, prefix: str) -> None:
    """Raise where a run could not write events: SetupError without tensorboardX, StorageError for the folder."""
    if folder is not None:
        _require_library()
        _require_writable(run_folder(folder, prefix))


def _require_library() -> None:
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise SetupError(
            f"`tensorboard` needs the package tensorboardX ({error}): pip install 'tensorboardX>=2.6.2'"
        ) from error


def _require_writable(folder: str) -> None:
    """Refuse a folder in which nothing can be made, before anything of a run is written."""
    existing = folder
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing) or not os.access(existing, os.W_OK | os.X_OK):
        raise StorageError(f"{existing}: cannot hold folders or files; choose another `tensorboard`")


def _open(folder: str) -> RecordWriter:
    # Not tensorboardX's SummaryWriter, whose thread and queue a full disk would stop for ever.
    from tensorboardX import RecordWriter

    try:
        os.makedirs(folder, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        return RecordWriter(os.path.join(folder, f"events.out.tfevents.{time.time_ns()}.mxml"))
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror}; choose another `tensorboard`") from error
