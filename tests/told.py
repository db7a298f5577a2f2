"""Progresses for tests: what a task tells is kept, and a run can be asked to stop by it."""

from __future__ import annotations

import signal


class Told:
    """Keeps the notes; of each part its name, its images and how many of them were done before; and training steps."""

    def __init__(self):
        self.notes, self.parts, self.steps = [], [], 0

    def start(self, total, what, done=0):
        self.parts.append((what, total, done))

    def advance(self, count=1, detail=""):
        self.steps += bool(self.parts) and self.parts[-1][0].startswith("epoch")

    def note(self, text):
        self.notes.append(text)

    def about(self, text):
        """Return the notes that contain a text."""
        return [note for note in self.notes if text in note]


class StopAfter(Told):
    """Asks a run to stop once it has taken so many steps; with ``validating`` in the validation after them."""

    def __init__(self, stop, steps, validating=False):
        super().__init__()
        self.stop, self.after, self.validating = stop, steps, validating

    def advance(self, count=1, detail=""):
        super().advance(count, detail)
        if self.steps >= self.after and (self.parts[-1][0] == "validation") == self.validating:
            self.stop.number = signal.SIGTERM


class StopIn(Told):
    """Asks a run to stop at the first batch of a part, and keeps how many batches of it were done."""

    def __init__(self, stop, what):
        super().__init__()
        self.stop, self.what, self.batches = stop, what, 0

    def advance(self, count=1, detail=""):
        super().advance(count, detail)
        if self.parts[-1][0] == self.what:
            self.batches += 1
            self.stop.number = signal.SIGINT
