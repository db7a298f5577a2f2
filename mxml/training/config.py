"""The settings of a training run, as one value that is checked, written to the sidecar and read back."""

# No postponed annotations here: settings_of reads the types of the fields, also on Python 3.9.

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Optional, Union

from mxml.errors import CheckpointError, MxmlError, SettingError, as_text
from mxml.images.choices import CHANNELS, FITS
from mxml.inference.limits import MOST_BATCH_SIZE, MOST_THREADS
from mxml.model.loss_settings import KINDS, PUBLISHED
from mxml.model.networks.catalogue import NETWORKS
from mxml.model.run_files import RunFiles
from mxml.text import can_be_path, printable
from mxml.training import chosen_loss
from mxml.training.settings import Setting, at_least, below_one, between, positive, setting, settings_of, share

METHODS = ("lp-ft", "features", "finetune")
OPTIMIZERS = ("sgd", "nag", "adam", "adamw", "scaled-adamw")
SCHEDULES = ("constant", "step", "cosine", "inverse")
BEST_BY = ("mAP", "CF1", "OF1", "hamming", "loss", "accuracy")
LOWER_IS_BETTER = frozenset({"hamming", "loss"})
KEEP = ("best,last", "all")
# Those on which it depends how training shows an image.
AUGMENT_SETTINGS = (
    "image_shape",
    "fit",
    "preset",
    "rand_crop",
    "rand_mirror",
    "min_area",
    "jitter",
    "hue",
    "pca_noise",
    "rand_gray",
    "vertical_flip",
    "rotate",
    "shift",
    "shear",
    "zoom",
    "rand_augment",
    "cutout",
    "mixup",
    "cutmix",
    "seed",
)
# What the machine, the recipe or the pretrained network decide where it is not given.
_DECIDED = ("device", "method", "preset", "optimizer", "lr", "head_lr_mult", "warmup_epochs", "mom", "wd")
# What is not known before lists were made of `data`.
_OF_LISTS = ("data_root", "data_train", "data_val", "image_train", "image_val")
DTYPES = ("float32", "bfloat16", "float16")


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


def _poolings(values: tuple[str, ...]) -> str:
    return "" if values and _distinct(values, ("avg", "max")) else "avg, max or both"


def _copies(values: tuple[str, ...]) -> str:
    return "" if _distinct(values, ("mirror", "larger")) else "mirror, larger or both"


def _distinct(values: tuple[str, ...], choices: tuple[str, ...]) -> bool:
    return len(set(values)) == len(values) and set(values) <= set(choices)


def _operations_and_magnitude(values: tuple[int, ...]) -> str:
    from mxml.images.transforms import LARGEST_MAGNITUDE, MOST_OPERATIONS

    good = len(values) == 2 and 1 <= values[0] <= MOST_OPERATIONS and 0 <= values[1] <= LARGEST_MAGNITUDE
    return "" if good else f"1 to {MOST_OPERATIONS} operations and a magnitude from 0 to {LARGEST_MAGNITUDE}, as 2,9"


