"""When a run has to save inside an epoch, and when it has to end before its last one."""

from __future__ import annotations

import signal
import time

from mxml.training.signals import StopRequest
from mxml.training.workers import Workers

_MINUTE = 60.0


class StopHere(Exception):
    """The run has to end in this epoch, after ``batch`` of its batches."""

    def __init__(self, batch: int):
        super().__init__(batch)
        self.batch = batch


class Stopping:
    """Signals, and the minutes of ``save_every`` and ``time_limit``, counted from when this is made; 0, None: never.

    Of several ``workers`` the first one's clock counts; ``look`` brings what it says to the others.
    """

    def __init__(self, stop: StopRequest | None, save_every: float, time_limit: float | None, workers: Workers):
        self._workers = workers
        self._agreed = False, False
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
        if self._workers.count > 1:
            return self._agreed[0]
        return self._time_is_up

    @property
    def reason(self) -> str:
        """Say what ends the run now; empty where nothing does."""
        if self.signal_number is not None:
            return signal.Signals(self.signal_number).name
        return f"its time limit of {self._time_limit:g} minutes" if self.out_of_time else ""

    @property
    def save_is_due(self) -> bool:
        """Say whether it is so long since ``saved`` that the run should save."""
        if self._workers.count > 1:
            return self._agreed[1]
        return self._save_is_due

    def look(self) -> None:
        """Agree with the other workers on what the clock says; they call this as often."""
        if self._workers.count > 1 and (self._save_every or self._time_limit is not None):
            here = self._workers.is_first
            out_of_time, save_is_due = self._workers.any(here and self._time_is_up, here and self._save_is_due)
            self._agreed = out_of_time, save_is_due

    def end_if_asked(self, batch: int, *, by_time: bool = True) -> None:
        """Look, and raise StopHere where the run has to end; not for its time limit unless ``by_time``."""
        self.look()
        if self.signal_number is not None or (by_time and self.out_of_time):
            raise StopHere(batch)

    @property
    def _time_is_up(self) -> bool:
        return self._time_limit is not None and time.monotonic() - self._begun >= _MINUTE * self._time_limit

    @property
    def _save_is_due(self) -> bool:
        return bool(self._save_every) and time.monotonic() - self._saved >= _MINUTE * self._save_every

    def saved(self) -> None:
        """Take note that the run has been saved, or that it has tried."""
        self._saved = time.monotonic()
