"""The settings of a training run, as one value that is checked, written to the sidecar and read back."""

# No postponed annotations here: settings_of reads the types of the fields, also on Python 3.9.

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from mxml.errors import CheckpointError, MxmlError, SettingError, as_text
from mxml.text import can_be_path, printable
from mxml.training.settings import Setting, at_least, below_one, between, positive, setting, settings_of, share

OPTIMIZERS = ("sgd", "nag", "adam", "adamw")
SCHEDULES = ("constant", "step", "cosine")
BEST_BY = ("mAP", "CF1", "OF1", "hamming", "loss")
LOWER_IS_BETTER = frozenset({"hamming", "loss"})
KEEP = ("best,last", "all")


def _known_preset(value: str) -> str:
    # The presets need NumPy, which the command line's help does without.
    from mxml.images.transforms import PRESETS

    return "" if value in PRESETS else "one of " + ", ".join(PRESETS)


def _network_input(shape: tuple[int, ...]) -> str:
    good = len(shape) == 3 and shape[0] == 3 and min(shape) > 0 and max(shape) <= 4096
    return "" if good else "3,HEIGHT,WIDTH with sides up to 4096"


def _three_numbers(values: tuple[float, ...]) -> str:
    from mxml.images.transforms import LARGEST_MEAN

    good = len(values) == 3 and max(map(abs, values)) <= LARGEST_MEAN
    return "" if good else f"three numbers up to {LARGEST_MEAN:,}, such as 123.68,116.28,103.53"


def _three_positive(values: tuple[float, ...]) -> str:
    from mxml.images.transforms import LARGEST_STD, SMALLEST_STD

    good = len(values) == 3 and min(values) >= SMALLEST_STD and max(values) <= LARGEST_STD
    return "" if good else f"three positive numbers, from {SMALLEST_STD:f} to {LARGEST_STD:,}"


