"""Images that a program has in memory, as pixels: arrays, what can be one, and images of Pillow."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import TypeGuard


def is_pillow(value: object) -> bool:
    """Say whether a value is an image of Pillow; who has one has imported it."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def is_array(value: object) -> TypeGuard[np.ndarray]:
    """Say whether a value is an array of pixels, of one or more images: of NumPy, or what NumPy can read.

    An array of one dimension is a list of whatever it holds, such as the column of a table with paths.
    """
    return not is_pillow(value) and hasattr(value, "__array__") and getattr(value, "ndim", 1) != 1


def as_images(value: Any) -> np.ndarray:
    """Return what ``is_array`` says yes to as an array of NumPy. Raises TypeError where it cannot be one."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"expected an array in memory that NumPy can read, got {type(value).__name__}: {error}"
        ) from None


def rgb_pixels(array: np.ndarray) -> np.ndarray:
    """Return the pixels (H, W, 3) of an array (H, W, 3), or of a grey one (H, W) or (H, W, 1), all of uint8.

    Raises TypeError for any other.
    """
    said = f"got {'x'.join(map(str, array.shape)) or 'one number'} {array.dtype}"
    wanted = "expected an array (H, W, 3) of uint8 in RGB order, or grey (H, W)"
    if array.dtype != np.uint8:
        remedy = "; numbers from 0 to 1 become that by (255 * array).round().astype('uint8')"
        raise TypeError(f"{wanted}, {said}{remedy if array.dtype.kind == 'f' else ''}")
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))):
        remedy = ""
        if array.ndim == 3 and array.shape[0] in (1, 3):
            remedy = "; channels come last: array.transpose(1, 2, 0)"
        raise TypeError(f"{wanted}, {said}{remedy}")
    if array.ndim == 3 and array.shape[2] == 3:
        return array  # without a copy: whether it is too large for one shows when it is decoded
    height, width = array.shape[:2]
    return np.broadcast_to(array.reshape(height, width, 1), (height, width, 3))


def pillow_pixels(image: Image) -> np.ndarray:
    """Return an image of Pillow as a file of it would be decoded: upright, transparent parts over white."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image) or image
    if image.mode.startswith("I;16"):
        # Pillow cuts what is over 255 off; the decoder keeps the upper eight bits.
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))
