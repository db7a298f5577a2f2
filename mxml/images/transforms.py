"""How images become network input: ``Preprocess`` and ``Augment``, values that serialise; ``network_input`` obeys."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from mxml.errors import MxmlError
from mxml.images.choices import CHANNELS, FITS

LARGEST_SIZE = 4096
# Far beyond any that make sense, and small enough for inputs in float32.
LARGEST_MEAN = LARGEST_STD = 1_000_000
SMALLEST_STD = 1e-6
RGB_MEAN = (123.68, 116.28, 103.53)
RGB_STD = (58.395, 57.12, 57.375)

INTERPOLATIONS = ("nearest", "linear", "cubic", "area", "lanczos")

# Of RandAugment.
MOST_OPERATIONS = 5
LARGEST_MAGNITUDE = 10
_LARGEST_CHANGES = {
    **dict.fromkeys(("brightness", "contrast", "saturation", "hue", "pca_noise", "rand_gray"), 1.0),
    **dict.fromkeys(("shift", "shear", "zoom", "cutout"), 1.0),
    "rotate": 180.0,
}


@dataclass(frozen=True)
class Preprocess:
    """How a network's input is made from an image, the same in training, evaluation and serving.

    Parameters
    ----------
    size : tuple of int
        (height, width) of the input in pixels, each from 1 to 4096.
    short_side : int or None
        Length in pixels, from 1 to 4096, to which an image's short side is resized before the crop; None crops the
        image as it is. It belongs to the crop: None with another ``fit``.
    mean, std : tuple of float
        What is subtracted from each of the three planes, and then what it is divided by, in units of 0 to 255 and in
        the order of ``channels``. ``mean`` is at most a million either way, ``std`` from a millionth to a million.
    channels : {"rgb", "bgr"}
        Order of the planes of the input.
    interpolation : str
        How an image is resized: one of ``INTERPOLATIONS``.
    fit : {"crop", "letterbox", "stretch"}
        How an image comes to have ``size``. ``crop`` cuts its centre out, and loses the rest. ``letterbox`` scales the
        whole image, its shape kept, to the largest that fits, places it in the middle and fills the rest with ``mean``,
        so that the input is 0 there. ``stretch`` scales the whole image without keeping its shape.

    Raises
    ------
    MxmlError
        For a value out of range.
    """

    size: tuple[int, int] = (224, 224)
    short_side: int | None = 224
    mean: tuple[float, float, float] = RGB_MEAN
    std: tuple[float, float, float] = RGB_STD
    channels: str = "rgb"
    interpolation: str = "cubic"
    fit: str = "crop"

    def __post_init__(self) -> None:
        size = _numbers("size", self.size, 2, int)
        if not all(1 <= side <= LARGEST_SIZE for side in size):
            raise _wrong("size", self.size, f"two numbers from 1 to {LARGEST_SIZE}")
        object.__setattr__(self, "size", size)
        if self.fit not in FITS:
            raise _wrong("fit", self.fit, " or ".join(map(repr, FITS)))
        if self.short_side is not None:
            if self.fit != "crop":
                raise _wrong("short_side", self.short_side, f"null where fit is {self.fit!r}")
            if not _is_int(self.short_side) or not 1 <= self.short_side <= LARGEST_SIZE:
                raise _wrong("short_side", self.short_side, f"a number from 1 to {LARGEST_SIZE}, or null")
            object.__setattr__(self, "short_side", int(self.short_side))
        object.__setattr__(self, "mean", _numbers("mean", self.mean, 3, float))
        object.__setattr__(self, "std", _numbers("std", self.std, 3, float))
        if max(map(abs, self.mean)) > LARGEST_MEAN:
            raise _wrong("mean", self.mean, f"three numbers from -{LARGEST_MEAN:,} to {LARGEST_MEAN:,}")
        if min(self.std) < SMALLEST_STD or max(self.std) > LARGEST_STD:
            raise _wrong("std", self.std, f"three numbers from {SMALLEST_STD:f} to {LARGEST_STD:,}")
        if self.channels not in CHANNELS:
            raise _wrong("channels", self.channels, " or ".join(map(repr, CHANNELS)))
        if self.interpolation not in INTERPOLATIONS:
            raise _wrong("interpolation", self.interpolation, " or ".join(map(repr, INTERPOLATIONS)))

    @property
    def data_shape(self) -> tuple[int, int, int]:
        """Return the shape of one input, (3, height, width)."""
        return (3, *self.size)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them.

        Returns
        -------
        dict
            The fields by name; tuples are lists.
        """
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """Read what ``to_dict`` returned.

        Parameters
        ----------
        values : mapping
            The fields by name. Without ``fit``, which the first sidecars lack, images are cropped.

        Returns
        -------
        Preprocess

        Raises
        ------
        MxmlError
            For an unknown name, a missing one, or a wrong value.
        """
        if not isinstance(values, Mapping):
            raise MxmlError(f"preprocess is {values!r}; it should hold names and values")
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise MxmlError(f"preprocess holds {name!r}, which is not known; it may hold {', '.join(known)}")
        missing = [name for name in known if name not in values and name != "fit"]
        if missing:
            raise MxmlError(f"preprocess lacks {', '.join(missing)}")
        return cls(**values)


