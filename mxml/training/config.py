"""What a training run is asked to do, as one value that is checked, written to the sidecar and read back."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mxml.errors import CheckpointError, MxmlError
from mxml.images.transforms import PRESETS

OPTIMIZERS = ("sgd", "nag", "adam", "adamw")
SCHEDULES = ("constant", "step", "cosine")
BEST_BY = ("mAP", "CF1", "OF1", "hamming", "loss")
LOWER_IS_BETTER = frozenset({"hamming", "loss"})

# What may differ when a run is resumed: none of it changes what is computed in the epochs still to come, though another
# device, as another number of MXNet's threads, rounds it differently.
FREE_ON_RESUME = frozenset({"device", "decode_threads", "cache_mb", "num_examples", "patience"})
PATH_SETTINGS = ("model", "prefix", "data_train", "image_train", "data_val", "image_val", "labels")


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one run. Names are the original script's where it has them.

    ``model`` is the pretrained prefix and ``epoch`` its epoch, which is also the first epoch's number minus one:
    epochs ``epoch + 1`` to ``num_epoch`` are run. ``image_shape`` is (channels, height, width). ``mean`` and ``std``
    are on the scale 0..255 and replace the preset's. ``lr_steps`` and ``warmup_epochs`` count epochs from the run's
    first. ``head_lr_mult`` multiplies the rate of the new head. ``freeze`` holds shell patterns of parameter names.
    """

    model: str
    prefix: str
    data_train: str
    image_train: str
    data_val: str
    image_val: str
    epoch: int = 0
    num_epoch: int = 10
    num_classes: int | None = None
    labels: str | None = None
    layer: str | None = None
    image_shape: tuple[int, int, int] = (3, 224, 224)
    preset: str = "original"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    channels: str | None = None
    rand_crop: bool = True
    rand_mirror: bool = True
    min_area: float | None = None
    jitter: float = 0.0
    batch_size: int = 32
    optimizer: str = "sgd"
    lr: float = 0.01
    mom: float = 0.9
    wd: float = 0.0001
    head_lr_mult: float = 10.0
    lr_schedule: str = "cosine"
    lr_steps: tuple[int, ...] = (5, 10)
    lr_factor: float = 0.1
    warmup_epochs: float = 0.0
    clip_gradient: float | None = None
    freeze: tuple[str, ...] = ()
    best_by: str = "mAP"
    patience: int | None = None
    seed: int = 0
    device: str = "cpu"
    kv_store: str = "device"
    decode_threads: int | None = None
    cache_mb: int = 0
    max_bad_share: float = 0.05
    allow_absolute: bool = False
    num_examples: int | None = None

    def __post_init__(self) -> None:
        """Raise MxmlError with the option and its bounds where a value makes no sense."""
        _check(self.num_epoch > self.epoch, "num-epoch", self.num_epoch, _first_epoch_hint(self.epoch))
        _check(self.epoch >= 0, "epoch", self.epoch, "0 or more")
        shape = self.image_shape
        good_shape = len(shape) == 3 and shape[0] == 3 and min(shape) > 0 and max(shape) <= 4096
        _check(good_shape, "image-shape", shape, "3,HEIGHT,WIDTH with sides up to 4096")
        _check(self.preset in PRESETS, "preset", self.preset, "one of " + ", ".join(PRESETS))
        _check(self.channels in (None, "rgb", "bgr"), "channels", self.channels, "rgb or bgr")
        _check(self.num_classes is None or self.num_classes > 0, "num-classes", self.num_classes, "1 or more")
        _check(0 < self.batch_size <= 65536, "batch-size", self.batch_size, "1 to 65536")
        _check(self.optimizer in OPTIMIZERS, "optimizer", self.optimizer, "one of " + ", ".join(OPTIMIZERS))
        _check(self.lr_schedule in SCHEDULES, "lr-schedule", self.lr_schedule, "one of " + ", ".join(SCHEDULES))
        _check(self.best_by in BEST_BY, "best-by", self.best_by, "one of " + ", ".join(BEST_BY))
        _check(_positive(self.lr), "lr", self.lr, "a positive number")
        _check(0 <= self.mom < 1, "mom", self.mom, "at least 0 and below 1")
        _check(_not_negative(self.wd), "wd", self.wd, "0 or more")
        _check(_not_negative(self.head_lr_mult), "head-lr-mult", self.head_lr_mult, "0 or more")
        _check(_positive(self.lr_factor), "lr-factor", self.lr_factor, "a positive number")
        _check(all(step > 0 for step in self.lr_steps), "lr-steps", self.lr_steps, "epochs, 1 or more each")
        _check(_not_negative(self.warmup_epochs), "warmup-epochs", self.warmup_epochs, "0 or more")
        clip = self.clip_gradient
        _check(clip is None or _positive(clip), "clip-gradient", clip, "a positive number")
        _check(self.min_area is None or 0 < self.min_area <= 1, "min-area", self.min_area, "above 0, at most 1")
        _check(0 <= self.jitter < 1, "jitter", self.jitter, "at least 0 and below 1")
        _check(self.patience is None or self.patience > 0, "patience", self.patience, "1 or more")
        _check(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2147483647")
        _check(0 <= self.max_bad_share <= 1, "max-bad-share", self.max_bad_share, "0 to 1")
        _check(self.cache_mb >= 0, "cache-mb", self.cache_mb, "0 or more")
        threads = self.decode_threads
        _check(threads is None or 0 < threads <= 256, "decode-threads", threads, "1 to 256")
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            good = numbers is None or (len(numbers) == 3 and all(map(math.isfinite, numbers)))
            _check(good, name, numbers, "three numbers, such as 123.68,116.28,103.53")
        _check(self.std is None or min(self.std) > 0, "std", self.std, "three positive numbers")
        if self.kv_store not in ("local", "device"):
            raise MxmlError(f"--kv-store {self.kv_store}: several machines are not supported yet; use device or local")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON holds them, with paths relative to the prefix's folder."""
        values = _with_paths(dataclasses.asdict(self), lambda path: os.path.relpath(path, self.folder or "."))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def folder(self) -> str:
        """Return the folder of the prefix, which may be an empty text."""
        return os.path.dirname(self.prefix)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], folder: str) -> TrainConfig:
        """Read ``to_dict``'s value; ``folder`` is where the prefix is now.

        Raises CheckpointError naming the first setting that is unknown or missing.
        """
        value = _with_paths(value, lambda path: os.path.normpath(os.path.join(folder, path)))
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = set(value) - set(fields)
        missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in value]
        if unknown or missing:
            raise CheckpointError(f"config: setting {(sorted(unknown) or missing)[0]!r} is unknown or missing")
        settings: dict[str, Any] = {
            name: tuple(entry) if isinstance(entry, list) else entry for name, entry in value.items()
        }
        try:
            return cls(**settings)
        except TypeError as error:
            raise CheckpointError(f"config: a setting has a wrong type ({error})") from error