def _epochs(values: tuple[int, ...]) -> str:
    return "" if all(value > 0 for value in values) else "epochs, 1 or more each"


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one training run, named as in the original script where it has them.

    Each field's metadata holds its help, its bounds, and whether a resumed run may change it; ``mxml train --help``
    shows them all.

    Parameters
    ----------
    prefix : str
        Path prefix of the run's files: ``PREFIX-0001.params`` and so on.
    model, epoch : str, int
        Prefix and epoch of the pretrained network. Epochs ``epoch + 1`` to ``num_epoch`` are run.
    data_train, data_val, image_train, image_val : str
        Training and validation list, and the folders that their paths are under: by default what ``lists.json``
        beside the list says, else ``images``.
    image_shape : tuple of int
        (channels, height, width) of the network's input.
    fit : {"crop", "letterbox", "stretch"}
        How images of another shape fill the input; see ``Preprocess``, and ``Augment`` for what ``rand_crop`` and
        ``min_area`` (its ``rand_resized_crop``) then do.
    mean, std : tuple of float, optional
        Three numbers each, from 0 to 255, which replace the preset's.
    lr_steps, warmup_epochs : tuple of int, float
        Numbers of epochs, counted from the beginning of the run.
    device : str, optional
        ``cpu``, ``gpu`` or ``gpu:0,1``; None takes a usable GPU, else the CPU.
    **settings
        All other settings: the options of ``mxml train``, with ``_`` for ``-``.

    Raises
    ------
    SettingError
        A setting has an invalid value; the message names the setting and its bounds.
    """

    prefix: str = setting(
        help="Path prefix of the run's files: PREFIX-0001.params and so on.", metavar="PREFIX", path=True
    )
    model: str = setting(
        help="Prefix of the pretrained network: PREFIX-symbol.json and PREFIX-0000.params.", metavar="PREFIX", path=True
    )
    data_train: str = setting(help="List of the training images.", metavar="LST", path=True)
    data_val: str = setting(help="List of the validation images.", metavar="LST", path=True)
    image_train: Optional[str] = setting(
        None,
        help="Image folder of the training list.",
        default_help="as lists.json beside the list says, else images",
        metavar="DIR",
        path=True,
    )
    image_val: Optional[str] = setting(
        None,
        help="Image folder of the validation list.",
        default_help="as lists.json beside the list says, else images",
        metavar="DIR",
        path=True,
    )
    epoch: int = setting(0, help="The pretrained network's epoch, the number in PREFIX-0000.params.", check=at_least(0))
    num_classes: Optional[int] = setting(
        None,
        help="Number of labels; checked against the lists.",
        default_help="the list's",
        check=at_least(1),
    )
    labels: Optional[str] = setting(
        None,
        help="Label names, one per line.",
        default_help="labels.txt beside the training list",
        metavar="FILE",
        path=True,
    )
    num_epoch: int = setting(
        10, help="Number of the last epoch; the first is `epoch` + 1.", check=at_least(1), on_resume="larger"
    )
    batch_size: int = setting(32, help="Images per step, over all devices and workers.", check=between(1, 65536))
    image_shape: tuple[int, int, int] = setting(
        (3, 224, 224), help="Channels, height and width of the network's input.", check=_network_input
    )
    fit: str = setting(
        "crop",
        help="How images fill the input: crop their centre, letterbox them whole with the channel means around, or "
        "stretch them.",
        choices=("crop", "letterbox", "stretch"),
    )
    preset: str = setting(
        "original", help="Preprocessing: original, imagenet or caffe.", check=_known_preset, metavar="NAME"
    )
    mean: Optional[tuple[float, float, float]] = setting(
        None,
        help="Channel means, 0 to 255, in the network's channel order.",
        default_help="the preset's",
        check=_three_numbers,
    )
    std: Optional[tuple[float, float, float]] = setting(
        None, help="Channel standard deviations, 0 to 255.", default_help="the preset's", check=_three_positive
    )
    channels: Optional[str] = setting(
        None, help="The network's channel order.", default_help="the preset's", choices=("rgb", "bgr")
    )
    rand_crop: bool = setting(
        True,
        help="Crop at a random place; with `fit` letterbox, place the whole image at random; with stretch, nothing.",
    )
    rand_mirror: bool = setting(True, help="Mirror half of the images.")
    min_area: Optional[float] = setting(
        None,
        help="Crop a random part of at least this share of the image's area, and scale it, as `fit` says.",
        check=share,
    )
    jitter: float = setting(
        0.0, help="Change brightness, contrast and saturation by up to this share.", check=below_one
    )
    layer: Optional[str] = setting(
        None, help="Layer to put the head on.", default_help="the classifier's input", metavar="NAME"
    )
    freeze: tuple[str, ...] = setting(
        (),
        help="Do not train parameters whose names match, such as 'conv0_*'; may be repeated.",
        metavar="PATTERN",
    )
    optimizer: str = setting("sgd", help="Optimizer.", choices=OPTIMIZERS)
    lr: float = setting(0.01, help="Learning rate.", check=positive)
    head_lr_mult: float = setting(10.0, help="Factor on the learning rate of the new head.", check=at_least(0))
    lr_schedule: str = setting("cosine", help="How the learning rate falls.", choices=SCHEDULES)
    lr_steps: tuple[int, ...] = setting(
        (5, 10), help="Epochs after which the step schedule lowers the learning rate.", check=_epochs
    )
    lr_factor: float = setting(
        0.1, help="Factor by which the step schedule multiplies the learning rate.", check=positive
    )
    warmup_epochs: float = setting(0.0, help="Epochs over which the learning rate rises to `lr`.", check=at_least(0))
    mom: float = setting(0.9, help="Momentum of sgd and nag.", check=below_one)
    wd: float = setting(0.0001, help="Weight decay; not applied to biases and BatchNorm.", check=at_least(0))
    clip_gradient: Optional[float] = setting(
        None, help="Clip each gradient element to this absolute value.", default_help="no clipping", check=positive
    )
    ema: float = setting(
        0.999,
        help="How much of the averaged weights a step keeps, at most; 0: no averaging. They are saved unless the "
        "current weights validate better.",
        check=below_one,
    )
    best_by: str = setting("mAP", help="Validation metric that picks the best epoch.", choices=BEST_BY)
    patience: Optional[int] = setting(
        None,
        help="Stop after this many epochs without a better one.",
        default_help="never",
        check=at_least(1),
        on_resume="free",
    )
    save_every: float = setting(
        30.0,
        help="Minutes after which a run saves inside an epoch; 0: never.",
        check=at_least(0),
        on_resume="free",
    )
    time_limit: Optional[float] = setting(
        None,
        help="Minutes after which the run saves and ends; continue with `resume`.",
        default_help="none",
        check=positive,
        on_resume="free",
    )
    keep: str = setting(
        "best,last",
        help="Epochs whose parameters and optimizer states are kept; metrics are kept for all epochs.",
        choices=KEEP,
        on_resume="free",
    )
    seed: int = setting(0, help="Seed of everything random.", check=between(0, 2**31 - 1))
    device: Optional[str] = setting(
        None, help="cpu, gpu or gpu:0,1.", default_help="a usable GPU, else cpu", metavar="NAME", on_resume="free"
    )
    kv_store: Optional[str] = setting(
        None,
        help="How gradients are added up: device or local by one machine's devices, dist_sync by several workers.",
        default_help="device; dist_sync under mxml launch",
        choices=("device", "local", "dist_sync"),
        on_resume="free",
    )
    decode_threads: Optional[int] = setting(
        None,
        help="Decoding threads.",
        default_help="physical cores",
        check=between(1, 256),
        on_resume="free",
    )
    cache_mb: int = setting(
        0,
        help="Megabytes of memory for decoded images of both lists.",
        check=at_least(0),
        on_resume="free",
    )
    max_bad_share: float = setting(
        0.05, help="Stop when more than this share of the images cannot be read.", check=between(0, 1)
    )
    num_examples: Optional[int] = setting(
        None,
        help="Accepted for compatibility with the original script; the number comes from the list.",
        on_resume="free",
    )
    allow_absolute: bool = setting(
        False, help="Allow lists to name images by absolute paths or outside their image folder."
    )

    def __post_init__(self) -> None:
        """Raise SettingError with the setting and its bounds where a value is invalid."""
        for name, known in train_settings().items():
            object.__setattr__(self, name, known.checked(getattr(self, name)))
        _check_paths(self.given())
        if self.num_epoch <= self.epoch:
            hint = f"from which epochs are counted: {self.epoch + 10} runs ten"
            raise SettingError("num_epoch", self.num_epoch, f"above `epoch` {self.epoch}, {hint}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "TrainConfig":
        """Return a configuration from settings by name.

        Parameters
        ----------
        given : mapping of str to object
            The settings; those without a default have to be among them.

        Returns
        -------
        TrainConfig

        Raises
        ------
        SettingError
            For a wrong value, and for missing settings, all of which the message names.
        """
        missing = [name for name, known in train_settings().items() if known.required and name not in given]
        if missing:
            raise MissingSettings(missing)
        return cls(**given)

    def given(self) -> dict[str, Any]:
        """Return all settings by name.

        Returns
        -------
        dict
            Without ``device`` where it is None.
        """
        values = {name: getattr(self, name) for name in train_settings()}
        return {name: value for name, value in values.items() if (name, value) != ("device", None)}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON holds them.

        Returns
        -------
        dict
            The settings by name; paths are relative to the prefix's folder.
        """
        values = _with_paths(self.given(), lambda path: os.path.relpath(path, self.folder or "."))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def folder(self) -> str:
        """Return the folder of the prefix, which may be an empty text."""
        return os.path.dirname(self.prefix)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], folder: str) -> "TrainConfig":
        """Read what ``to_dict`` returned.

        Parameters
        ----------
        value : mapping of str to object
            The settings by name.
        folder : str
            The folder that the prefix is in now; paths are relative to it.

        Returns
        -------
        TrainConfig

        Raises
        ------
        CheckpointError
            Names the first setting that is unknown, missing or wrong.
        """
        try:
            _check_paths(value)
        except SettingError as error:
            raise CheckpointError(f"config: {error}") from error
        value = _with_paths(value, lambda path: os.path.normpath(os.path.join(folder, path)))
        unknown = sorted(set(value) - set(train_settings()))
        if unknown:
            raise CheckpointError(f"config: setting {unknown[0]!r} is unknown")
        try:
            return cls.of(value)
        except MxmlError as error:
            raise CheckpointError(f"config: {error}") from error