@dataclass(frozen=True)
class Augment:
    """How training images are varied; ``Augment()`` changes nothing.

    Parameters
    ----------
    rand_crop : bool
        Whether the crop is taken at a random place instead of the centre. With a ``letterbox`` the whole image stays
        and is placed in the frame at random instead of in the middle; with ``stretch`` there is nothing to move.
    rand_resized_crop : float or None
        The smallest share of the area, above 0 and at most 1, of a random crop with an aspect ratio of 3:4 to 4:3
        (Szegedy et al., CVPR 2015, section 6). It overrides ``rand_crop``. With ``letterbox`` or ``stretch`` such a
        part is cut first, and then fitted as a whole image is.
    rand_mirror : bool
        Whether left and right are swapped, with probability 1/2.
    brightness, contrast, saturation : float
        The largest relative change, from 0 to 1.
    hue : float
        The largest turn in the YIQ plane, in half circles, from 0 to 1.
    pca_noise : float
        The standard deviation of AlexNet's colour noise, from 0 to 1.
    rand_gray : float
        The probability of dropping the colour.
    vertical_flip : bool
        Whether top and bottom are swapped, with probability 1/2.
    rotate : float
        The largest angle, either way, in degrees from 0 to 180.
    shift : float
        The largest move, either way and in both directions, as a share of the input's sides, from 0 to 1.
    shear : float
        The largest move of a row to either side, as a share of its distance from the middle row, from 0 to 1.
    zoom : float
        How much more or less of the width and of the height is shown, each at most this share, from 0 to below 1.
    cutout : float
        The sides, as a share of the input's sides from 0 to 1, of a rectangle at a random place that is set to the
        channel means, 0 in the input (DeVries and Taylor, 2017). Its middle is in the input, so that less may be seen.
    rand_augment : (int, int) or None
        RandAugment (Cubuk et al., 2020): how many operations each image gets, 1 to 5, and their magnitude, 0 to 10.

    Raises
    ------
    MxmlError
        For a value out of range.
    """

    rand_crop: bool = False
    rand_resized_crop: float | None = None
    rand_mirror: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    pca_noise: float = 0.0
    rand_gray: float = 0.0
    vertical_flip: bool = False
    rotate: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    cutout: float = 0.0
    rand_augment: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("rand_crop", "rand_mirror", "vertical_flip"):
            if not isinstance(getattr(self, name), bool):
                raise _wrong(name, getattr(self, name), "true or false")
        if self.rand_resized_crop is not None:
            share = _number("rand_resized_crop", self.rand_resized_crop)
            if not 0 < share <= 1:
                raise _wrong("rand_resized_crop", share, "above 0 and at most 1, or null")
            object.__setattr__(self, "rand_resized_crop", share)
        for name, largest in _LARGEST_CHANGES.items():
            value = _number(name, getattr(self, name))
            if not 0 <= value <= largest:
                raise _wrong(name, value, f"a number from 0 to {largest:g}")
            object.__setattr__(self, name, value)
        if self.zoom == 1:
            raise _wrong("zoom", self.zoom, "a number below 1")
        if self.rand_augment is not None:
            count, magnitude = _numbers("rand_augment", self.rand_augment, 2, int)
            if not (1 <= count <= MOST_OPERATIONS and 0 <= magnitude <= LARGEST_MAGNITUDE):
                wanted = f"1 to {MOST_OPERATIONS} operations and a magnitude from 0 to {LARGEST_MAGNITUDE}"
                raise _wrong("rand_augment", self.rand_augment, wanted)
            object.__setattr__(self, "rand_augment", (count, magnitude))

    @property
    def moves_pixels(self) -> bool:
        """Say whether images may be turned, moved, sheared or zoomed."""
        return any((self.rotate, self.shift, self.shear, self.zoom, self.rand_augment))

    @property
    def changes_colour(self) -> bool:
        """Say whether any colour is varied."""
        return any((self.brightness, self.contrast, self.saturation, self.hue, self.pca_noise, self.rand_gray))


def _wrong(name: str, value: Any, wanted: str) -> MxmlError:
    return MxmlError(f"{name} is {value!r}; it should be {wanted}")


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
        raise _wrong(name, value, "a number")
    return float(value)


def _numbers(name: str, values: Any, count: int, kind: type) -> tuple[Any, ...]:
    wanted = f"{count} {'whole ' if kind is int else ''}numbers"
    if not isinstance(values, (tuple, list, np.ndarray)) or len(values) != count:
        raise _wrong(name, values, wanted)
    if kind is int and not all(_is_int(value) for value in values):
        raise _wrong(name, values, wanted)
    return tuple(kind(_number(name, value)) for value in values)


# ``size`` and ``short_side`` are set by ``preset``.
PRESETS = {
    "original": Preprocess(),
    "imagenet": Preprocess(short_side=256),
    "caffe": Preprocess(mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0), channels="bgr"),
    "raw": Preprocess(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    "inception": Preprocess(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
}


def preset(name: str, size: int | Sequence[int] = 224, fit: str = "crop") -> Preprocess:
    """Return a preset for inputs of ``size`` (one side, or height and width).

    ``original`` is the multilabel-MXNet script's: short side as long as the crop, ImageNet's RGB mean and std;
    ``imagenet`` resizes to 256/224 of the crop; ``caffe`` is BGR less (104, 117, 123), not scaled; ``raw`` is RGB from
    0 to 255, as networks with a BatchNorm on their input have it; ``inception`` is RGB from -1 to 1. All of them crop;
    with another ``fit`` they have no short side. Raises MxmlError for another name or fit.
    """
    if name not in PRESETS:
        raise MxmlError(f"preprocessing preset {name!r} is not known; choose from {', '.join(PRESETS)}")
    sides = (size, size) if isinstance(size, (int, np.integer)) else tuple(size)
    height, width = _numbers("size", sides, 2, int)
    longest = max(height, width)
    short_side = round(longest * 256 / 224) if name == "imagenet" else longest
    return replace(PRESETS[name], size=(height, width), short_side=short_side if fit == "crop" else None, fit=fit)
