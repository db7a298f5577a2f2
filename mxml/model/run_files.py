"""The names of a run's files: everything that a training run writes is under its prefix."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_SINGLE = _SYMBOL, _SIDECAR, _HISTORY, _CURVES, _DESCRIBED = (
    "-symbol.json",
    ".json",
    "-history.csv",
    "-curves.png",
    "-described.params",
)
_PER_EPOCH = _PARAMS, _STATES = ".params", ".states"

_SINGLE_PATTERN, _PER_EPOCH_PATTERN = ("|".join(map(re.escape, endings)) for endings in (_SINGLE, _PER_EPOCH))
_FILE = re.compile(rf"(?P<prefix>.*?[^/])(?:{_SINGLE_PATTERN}|-(?P<epoch>[0-9]{{4,7}})(?:{_PER_EPOCH_PATTERN}))")


@dataclass(frozen=True)
class RunFiles:
    """The names of a run's files. ``prefix`` is a path without an ending, such as ``models/clothes``."""

    prefix: str

    @classmethod
    def parse(cls, text: str) -> tuple[RunFiles, int | None]:
        """Take a prefix, or one of its files, and return the run and the epoch that it names.

        ``model-symbol.json`` and ``model.json`` stand for ``model``, ``model-0018.params`` for its epoch 18. A prefix
        that has a symbol is taken as it is, whatever it ends in.
        """
        match = _FILE.fullmatch(text)
        if match is None or os.path.exists(cls(text).symbol):
            return cls(text), None
        return cls(match["prefix"]), None if match["epoch"] is None else int(match["epoch"])

    @staticmethod
    def prefixes_in(folder: str) -> list[str]:
        """List the prefixes, without their folder, that have a symbol in a folder. Raises OSError."""
        return [entry[: -len(_SYMBOL)] for entry in os.listdir(folder or ".") if entry.endswith(_SYMBOL)]

    @property
    def folder(self) -> str:
        """Return the folder of the prefix; an empty text for the working directory."""
        return os.path.dirname(self.prefix)

    @property
    def symbol(self) -> str:
        """Return ``PREFIX-symbol.json``."""
        return f"{self.prefix}{_SYMBOL}"

    @property
    def sidecar(self) -> str:
        """Return ``PREFIX.json``."""
        return f"{self.prefix}{_SIDECAR}"

    @property
    def history(self) -> str:
        """Return ``PREFIX-history.csv``."""
        return f"{self.prefix}{_HISTORY}"

    @property
    def curves(self) -> str:
        """Return ``PREFIX-curves.png``."""
        return f"{self.prefix}{_CURVES}"

    @property
    def described(self) -> str:
        """Return ``PREFIX-described.params``: what the features of the training images are like."""
        return f"{self.prefix}{_DESCRIBED}"

    @property
    def lock(self) -> str:
        """Return ``PREFIX.lock``, which a run at work holds."""
        return f"{self.prefix}.lock"

    @property
    def features(self) -> str:
        """Return ``features.sqlite`` in the prefix's folder: the feature vectors that all runs there share."""
        return os.path.join(self.folder, "features.sqlite")

    @property
    def lists(self) -> str:
        """Return ``PREFIX-lists``, the folder of the lists that the run made of its labelled images."""
        return f"{self.prefix}-lists"

    @property
    def next_lists(self) -> str:
        """Return ``PREFIX-lists/next``: where the lists of a run wait that is to replace the run at the prefix."""
        return os.path.join(self.lists, "next")

    @property
    def begun_lists(self) -> str:
        """Return ``PREFIX-lists/begun``: the same once that run has begun, until all of them are in their place."""
        return os.path.join(self.lists, "begun")

    @property
    def log(self) -> str:
        """Return ``train.log`` in the prefix's folder, where the original script has it."""
        return os.path.join(self.folder, "train.log")

    def paused(self, slot: int) -> dict[str, str]:
        """Return the files of a pause: ``PREFIX-paused.params`` and ``.states`` or, in slot 1, ``PREFIX-paused1.*``.

        One slot holds the last pause while the next is written into the other.
        """
        return {ending[1:]: f"{self.prefix}-paused{slot or ''}{ending}" for ending in _PER_EPOCH}

    def params(self, epoch: int) -> str:
        """Return ``PREFIX-0007.params`` for epoch 7."""
        return f"{self.prefix}-{epoch:04d}{_PARAMS}"

    def states(self, epoch: int) -> str:
        """Return ``PREFIX-0007.states`` for epoch 7."""
        return f"{self.prefix}-{epoch:04d}{_STATES}"

    def epochs_on_disk(self) -> list[int]:
        """List the epochs that have a ``PREFIX-NNNN.params`` file, in ascending order."""
        pattern = re.compile(re.escape(os.path.basename(self.prefix)) + r"-(\d{4,})" + re.escape(_PARAMS))
        try:
            entries = os.listdir(self.folder or ".")
        except OSError:
            return []
        return sorted(int(match.group(1)) for match in map(pattern.fullmatch, entries) if match)

    def leftovers(self) -> list[str]:
        """List the temporary files that a killed process has left."""
        ending = rf"(?:{_SINGLE_PATTERN}|-(?:\d{{4,}}|paused1?)(?:{_PER_EPOCH_PATTERN}))"
        pattern = re.compile(rf"\.{re.escape(os.path.basename(self.prefix))}{ending}\.\w+\.tmp")
        entries = filter(pattern.fullmatch, os.listdir(self.folder or "."))
        return [os.path.join(self.folder, entry) for entry in entries]
