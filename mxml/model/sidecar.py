"""The sidecar ``PREFIX.json``: a run's settings, epochs and file stamps, as a value that is checked when read.

``docs/formats.md`` describes it field by field.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, Optional, Union

import msgspec

from mxml.data.label_names import label_name_faults
from mxml.errors import CheckpointError, MxmlError
from mxml.images.transforms import Preprocess
from mxml.model.field_bounds import Digest, EpochNumber, Number, Path, Share, Slot
from mxml.model.run_files import RunFiles
from mxml.model.tuning_record import TuningRecord
from mxml.text import path_from

FORMAT = "mxml-checkpoint"
VERSION = 1
MOST_BYTES = 64 << 20
# How often a run that diverges goes on, at a lower rate.
SURVIVED = 1

# Aliases, since Python 3.9 knows no `int | None` when msgspec asks for the types.
_Bytes = Optional[Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]]
_DigestOrNone = Optional[Digest]
_SumsOrNone = Optional[Annotated[str, msgspec.Meta(max_length=1 << 16, pattern="^([0-9a-f]{8})*$")]]
_TimeOrNone = Optional[Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]]


@dataclass(frozen=True)
class Stamp:
    """The size in bytes and the SHA-256 sum of one file, to recognise it."""

    size: Number
    sha256: Digest

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Stamp:
        """Read the file at ``path`` and stamp it. Raises OSError where it cannot be, or is a pipe or a device."""
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", os.fspath(path))
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

    ``files`` is empty once the run has removed them: not every epoch's parameters are kept.
    """

    epoch: EpochNumber
    num_update: Number
    metrics: Mapping[str, Any]
    files: Mapping[str, Stamp]


@dataclass(frozen=True)
class Pause:
    """A place inside an epoch: ``batch`` batches of ``epoch`` are done, ``totals`` sums them.

    ``slot`` says which of the two sets of files holds it.
    """

    epoch: EpochNumber
    batch: Number
    num_update: Number
    totals: Mapping[str, float]
    files: Mapping[str, Stamp]
    slot: Slot = 0


@dataclass(frozen=True)
class Divergence:
    """A loss that was not finite, or far above guessing, in ``epoch`` after ``step`` steps of the optimizer.

    ``what`` says it in words; ``lr_factor`` multiplies the learning rate of all steps after it.
    """

    epoch: EpochNumber
    step: Number
    what: str
    lr_factor: Share


@dataclass(frozen=True)
class UsedList:
    """A list that a run read: its file and image root (as a run from the working directory finds them), its stamp.

    ``image_bytes`` is the size of all its image files together, and ``images_sha256`` the sum of their names and
    contents. ``image_sums`` are those of single images, eight letters each, and ``images_changed_at`` is the latest
    time, in nanoseconds, at which one of the files was changed: see ``changed_images``. None where it was not recorded.
    """

    path: Path
    root: Path
    images: Number
    sha256: Digest
    image_bytes: _Bytes = None
    images_sha256: _DigestOrNone = None
    image_sums: _SumsOrNone = None
    images_changed_at: _TimeOrNone = None


@dataclass(frozen=True)
class Described:
    """A description of the training images: the epoch whose network it is for, and the stamp of its file.

    ``params`` is the SHA-256 sum of that epoch's parameters: an epoch may be trained again.
    """

    epoch: EpochNumber
    params: Digest
    file: Stamp


@dataclass(frozen=True)
class Sidecar:
    """All that later commands need to know about a run besides its symbol and parameters.

    ``config`` is what ``TrainConfig.to_dict`` returned: its paths are relative to the prefix's folder. ``diverged`` has
    one entry per time that the run diverged. ``tuning`` counts in place of ``thresholds`` for one epoch.
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
    diverged: tuple[Divergence, ...] = ()
    tuning: TuningRecord | None = None
    described: Described | None = None

    def params_sha256(self, epoch: int) -> str | None:
        """Return the sum of an epoch's parameters; None where the run has not kept them."""
        files = next((entry.files for entry in self.epochs if entry.epoch == epoch), {})
        return files["params"].sha256 if "params" in files else None

    def tuning_of(self, epoch: int) -> TuningRecord | None:
        """Return the tuning if it is of this epoch, and the run has not trained the epoch again since."""
        tuning = self.tuning
        if tuning is None or tuning.epoch != epoch or tuning.params_sha256 != self.params_sha256(epoch):
            return None
        return tuning

    @property
    def has_ended_diverged(self) -> bool:
        """Say whether the run has diverged once more than it survives."""
        return len(self.diverged) > SURVIVED

    def to_json(self, folder: str) -> str:
        """Return the sidecar's text; paths are written relative to ``folder``, the prefix's own."""
        value = {"format": FORMAT, "version": VERSION, **vars(self)}
        value["preprocess"] = self.preprocess.to_dict()
        value["data"] = {name: _parted(used, folder) for name, used in self.data.items()}
        if self.tuning is not None:
            path = os.path.relpath(self.tuning.list_path, folder or ".")
            value["tuning"] = dataclasses.replace(self.tuning, list_path=path)
        del value["epochs"]
        head = json.dumps(value, indent=1, allow_nan=False, default=dataclasses.asdict).removesuffix("\n}")
        # A line each: they are rewritten at every epoch, and Python writes indented JSON many times slower.
        joined = ",\n".join(
            f"  {json.dumps(vars(entry), allow_nan=False, default=dataclasses.asdict)}" for entry in self.epochs
        )
        return f'{head},\n "epochs": [\n{joined}\n ]\n}}\n'

    @classmethod
    def from_json(cls, text: str, folder: str) -> Sidecar:
        """Read ``to_json``'s text. Raises CheckpointError with the field that is wrong, without a path."""
        try:
            value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"is not JSON ({error})") from error
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise CheckpointError(f'is not a sidecar of mxml ("format" should be "{FORMAT}")')
        if value.get("version") != VERSION:
            raise CheckpointError(f"has version {value.get('version')!r}; this mxml reads {VERSION}: use a newer mxml")
        if "label_names" not in value and "labels" in value:
            raise CheckpointError("is of an mxml before its first release, whose fields had other names; train again")
        try:
            stored = msgspec.convert(value, _Stored)
        except (msgspec.ValidationError, RecursionError) as error:
            # A name in backquotes would be read as one of mxml's own settings.
            raise CheckpointError(f"has a wrong field: {error}".replace("`", '"')) from error
        stored.check()
        return cls(
            **{
                **{name: getattr(stored, name) for name in stored.__struct_fields__},
                "preprocess": Preprocess.from_dict(stored.preprocess),
                "data": {name: _joined(used, folder) for name, used in stored.data.items()},
                "diverged": _divergences(stored.diverged),
                "tuning": _found_from(stored.tuning, folder),
            }
        )


