"""When a run has to save inside an epoch, and when it has to end before its last one."""

from __future__ import annotations

import signal
import time

from mxml.training.signals import StopRequest

_MINUTE = 60.0


class StopHere(Exception):
    """The run has to end in this epoch, after ``batch`` of its batches."""

    def __init__(self, batch: int):
        super().__init__(batch)
        self.batch = batch


class Stopping:
    """Signals, and the minutes of ``save_every`` and ``time_limit``, counted from when this is made; 0, None: never."""

    def __init__(self, stop: StopRequest | None, save_every: float, time_limit: float | None):
        self._stop = stop
        self._save_every = save_every
        self._time_limit = time_limit
        self._begun = self._saved = time.monotonic()

    @property
    def signal_number(self) -> int | None:
        """Return the signal that asks the run to end."""
        return None if self._stop is None else self._stop.number

    @property
    def out_of_time(self) -> bool:
        """Say whether the time limit has passed."""
        return self._time_limit is not None and time.monotonic() - self._begun >= _MINUTE * self._time_limit

    @property
    def reason(self) -> str:
        """Say what ends the run now; empty where nothing does."""
        if self.signal_number is not None:
            return signal.Signals(self.signal_number).name
        return f"its time limit of {self._time_limit:g} minutes" if self.out_of_time else ""

    @property
    def save_is_due(self) -> bool:
        """Say whether it is so long since ``saved`` that the run should save."""
        return bool(self._save_every) and time.monotonic() - self._saved >= _MINUTE * self._save_every

    def saved(self) -> None:
        """Take note that the run has been saved, or that it has tried."""
        self._saved = time.monotonic()
