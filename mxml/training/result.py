"""What a training run returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mxml.data.batches import BadImage


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