# Aliases, since Python 3.9 knows no `Stamp | None` when msgspec asks for the types.
_StampOrNone = Optional[Stamp]
_PauseOrNone = Optional[Pause]
_EpochOrNone = Optional[EpochNumber]
_TuningOrNone = Optional[TuningRecord]
_DescribedOrNone = Optional[Described]
# A number is the epoch in the sidecar of an mxml that did not survive it.
_Divergences = Union[tuple[Divergence, ...], EpochNumber, None]


class _Stored(msgspec.Struct):
    """The sidecar's fields as they are written, checked for their types and bounds."""

    label_names: tuple[str, ...]
    preprocess: dict[str, Any]
    thresholds: tuple[Share, ...]
    config: dict[str, Any]
    versions: dict[str, str]
    data: dict[str, UsedList]
    symbol: _StampOrNone
    best_by: str
    best_epoch: _EpochOrNone
    epochs: tuple[Epoch, ...]
    pause: _PauseOrNone
    finished: bool
    diverged: _Divergences = None
    tuning: _TuningOrNone = None
    described: _DescribedOrNone = None

    def check(self) -> None:
        """Raise CheckpointError where fields that are valid by themselves contradict each other."""
        if not self.label_names or len(self.thresholds) != len(self.label_names):
            raise CheckpointError(
                f"has {len(self.label_names)} label names and {len(self.thresholds)} thresholds; should be one each"
            )
        for position, fault in label_name_faults(self.label_names):
            raise CheckpointError(f"label_names, number {position}: {fault}")
        numbers = [epoch.epoch for epoch in self.epochs]
        if numbers != sorted(set(numbers)):
            raise CheckpointError("has epochs that are out of order or repeated")
        if self.tuning is not None:
            self.tuning.check(len(self.label_names))


def _divergences(stored: _Divergences) -> tuple[Divergence, ...]:
    if isinstance(stored, int):
        return (Divergence(stored, 0, "the loss is not finite", 0.1),)
    return stored or ()


def _found_from(tuning: TuningRecord | None, folder: str) -> TuningRecord | None:
    return tuning and dataclasses.replace(tuning, list_path=path_from(folder, tuning.list_path))


def _parted(used: UsedList, folder: str) -> UsedList:
    path, root = (os.path.relpath(name, folder or ".") for name in (used.path, used.root))
    return dataclasses.replace(used, path=path, root=root)


def _joined(used: UsedList, folder: str) -> UsedList:
    path, root = (path_from(folder, name) for name in (used.path, used.root))
    return dataclasses.replace(used, path=path, root=root)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(number: str) -> float:
    """Return a number; one that is too large would be infinite, which could not be written again."""
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number[:20]} is too large a number")
    return value


def read_sidecar(prefix: str) -> Sidecar | None:
    """Read ``PREFIX.json``; None where there is none. Raises CheckpointError naming the file and the field.

    Loads no MXNet, so that many can be read at once.
    """
    path = RunFiles(prefix).sidecar
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{path}: is not a regular file")
        if status.st_size > MOST_BYTES:
            raise CheckpointError(f"{path}: is larger than {MOST_BYTES >> 20} MiB, the most that mxml reads")
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    try:
        return Sidecar.from_json(text, os.path.dirname(prefix))
    except MxmlError as error:
        epochs = ", ".join(map(str, RunFiles(prefix).epochs_on_disk()))
        hint = f"; move it away to use the checkpoint without it (epochs on disk: {epochs})"
        raise CheckpointError(f"{path}: {error}{hint}") from error