class MissingSettings(SettingError):
    """Settings that have no default were not given: ``names``."""

    def __init__(self, names: list[str], hint: str = ""):
        super().__init__(names[0], None, "given")
        self.names = names
        self.args = ("missing " + ", ".join(f"`{name}`" for name in names) + hint,)


@functools.cache
def train_settings() -> dict[str, Setting]:
    """Return the settings of TrainConfig by name, in the order of its fields."""
    return settings_of(TrainConfig)


def resumed(saved: TrainConfig, given: Mapping[str, Any]) -> TrainConfig:
    """Return ``saved`` with what ``given`` may change: a resumed run continues exactly as it was configured.

    What is not given keeps the run's own value. Raises MxmlError that names a setting which differs and may not.
    """
    changes = {}
    for name, value in given.items():
        known, before = train_settings()[name], getattr(saved, name)
        value = known.checked(value)
        if (known.on_resume == "same" and value != before) or (known.on_resume == "larger" and value < before):
            raise MxmlError(
                f"`{name}` {as_text(value)}: the run to resume has {as_text(before)}, and has to continue with it; "
                "leave it out, or start a new run under another `prefix`"
            )
        changes[name] = value
    return dataclasses.replace(saved, **changes)


def _check_paths(values: Mapping[str, Any]) -> None:
    """Raise SettingError for a path that no file can have."""
    for name, known in train_settings().items():
        value = values.get(name)
        if known.path and isinstance(value, str) and not can_be_path(value):
            raise SettingError(name, printable(value), "a path that a file can have")


def _with_paths(values: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    known = train_settings()
    return {
        name: change(value) if name in known and known[name].path and isinstance(value, str) else value
        for name, value in values.items()
    }
