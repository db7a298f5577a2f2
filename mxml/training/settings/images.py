"""Settings of a run: how images become network input, and how training varies them."""

# No postponed annotations here: settings_of reads the types of the fields, also on Python 3.9.

from dataclasses import dataclass
from typing import Optional

from mxml.images.choices import CHANNELS, FITS
from mxml.training.setting import below_one, between, setting, share

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


def _operations_and_magnitude(values: tuple[int, ...]) -> str:
    from mxml.images.transforms import LARGEST_MAGNITUDE, MOST_OPERATIONS

    good = len(values) == 2 and 1 <= values[0] <= MOST_OPERATIONS and 0 <= values[1] <= LARGEST_MAGNITUDE
    return "" if good else f"1 to {MOST_OPERATIONS} operations and a magnitude from 0 to {LARGEST_MAGNITUDE}, as 2,9"


def _alpha(value: float) -> str:
    from mxml.data.label_mixing import alpha_fault

    return alpha_fault(value)


@dataclass(frozen=True)
class Images:
    """How images become network input, and how training varies them."""

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
