"""What the files of a run are called: everything that a training run leaves lies under its prefix."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_FILE = re.compile(
    r"(?P<prefix>.*?[^/])(?:-symbol\.json|-(?P<epoch>[0-9]{4,7})\.(?:params|states)|-history\.csv|-curves\.png|\.json)"
)


@dataclass(frozen=True)
class RunFiles:
    """The names of a run's files. ``prefix`` is a path without an ending, such as ``models/clothes``."""

    prefix: str

    @classmethod
    def parse(cls, text: str) -> tuple[RunFiles, int | None]:
        """Take a prefix, or one of its files as people type it by habit, and return the run and the epoch named.

        ``model-symbol.json`` and ``model.json`` stand for ``model``, ``model-0018.params`` for its epoch 18. A prefix
        that has a symbol is taken as it is, whatever it ends in.
        """
        match = _FILE.fullmatch(text)
        if match is None or os.path.exists(cls(text).symbol):
            return cls(text), None
        return cls(match["prefix"]), None if match["epoch"] is None else int(match["epoch"])

    @property
    def folder(self) -> str:
        """Return the folder of the prefix; an empty text for the working directory."""
        return os.path.dirname(self.prefix)

    @property
    def symbol(self) -> str:
        """Return ``PREFIX-symbol.json``."""
        return f"{self.prefix}-symbol.json"

    @property
    def sidecar(self) -> str:
        """Return ``PREFIX.json``."""
        return f"{self.prefix}.json"

    @property
    def history(self) -> str:
        """Return ``PREFIX-history.csv``."""
        return f"{self.prefix}-history.csv"

    @property
    def curves(self) -> str:
        """Return ``PREFIX-curves.png``."""
        return f"{self.prefix}-curves.png"

    @property
    def lock(self) -> str:
        """Return ``PREFIX.lock``, which a run at work holds."""
        return f"{self.prefix}.lock"

    @property
    def log(self) -> str:
        """Return ``train.log`` in the prefix's folder, where the original script has it."""
        return os.path.join(self.folder, "train.log")

    @property
    def paused_params(self) -> str:
        """Return ``PREFIX-paused.params``."""
        return f"{self.prefix}-paused.params"

    @property
    def paused_states(self) -> str:
        """Return ``PREFIX-paused.states``."""
        return f"{self.prefix}-paused.states"

    def params(self, epoch: int) -> str:
        """Return ``PREFIX-0007.params`` for epoch 7."""
        return f"{self.prefix}-{epoch:04d}.params"

    def states(self, epoch: int) -> str:
        """Return ``PREFIX-0007.states`` for epoch 7."""
        return f"{self.prefix}-{epoch:04d}.states"

    def epochs_on_disk(self) -> list[int]:
        """List the epochs that have a ``PREFIX-NNNN.params`` file, in ascending order."""
        pattern = re.compile(re.escape(os.path.basename(self.prefix)) + r"-(\d{4,})\.params")
        try:
            entries = os.listdir(self.folder or ".")
        except OSError:
            return []
        return sorted(int(match.group(1)) for match in map(pattern.fullmatch, entries) if match)

    def leftovers(self) -> list[str]:
        """List the temporary files that a process killed while it wrote has left."""
        ending = r"(-symbol\.json|\.json|-(\d{4,}|paused)\.(params|states)|-history\.csv|-curves\.png)"
        pattern = re.compile(rf"\.{re.escape(os.path.basename(self.prefix))}{ending}\.\w+\.tmp")
        entries = filter(pattern.fullmatch, os.listdir(self.folder or "."))
        return [os.path.join(self.folder, entry) for entry in entries]
