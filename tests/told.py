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
    """Asks a run to stop once it has taken so many steps.

    With ``part`` it does so in a part of that name after them, once more than ``images`` of the part are done.
    """

    def __init__(self, stop, steps, part=None, images=0):
        super().__init__()
        self.stop, self.after, self.part, self.images = stop, steps, part, images
        self.done = 0

    def start(self, total, what, done=0):
        super().start(total, what, done)
        self.done = done

    def advance(self, count=1, detail=""):
        super().advance(count, detail)
        self.done += count
        name = self.parts[-1][0]
        is_there = name.startswith("epoch") if self.part is None else name == self.part and self.done > self.images
        if self.steps >= self.after and is_there:
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
