"""The sidecar ``PREFIX.json``: a run's settings, epochs and file stamps, as a value that is checked when read.

``docs/formats.md`` describes it field by field.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mxml.errors import CheckpointError
from mxml.images.transforms import Preprocess

FORMAT = "mxml-checkpoint"
VERSION = 1


@dataclass(frozen=True)
class Stamp:
    """The size in bytes and the SHA-256 sum of one file, to know it again."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Stamp:
        """Read the file at ``path`` and stamp it."""
        digest = hashlib.sha256()
        size = 0
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
                size += len(block)
        return cls(size, digest.hexdigest())


@dataclass(frozen=True)
class Epoch:
    """One finished epoch: its number, the optimizer's step count after it, its metrics, and its files' stamps.

    ``files`` is empty where they were not kept.
    """

    epoch: int
    num_update: int
    metrics: Mapping[str, Any]
    files: Mapping[str, Stamp]


@dataclass(frozen=True)
class Pause:
    """A run that a signal ended inside an epoch: ``batch`` batches of ``epoch`` are done, ``totals`` sums them."""

    epoch: int
    batch: int
    num_update: int
    totals: Mapping[str, float]
    files: Mapping[str, Stamp]


@dataclass(frozen=True)
class UsedList:
    """A list that a run read: its file and image root (as a run from the working directory finds them), its stamp."""

    path: str
    root: str
    images: int
    sha256: str


@dataclass(frozen=True)
class Sidecar:
    """All that later commands need to know about a run besides its symbol and parameters.

    ``config`` is what ``TrainConfig.to_dict`` returned: its paths are relative to the prefix's folder. ``diverged`` is
    the epoch in which the loss was not finite.
    """

    label_names: tuple[str, ...]
    preprocess: Preprocess
    thresholds: tuple[float, ...]
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    data: Mapping[str, UsedList]
    symbol: Stamp | None = None
    best_by: str = "mAP"
    best_epoch: int | None = None
    epochs: tuple[Epoch, ...] = ()
    pause: Pause | None = None
    finished: bool = False
    diverged: int | None = None

    def to_json(self, folder: str) -> str:
        """Return the sidecar's text; paths are written relative to ``folder``, the prefix's own."""
        value = dataclasses.asdict(self)
        value["preprocess"] = self.preprocess.to_dict()
        for source in value["data"].values():
            source["path"] = os.path.relpath(source["path"], folder or ".")
            source["root"] = os.path.relpath(source["root"], folder or ".")
        return json.dumps({"format": FORMAT, "version": VERSION, **value}, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, folder: str) -> Sidecar:
        """Read ``to_json``'s text. Raises CheckpointError with the field that is wrong, without a path."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"is not JSON ({error})") from error
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise CheckpointError(f'is not a sidecar of mxml ("format" should be "{FORMAT}")')
        if value.get("version") != VERSION:
            raise CheckpointError(f"has version {value.get('version')!r}; this mxml reads {VERSION}: use a newer mxml")
        fields = _Fields(value)
        label_names = tuple(fields.list_of("label_names", str))
        thresholds = tuple(float(number) for number in fields.list_of("thresholds", (int, float)))
        if not label_names or len(thresholds) != len(label_names):
            raise CheckpointError(
                f"has {len(label_names)} label names and {len(thresholds)} thresholds; should be one each"
            )
        pause = fields.optional("pause", dict)
        symbol = fields.optional("symbol", dict)
        return cls(
            label_names=label_names,
            preprocess=Preprocess.from_dict(fields.get("preprocess", dict)),
            thresholds=thresholds,
            config=fields.get("config", dict),
            versions=fields.get("versions", dict),
            data={name: _used_list(name, entry, folder) for name, entry in fields.get("data", dict).items()},
            symbol=None if symbol is None else _stamp(_Fields(symbol, "symbol.")),
            best_by=fields.get("best_by", str),
            best_epoch=fields.optional("best_epoch", int),
            epochs=tuple(_epoch(entry) for entry in fields.list_of("epochs", dict)),
            pause=None if pause is None else _pause(pause),
            finished=fields.get("finished", bool),
            diverged=fields.optional("diverged", int),
        )


class _Fields:
    """Typed look-ups in a JSON object, each naming the field that is wrong."""

    def __init__(self, value: dict[str, Any], where: str = ""):
        self.value = value
        self.where = where

    def get(self, name: str, kind: Any) -> Any:
        found = self.value.get(name)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is int):
            raise CheckpointError(f'field "{self.where}{name}" is missing or of a wrong type')
        return found

    def optional(self, name: str, kind: Any) -> Any:
        return None if self.value.get(name) is None else self.get(name, kind)

    def list_of(self, name: str, kind: Any) -> list[Any]:
        found = self.get(name, list)
        if not all(isinstance(entry, kind) and not (isinstance(entry, bool)) for entry in found):
            raise CheckpointError(f'field "{self.where}{name}" holds an entry of a wrong type')
        return found


def _stamps(fields: _Fields) -> dict[str, Stamp]:
    stamps = {}
    for suffix, entry in fields.get("files", dict).items():
        if not isinstance(entry, dict):
            raise CheckpointError(f'field "{fields.where}files" holds an entry of a wrong type')
        inner = _Fields(entry, f"{fields.where}files.{suffix}.")
        stamps[suffix] = _stamp(inner)
    return stamps


def _stamp(fields: _Fields) -> Stamp:
    return Stamp(fields.get("size", int), fields.get("sha256", str))


def _epoch(entry: dict[str, Any]) -> Epoch:
    fields = _Fields(entry, "epochs.")
    return Epoch(fields.get("epoch", int), fields.get("num_update", int), fields.get("metrics", dict), _stamps(fields))


def _pause(entry: dict[str, Any]) -> Pause:
    fields = _Fields(entry, "pause.")
    return Pause(
        fields.get("epoch", int),
        fields.get("batch", int),
        fields.get("num_update", int),
        fields.get("totals", dict),
        _stamps(fields),
    )


def _used_list(name: str, entry: Any, folder: str) -> UsedList:
    if not isinstance(entry, dict):
        raise CheckpointError(f'field "data.{name}" is of a wrong type')
    fields = _Fields(entry, f"data.{name}.")
    return UsedList(
        path=os.path.normpath(os.path.join(folder, fields.get("path", str))),
        root=os.path.normpath(os.path.join(folder, fields.get("root", str))),
        images=fields.get("images", int),
        sha256=fields.get("sha256", str),
    )
