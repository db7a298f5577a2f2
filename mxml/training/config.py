"""What a training run is asked to do, as one value that is checked, written to the sidecar and read back."""

# No postponed annotations here: settings_of reads the types of the fields, also on Python 3.9.

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from mxml.errors import CheckpointError, MxmlError, SettingError
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


def _one_machine(value: str) -> str:
    return "" if value in ("device", "local") else "device or local; several machines are not supported yet"


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one training run. Names are the original script's where it has them.

    Each field's metadata holds its help, its bounds, and whether a resumed run may change it; ``mxml train --help``
    shows them all.

    Parameters
    ----------
    prefix : str
        Where the run's files go: ``PREFIX-0001.params`` and so on.
    model, epoch : str, int
        Prefix and epoch of the pretrained network. Epochs ``epoch + 1`` to ``num_epoch`` are run.
    data_train, data_val, image_train, image_val : str
        Training and validation list, and the folders that their paths are under: by default what ``lists.json``
        beside the list says, else ``images``.
    image_shape : tuple of int
        (channels, height, width) of the network's input.
    mean, std : tuple of float, optional
        Three numbers each on the scale 0 to 255, which replace the preset's.
    lr_steps, warmup_epochs : tuple of int, float
        Count epochs from the run's first.
    device : str, optional
        ``cpu``, ``gpu`` or ``gpu:0,1``; None takes a usable GPU, else the CPU.
    **settings
        The others are the options of ``mxml train``, with ``_`` for ``-``.

    Raises
    ------
    SettingError
        A setting has a value that makes no sense; names the setting and its bounds.
    """

    prefix: str = setting(help="Where the run's files go: PREFIX-0001.params and so on.", metavar="PREFIX", path=True)
    model: str = setting(
        help="Prefix of the pretrained network: PREFIX-symbol.json and PREFIX-0000.params.", metavar="PREFIX", path=True
    )
    data_train: str = setting(help="List of the training images.", metavar="LST", path=True)
    data_val: str = setting(help="List of the validation images.", metavar="LST", path=True)
    image_train: Optional[str] = setting(
        None,
        help="Folder that the training list's paths are under.",
        default_help="what make-lst recorded beside the list, else images",
        metavar="DIR",
        path=True,
    )
    image_val: Optional[str] = setting(
        None,
        help="Folder that the validation list's paths are under.",
        default_help="what make-lst recorded beside the list, else images",
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
        10, help="The last epoch's number, counted on from `epoch`.", check=at_least(1), on_resume="larger"
    )
    batch_size: int = setting(32, help="Images per step, over all devices.", check=between(1, 65536))
    image_shape: tuple[int, int, int] = setting(
        (3, 224, 224), help="Channels, height and width of the network's input.", check=_network_input
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
        None, help="Channel deviations, 0 to 255.", default_help="the preset's", check=_three_positive
    )
    channels: Optional[str] = setting(
        None, help="The network's channel order.", default_help="the preset's", choices=("rgb", "bgr")
    )
    rand_crop: bool = setting(True, help="Crop at a random place.")
    rand_mirror: bool = setting(True, help="Mirror half of the images.")
    min_area: Optional[float] = setting(
        None, help="Crop a random part of at least this share of the image's area, and scale it.", check=share
    )
    jitter: float = setting(
        0.0, help="Change brightness, contrast and saturation by up to this share.", check=below_one
    )
    layer: Optional[str] = setting(
        None, help="Layer to put the head on.", default_help="the classifier's input", metavar="NAME"
    )
    freeze: tuple[str, ...] = setting(
        (),
        help="Leave parameters whose names match, such as 'conv0_*', as they are; may be repeated.",
        metavar="PATTERN",
    )
    optimizer: str = setting("sgd", help="Optimizer.", choices=OPTIMIZERS)
    lr: float = setting(0.01, help="Learning rate.", check=positive)
    head_lr_mult: float = setting(10.0, help="Multiplies the learning rate of the new head.", check=at_least(0))
    lr_schedule: str = setting("cosine", help="How the learning rate falls.", choices=SCHEDULES)
    lr_steps: tuple[int, ...] = setting(
        (5, 10), help="Epochs after which the step schedule lowers the learning rate.", check=_epochs
    )
    lr_factor: float = setting(0.1, help="What the step schedule multiplies the learning rate by.", check=positive)
    warmup_epochs: float = setting(0.0, help="Epochs over which the learning rate rises to `lr`.", check=at_least(0))
    mom: float = setting(0.9, help="Momentum of sgd and nag.", check=below_one)
    wd: float = setting(0.0001, help="Weight decay; biases and BatchNorm are spared.", check=at_least(0))
    clip_gradient: Optional[float] = setting(
        None, help="Clip each gradient element to this absolute value.", default_help="no clipping", check=positive
    )
    best_by: str = setting("mAP", help="Validation metric that picks the best epoch.", choices=BEST_BY)
    patience: Optional[int] = setting(
        None,
        help="Stop after so many epochs without a better one.",
        default_help="never",
        check=at_least(1),
        on_resume="free",
    )
    keep: str = setting(
        "best,last",
        help="Epochs whose parameters and optimizer states stay on disk; the metrics of all of them stay.",
        choices=KEEP,
        on_resume="free",
    )
    seed: int = setting(0, help="Seed of everything random.", check=between(0, 2**31 - 1))
    device: Optional[str] = setting(
        None, help="cpu, gpu or gpu:0,1.", default_help="a usable GPU, else cpu", metavar="NAME", on_resume="free"
    )
    kv_store: str = setting(
        "device",
        help="How several devices share gradients: device or local.",
        check=_one_machine,
        metavar="NAME",
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
        help="Megabytes of memory to keep decoded images of both lists in.",
        check=at_least(0),
        on_resume="free",
    )
    max_bad_share: float = setting(
        0.05, help="Stop when more than this share of the images cannot be read.", check=between(0, 1)
    )
    num_examples: Optional[int] = setting(
        None,
        help="Accepted for the original script's sake; the list tells the number.",
        on_resume="free",
    )
    allow_absolute: bool = setting(False, help="Let lists name images by absolute paths or outside their root.")

    def __post_init__(self) -> None:
        """Raise SettingError with the setting and its bounds where a value makes no sense."""
        for name, known in train_settings().items():
            object.__setattr__(self, name, known.checked(getattr(self, name)))
        _check_paths(self.given())
        if self.num_epoch <= self.epoch:
            hint = f"from which epochs are counted: {self.epoch + 10} runs ten"
            raise SettingError("num_epoch", self.num_epoch, f"above `epoch` {self.epoch}, {hint}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "TrainConfig":
        """Return a configuration from settings by name.

        Raises SettingError for a wrong value, and one that names all settings that are missing.
        """
        missing = [name for name, known in train_settings().items() if known.required and name not in given]
        if missing:
            raise MissingSettings(missing)
        return cls(**given)

    def given(self) -> dict[str, Any]:
        """Return all settings by name; without a device where it is left to the run."""
        values = {name: getattr(self, name) for name in train_settings()}
        return {name: value for name, value in values.items() if (name, value) != ("device", None)}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON holds them, with paths relative to the prefix's folder."""
        values = _with_paths(self.given(), lambda path: os.path.relpath(path, self.folder or "."))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def folder(self) -> str:
        """Return the folder of the prefix, which may be an empty text."""
        return os.path.dirname(self.prefix)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], folder: str) -> "TrainConfig":
        """Read ``to_dict``'s value; ``folder`` is where the prefix is now.

        Raises CheckpointError naming the first setting that is unknown, missing or wrong.
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
    """Return ``saved`` with what ``given`` may change: a resumed run goes on exactly as it was configured.

    What is not given keeps the run's own value. Raises MxmlError that names a setting which differs and may not.
    """
    changes = {}
    for name, value in given.items():
        known, before = train_settings()[name], getattr(saved, name)
        value = known.checked(value)
        if (known.on_resume == "same" and value != before) or (known.on_resume == "larger" and value < before):
            raise MxmlError(
                f"`{name}` {_shown(value)}: the run to resume has {_shown(before)}, and goes on exactly as it began; "
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


def _shown(value: Any) -> str:
    if value in (None, ()):
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
