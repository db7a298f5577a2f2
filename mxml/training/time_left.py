"""How long the rest of a run takes, learned from its steps and validations so far."""

from __future__ import annotations

import time
from collections import deque

from mxml.text import duration

# The rate is that of the last steps, since caches fill and the load of a machine changes.
_LAST_STEPS = 200
# The first step of a process also prepares its computations; its time says nothing about the others.
_WARM_UP_STEPS = 1
# From so many steps on an estimate is worth a line, and from so many seconds that are left.
_STEPS_OF_FIRST_ESTIMATE = 20
_SHORTEST_WORTH_SAYING = 10.0
# A step is a forward and a backward pass, which takes about twice as long as the forward pass alone.
_FORWARD_SHARE = 1 / 3


class TimeLeft:
    """Estimates the seconds until a run's last epoch is saved.

    ``train_images`` and ``val_images`` are the images of one epoch; ``epochs`` are left, the one that begins included,
    of whose images ``done`` were trained on before. The time of a run that ``may_end_earlier`` is said to be a limit.
    Call ``step`` after each step, ``validate`` after each batch of the validation, and ``end_epoch`` once an epoch is
    saved.

    Until the first epoch has ended, the time of a validation is taken from that of the steps.
    """

    def __init__(self, train_images: int, val_images: int, epochs: int, done: int = 0, may_end_earlier: bool = False):
        self._train_images = train_images
        self._val_images = val_images
        self._epochs = epochs
        self._may_end_earlier = may_end_earlier
        self._trained = done
        self._validated = 0
        self._steps: deque[tuple[int, float]] = deque(maxlen=_LAST_STEPS)
        self._seen_steps = 0
        self._last = time.monotonic()
        # When the steps of the current epoch ended, and how long the last epoch's validation and saving took.
        self._steps_ended = self._last
        self._after_steps: float | None = None
        self._said = False

    def step(self, images: int) -> None:
        """Count one step."""
        now = time.monotonic()
        if self._seen_steps >= _WARM_UP_STEPS:
            self._steps.append((images, now - self._last))
        self._seen_steps += 1
        self._last = self._steps_ended = now
        self._trained += images

    def validate(self, images: int) -> None:
        """Count one batch of the validation."""
        self._validated += images

    def end_epoch(self) -> None:
        """Count an epoch as done."""
        now = time.monotonic()
        self._after_steps = now - self._steps_ended
        self._last = self._steps_ended = now
        self._epochs -= 1
        self._trained = self._validated = 0

    def seconds(self) -> float | None:
        """Return the seconds that are left; None before they can be known."""
        images = sum(count for count, _ in self._steps)
        if not images:
            return None
        per_image = sum(seconds for _, seconds in self._steps) / images
        validation = self._after_steps
        if validation is None:
            validation = self._val_images * per_image * _FORWARD_SHARE
        steps = max(0, self._epochs * self._train_images - self._trained) * per_image
        # More than once over the list, where the averaged weights are validated beside the current ones.
        validated = min(1.0, self._validated / max(1, self._val_images))
        return steps + max(0.0, self._epochs - validated) * validation

    def of_run(self) -> str:
        """Return ``run 6 min``, for the line that shows a step, or an empty text before that can be known."""
        seconds = self.seconds()
        return "" if seconds is None else f"run {duration(seconds)}"

    def after_epoch(self) -> str:
        """Return ``6 min left``, for the line that ends an epoch, or an empty text at the end of the run."""
        seconds = self.seconds()
        if seconds is None or self._epochs <= 0:
            return ""
        return f"{'at most ' if self._may_end_earlier else ''}{duration(seconds)} left"

    def first_estimate(self) -> str:
        """Return, once, how long the rest of the run takes, as soon as enough steps have shown it.

        A run that ends within seconds gets none.
        """
        if self._said or self._seen_steps < _STEPS_OF_FIRST_ESTIMATE:
            return ""
        self._said = True
        seconds = self.seconds()
        if seconds is None or seconds < _SHORTEST_WORTH_SAYING:
            return ""
        return f"{'at most' if self._may_end_earlier else 'about'} {duration(seconds)} for the rest"