def _alpha(value: float) -> str:
    from mxml.data.label_mixing import alpha_fault

    return alpha_fault(value)


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
    network : str
        In place of ``model``, the name of a network to train from random weights; ``mxml networks`` lists them.
    single_label : bool
        Train a softmax classifier on lists in which every image has exactly one label.
    data, data_root : tuple of str, str
        Labelled images, as ``mxml make-lst`` takes them, and the folder that they are under. The run makes its lists of
        them, in ``PREFIX-lists``.
    data_train, data_val, image_train, image_val : str
        In place of ``data``: training and validation list, and the folders that their paths are under: by default what
        ``lists.json`` beside the list says, else ``images``, else the list's own folder.
    image_shape : tuple of int, optional
        (channels, height, width) of the network's input: for a ``network`` by default what it was designed for.
    fit : {"crop", "letterbox", "stretch"}
        How images of another shape fill the input; see ``Preprocess``, and ``Augment`` for what ``rand_crop`` and
        ``min_area`` (its ``rand_resized_crop``) then do.
    mean, std : tuple of float, optional
        Three numbers each, from 0 to 255, which replace the preset's.
    lr_steps, warmup_epochs : tuple of int, float
        Numbers of epochs, counted from the beginning of the run.
    pos_weight : "auto" or tuple of float, optional
        Weight of present labels in ``loss`` bce: one number, or one per label. ``fit`` replaces auto by numbers.
    gamma_pos, gamma_neg, margin, gamma : float, optional
        None becomes the published value where the setting belongs to ``loss``.
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
    model: Optional[str] = setting(
        None,
        help="Prefix of the pretrained network: PREFIX-symbol.json and PREFIX-0000.params.",
        metavar="PREFIX",
        path=True,
    )
    network: Optional[str] = setting(
        None,
        help="In place of `model`, a network to train from random weights; mxml networks lists them.",
        choices=tuple(NETWORKS),
        metavar="NAME",
    )
    data: tuple[str, ...] = setting(
        (),
        help="Labelled images to make the lists of, as for mxml make-lst: a folder or a file of labels; may be "
        "repeated. The lists are kept in PREFIX-lists.",
        metavar="SOURCE",
        path=True,
    )
    data_root: Optional[str] = setting(
        None,
        help="Image folder of `data`.",
        default_help="where the format keeps its images, else images or the folder of the labels",
        metavar="DIR",
        path=True,
    )
    data_train: Optional[str] = setting(
        None, help="List of the training images, or .rec file of them, in place of `data`.", metavar="LST", path=True
    )
    data_val: Optional[str] = setting(
        None, help="List of the validation images, or .rec file of them, in place of `data`.", metavar="LST", path=True
    )
    image_train: Optional[str] = setting(
        None,
        help="Image folder of the training list.",
        default_help="as lists.json beside the list says, else images or the list's folder",
        metavar="DIR",
        path=True,
    )
    image_val: Optional[str] = setting(
        None,
        help="Image folder of the validation list.",
        default_help="as lists.json beside the list says, else images or the list's folder",
        metavar="DIR",
        path=True,
    )
    method: Optional[str] = setting(
        None,
        help="features: fit only a new head, to feature vectors of the pretrained network, which takes seconds to "
        "minutes; lp-ft: fit it, then fine-tune the whole network; finetune: fine-tune from a head of zeros. A run of "
        "features can be resumed as lp-ft.",
        choices=METHODS,
        default_help="lp-ft; finetune with `network`, `single_label`, `optimizer` sgd or nag, or with `lr` or `mom` "
        "without `optimizer`",
        on_resume="free",
    )
    epoch: int = setting(0, help="The pretrained network's epoch, the number in PREFIX-0000.params.", check=at_least(0))
    single_label: bool = setting(
        False, help="Train a softmax classifier: every image has exactly one label, chosen from all."
    )
    num_classes: Optional[int] = setting(
        None,
        help="Number of labels; checked against the lists.",
        default_help="the list's",
        check=at_least(1),
    )
    labels: Optional[str] = setting(
        None,
        help="Label names, one per line; with `data`, the labels to use.",
        default_help="labels.txt beside the training list; with `data`, all labels",
        metavar="FILE",
        path=True,
    )
    num_epoch: int = setting(
        10, help="Number of the last epoch; the first is `epoch` + 1.", check=at_least(1), on_resume="larger"
    )
    batch_size: int = setting(
        32, help="Images per step, over all devices and workers.", check=between(1, MOST_BATCH_SIZE)
    )
    image_shape: tuple[int, int, int] = setting(
        None,
        help="Channels, height and width of the network's input.",
        default_help="3,224,224; with `network` what it was designed for",
        check=_network_input,
    )
    fit: str = setting(
        "crop",
        help="How images fill the input: crop their centre, letterbox them whole with the channel means around, or "
        "stretch them.",
        choices=FITS,
    )
    preset: Optional[str] = setting(
        None,
        help="Preprocessing: original, imagenet, caffe, raw or inception.",
        check=_known_preset,
        metavar="NAME",
        default_help="guessed from the pretrained network, else the one of original and caffe that fits best; imagenet "
        "with `network`",
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
        None, help="The network's channel order.", default_help="the preset's", choices=CHANNELS
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
    hue: float = setting(0.0, help="Turn the hue by up to this share of a half circle.", check=between(0, 1))
    pca_noise: float = setting(
        0.0, help="Standard deviation of AlexNet's colour noise, such as 0.1.", check=between(0, 1)
    )
    rand_gray: float = setting(0.0, help="Share of the images that lose their colour.", check=between(0, 1))
    vertical_flip: bool = setting(False, help="Turn half of the images upside down, as in a mirror.")
    rotate: float = setting(0.0, help="Rotate by up to this many degrees, either way.", check=between(0, 180))
    shift: float = setting(0.0, help="Move by up to this share of the width and height.", check=between(0, 1))
    shear: float = setting(
        0.0, help="Shear: move rows sideways by up to this share of their height.", check=between(0, 1)
    )
    zoom: float = setting(
        0.0, help="Show up to this share more or less of the width and of the height.", check=below_one
    )
    rand_augment: Optional[tuple[int, int]] = setting(
        None,
        help="RandAugment: this many operations per image, of this magnitude from 0 to 10, such as 2,9.",
        check=_operations_and_magnitude,
    )
    cutout: float = setting(
        0.0, help="Erase a rectangle whose sides are this share of the input's.", check=between(0, 1)
    )
    mixup: float = setting(
        0.0, help="Average images in pairs, and their labels, by a share from Beta(alpha, alpha).", check=_alpha
    )
    cutmix: float = setting(
        0.0,
        help="Put a rectangle of another image into each, and mix the labels by area; the share is from Beta(alpha, "
        "alpha). With `mixup` as well, half of the pairs each.",
        check=_alpha,
    )
    layer: Optional[str] = setting(
        None,
        help="Layer to put the head on.",
        default_help="the classifier's input, and with lp-ft and features also layers before it",
        metavar="NAME",
    )
    feature_layers: int = setting(
        4,
        help="On how many layers at most lp-ft and features put the head: the feature layer, and those before it that "
        "differ in size or width.",
        check=between(1, 16),
    )
    feature_poolings: tuple[str, ...] = setting(
        ("avg",),
        help="How lp-ft and features pool those of these layers that are maps, avg or max; may be repeated.",
        check=_poolings,
        metavar="NAME",
    )
    feature_copies: tuple[str, ...] = setting(
        (),
        help="Copies of the training images that lp-ft and features fit the head to as well: mirror or larger (by a "
        "quarter); may be repeated. Each takes about the time of another pass over the images.",
        check=_copies,
        metavar="NAME",
    )
    freeze: tuple[str, ...] = setting(
        (),
        help="Do not train parameters whose names match, such as 'conv0_*'; may be repeated.",
        metavar="PATTERN",
    )
    loss: Optional[str] = setting(
        None,
        help="Loss: binary cross-entropy (bce), asymmetric (Ridnik et al. 2021) or focal (Lin et al. 2017).",
        default_help="bce; with `single_label` the softmax's cross-entropy",
        choices=tuple(KINDS),
    )
    label_smoothing: float = setting(
        0.0,
        help="Train with labels that are nearer to 1/2 by this share: of 0.1, labels 0 and 1 become 0.05 and 0.95.",
        check=chosen_loss.as_in_files("label_smoothing"),
    )
    pos_weight: Union[Literal["auto"], tuple[float, ...], None] = setting(
        None,
        help="With `loss` bce: weight of present labels, one number or one per label; auto takes absent per present "
        f"labels in the training list, held to {chosen_loss.SMALLEST_AUTO:g} to {chosen_loss.LARGEST_AUTO:g}.",
        default_help="1",
        check=chosen_loss.as_in_files("pos_weight"),
    )
    gamma_pos: Optional[float] = setting(
        None,
        help="With `loss` asymmetric: focusing exponent of present labels.",
        default_help=f"{PUBLISHED['gamma_pos']:g}",
        check=chosen_loss.as_in_files("gamma_pos"),
    )
    gamma_neg: Optional[float] = setting(
        None,
        help="With `loss` asymmetric: focusing exponent of absent labels.",
        default_help=f"{PUBLISHED['gamma_neg']:g}",
        check=chosen_loss.as_in_files("gamma_neg"),
    )
    margin: Optional[float] = setting(
        None,
        help="With `loss` asymmetric: absent labels up to this probability cost nothing.",
        default_help=f"{PUBLISHED['margin']:g}",
        check=chosen_loss.as_in_files("margin"),
    )
    gamma: Optional[float] = setting(
        None,
        help="With `loss` focal: focusing exponent.",
        default_help=f"{PUBLISHED['gamma']:g}",
        check=chosen_loss.as_in_files("gamma"),
    )
    alpha: Optional[float] = setting(
        None,
        help="With `loss` focal: weight of present labels; absent ones weigh 1 minus this.",
        default_help="all weigh 1",
        check=chosen_loss.as_in_files("alpha"),
    )
    optimizer: Optional[str] = setting(
        None,
        help="Optimizer; scaled-adamw takes steps in proportion to the size of each parameter.",
        choices=OPTIMIZERS,
        default_help="scaled-adamw for lp-ft and features; for finetune adamw, or sgd with `mom`, or with `lr` and "
        "`model`",
    )
    lr: Optional[float] = setting(
        None, help="Learning rate.", check=positive, default_help="what suits the optimizer and the network"
    )
    head_lr_mult: Optional[float] = setting(
        None,
        help="Factor on the learning rate of the head.",
        check=at_least(0),
        default_help="1; 10 for a head that begins at zero on a pretrained network",
    )
    lr_schedule: str = setting("cosine", help="How the learning rate falls.", choices=SCHEDULES)
    lr_steps: tuple[int, ...] = setting(
        (5, 10), help="Epochs after which the step schedule lowers the learning rate.", check=_epochs
    )
    lr_factor: float = setting(
        0.1, help="Factor by which the step schedule multiplies the learning rate.", check=positive
    )
    lr_decay: float = setting(
        0.0001, help="Decay d of the inverse schedule: after n steps the rate is `lr` / (1 + d n).", check=at_least(0)
    )
    warmup_epochs: Optional[float] = setting(
        None,
        help="Epochs over which the learning rate rises to `lr`.",
        check=at_least(0),
        default_help="1; 0 for sgd and nag",
    )
    mom: Optional[float] = setting(
        None, help="Momentum of sgd and nag; no other optimizer takes it.", check=below_one, default_help="0.9"
    )
    wd: Optional[float] = setting(
        None,
        help="Weight decay; not applied to biases and BatchNorm.",
        check=at_least(0),
        default_help="0.01 for adamw and scaled-adamw, else 0.0001",
    )
    clip_gradient: Optional[float] = setting(
        None, help="Clip each gradient element to this absolute value.", default_help="no clipping", check=positive
    )
    ema: float = setting(
        0.999,
        help="How much of the averaged weights a step keeps, at most; 0: no averaging. They are saved unless the "
        "current weights validate better.",
        check=below_one,
    )
    best_by: str = setting(
        None,
        help="Validation metric that picks the best epoch.",
        default_help="mAP; with `single_label` accuracy",
        choices=BEST_BY,
    )
    patience: Optional[int] = setting(
        None,
        help="Stop after this many epochs without a better one, counted from the end of the warm-up.",
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
    dtype: str = setting(
        "float32",
        help="What the network computes in while it trains: float32; bfloat16 on CPUs, which pays where they have AMX; "
        "float16 on GPUs. Parameters, losses and all that is saved are float32.",
        choices=DTYPES,
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
        check=between(1, MOST_THREADS),
        on_resume="free",
    )
    cache_mb: int = setting(
        0,
        help="Megabytes of memory for decoded images of both lists.",
        check=at_least(0),
        on_resume="free",
    )
    tensorboard: Optional[str] = setting(
        None,
        help="Write TensorBoard event files below this folder; needs the package tensorboardX.",
        default_help="none",
        metavar="DIR",
        path=True,
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
        missing = _missing(self.given())
        if missing:
            raise MissingSettings(missing)
        self._check_start()
        self._fill_in()
        if self.best_by == "accuracy" and not self.single_label:
            raise SettingError("best_by", self.best_by, "another metric: only `single_label` has an accuracy")
        # Method features ends after its one epoch, whatever this number is.
        if self.method != "features" and self.num_epoch <= self.epoch:
            hint = f"from which epochs are counted: {self.epoch + 10} runs ten"
            raise SettingError("num_epoch", self.num_epoch, f"above `epoch` {self.epoch}, {hint}")

    def _fill_in(self) -> None:
        """Set what follows from other settings where it was not given."""
        if self.image_shape is None:
            shape = NETWORKS[self.network].image_shape if self.network is not None else (3, 224, 224)
            object.__setattr__(self, "image_shape", shape)
        if self.best_by is None:
            object.__setattr__(self, "best_by", "accuracy" if self.single_label else "mAP")
        if self.loss is None and not self.single_label:
            object.__setattr__(self, "loss", "bce")
        for name, value in chosen_loss.completed(self.given()).items():
            object.__setattr__(self, name, value)

    def _check_start(self) -> None:
        """Raise SettingError where a network to be made is given what belongs to a pretrained one."""
        if self.network is None:
            return
        if self.model is not None:
            raise SettingError("network", self.network, "left out: training begins at `model`; give only one of them")
        if self.epoch != 0:
            raise SettingError("epoch", self.epoch, "left out: it is a pretrained network's, and `network` begins anew")
        if self.layer is not None:
            raise SettingError("layer", self.layer, "left out: `network` knows where its head belongs")

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
        given = _with_named_epoch(given)
        missing = [name for name, known in train_settings().items() if known.required and name not in given]
        missing += _missing(given)
        if missing:
            raise MissingSettings(missing)
        return cls(**given)

    def given(self) -> dict[str, Any]:
        """Return all settings by name.

        Returns
        -------
        dict
            Without what is None and will be decided: by the machine, the recipe, or once lists are made of ``data``.
        """
        values = {name: getattr(self, name) for name in train_settings()}
        open_settings = (*_DECIDED, *(_OF_LISTS if self.data else ()))
        return {name: value for name, value in values.items() if value is not None or name not in open_settings}

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
    def fits_head(self) -> bool:
        """Say whether the first epoch fits the head to feature vectors."""
        return self.method in ("lp-ft", "features")

    @property
    def last_epoch(self) -> int:
        """Return the number of the run's last epoch."""
        return self.epoch + 1 if self.method == "features" else self.num_epoch

    @property
    def lists(self) -> tuple[str, str]:
        """Return the paths of the training and the validation list, once there are such."""
        if self.data_train is None or self.data_val is None:
            raise MissingSettings(["data_train", "data_val"])
        return self.data_train, self.data_val

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
        if "optimizer" in value and "method" not in value:
            # The first sidecars have neither: there was one method, and no averaging.
            value.update(method="finetune", ema=0.0)
        try:
            return cls.of(value)
        except MxmlError as error:
            raise CheckpointError(f"config: {error}") from error


class MissingSettings(SettingError):
    """Settings that have no default were not given: ``names``."""

    def __init__(self, names: list[str], hint: str = ""):
        super().__init__(names[0], None, "given")
        self.names = names
        # Only one way to begin is needed, and one to say on what.
        texts = ["`model` or `network`" if name == "model" else f"`{name}`" for name in names]
        instead = " (or `data` in place of the lists)" if {"data_train", "data_val"} <= set(names) else ""
        self.args = ("missing " + ", ".join(texts) + instead + hint,)


@functools.cache
def train_settings() -> dict[str, Setting]:
    """Return the settings of TrainConfig by name, in the order of its fields."""
    return settings_of(TrainConfig)


def resumed(saved: TrainConfig, given: Mapping[str, Any]) -> TrainConfig:
    """Return ``saved`` with what ``given`` may change: a resumed run continues exactly as it was configured.

    What is not given keeps the run's own value. Raises MxmlError that names a setting which differs and may not.
    """
    changes = {}
    for name, value in _with_named_epoch(given).items():
        known, before = train_settings()[name], getattr(saved, name)
        value = known.checked(value)
        if value in known.words:
            # The run has numbers in its place; `fit` compares them with what the word stands for.
            continue
        if (known.on_resume == "same" and value != before) or (known.on_resume == "larger" and value < before):
            raise MxmlError(
                f"`{name}` {as_text(value)}: the run to resume has {as_text(before)}, and has to continue with it; "
                "leave it out, or start a new run under another `prefix`"
            )
        changes[name] = value
    return dataclasses.replace(saved, **changes)


def _missing(given: Mapping[str, Any]) -> list[str]:
    """Return what is missing of what can be given in two ways."""
    missing = ["model"] if given.get("model") is None and given.get("network") is None else []
    if given.get("data"):
        return missing
    return missing + [name for name in ("data_train", "data_val") if given.get(name) is None]


def _with_named_epoch(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings whose ``model`` is a prefix, also where it was one of the network's files."""
    model = given.get("model")
    if not isinstance(model, (str, os.PathLike)) or not can_be_path(os.fspath(model)):
        return given
    files, epoch = RunFiles.parse(os.fspath(model))
    if epoch is None:
        return {**given, "model": files.prefix}
    if given.get("epoch", epoch) != epoch:
        raise SettingError("epoch", given["epoch"], f"{epoch}, as {os.fspath(model)} says, or left out")
    return {**given, "model": files.prefix, "epoch": epoch}


def _check_paths(values: Mapping[str, Any]) -> None:
    """Raise SettingError for a path that no file can have."""
    for name, known in train_settings().items():
        value = values.get(name)
        for path in value if isinstance(value, (tuple, list)) else (value,):
            if known.path and isinstance(path, str) and not can_be_path(path):
                raise SettingError(name, printable(path), "a path that a file can have")


def _with_paths(values: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return settings with every path changed."""

    def changed(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return tuple(change(part) if isinstance(part, str) else part for part in value)
        return change(value) if isinstance(value, str) else value

    known = train_settings()
    return {name: changed(value) if name in known and known[name].path else value for name, value in values.items()}