def _with_paths(settings: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    return {
        name: change(value) if name in PATH_SETTINGS and isinstance(value, str) else value
        for name, value in settings.items()
    }


def resumed(saved: TrainConfig, given: Mapping[str, Any]) -> TrainConfig:
    """Return ``saved`` with what ``given`` may change on resuming: a resumed run goes on exactly as it was configured.

    ``num_epoch`` may be raised. Raises MxmlError that names a setting which differs and may not.
    """
    for name, value in given.items():
        before = getattr(saved, name)
        if name in FREE_ON_RESUME or value == before or name in PATH_SETTINGS:
            continue
        if name == "num_epoch" and value > before:
            continue
        option = name.replace("_", "-")
        raise MxmlError(
            f"--{option} {_shown(value)}: the run to resume has {_shown(before)}, and goes on exactly as it began; "
            "leave the option out, or start a new run under another --prefix"
        )
    changes = {
        name: value for name, value in given.items() if name in FREE_ON_RESUME or name in ("num_epoch", *PATH_SETTINGS)
    }
    return dataclasses.replace(saved, **changes)


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _not_negative(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _first_epoch_hint(epoch: int) -> str:
    if epoch == 0:
        return "1 or more"
    return f"above --epoch {epoch}, from which epochs are counted: --num-epoch {epoch + 10} runs ten"


def _shown(value: Any) -> str:
    if value in (None, ()):
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check(good: bool, option: str, value: Any, should: str) -> None:
    if not good:
        raise MxmlError(f"--{option} {_shown(value)}: should be {should}")
