"""Pixels to network input, as ``Preprocess`` and ``Augment`` say.

An image is resized so that its short side has the length asked for, and cropped to the network's size: at its centre,
or at random. A random crop is cut from the original first and only that part is resized, which is the same up to
rounding to whole pixels of the original, and cheaper. Where images are not to be cropped, the whole of one, or a random
part, is resized to the network's size, or to the largest box inside it that has the part's shape. Of an original at
least two, four or eight times larger than needed, the decoder is asked for one reduced by that factor.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from mxml.images.decode import largest_reduction, reduced
from mxml.images.transforms import Augment, Preprocess
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()

_INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
# Rec. 601 luma in RGB order, and RGB to YIQ with it (ITU-R BT.601; the NTSC matrix of 1953).
_LUMA = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
_FROM_YIQ = np.linalg.inv(_YIQ)
# Principal components of ImageNet's RGB values: Krizhevsky, Sutskever and Hinton, NIPS 2012, section 4.1.
_PCA_VALUES = np.array([55.46, 4.794, 1.148])
_PCA_VECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
_WHOLE = (0.0, 0.0, 1.0, 1.0)
_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


class Plan(NamedTuple):
    """What is done to one image.

    ``reduction`` is asked of the decoder. ``region`` is (left, top, width, height) as shares of the image, None for
    the centre crop. ``resized`` is the (width, height) that a centre crop is cut from. ``box`` is (left, top, width,
    height) in pixels of the input, which the region fills, with 0 around it; None where it fills all.
    """

    reduction: int
    region: tuple[float, float, float, float] | None
    resized: tuple[int, int] | None
    mirror: bool
    draws: Any
    box: tuple[int, int, int, int] | None = None


class Transform:
    """Carries out a ``Preprocess`` and an ``Augment``; holds nothing that changes, so threads can share it.

    ``plan`` needs only an image's size, so that the decoder can be asked for a reduced one; ``write`` does the rest.
    """

    COLUMNS = 16  # the random numbers, uniform in [0, 1), that one image needs
    _X, _Y, _AREA, _RATIO, _MIRROR, _BRIGHTNESS, _CONTRAST, _SATURATION, _ORDER, _HUE, _GRAY, _PCA = range(12)

    def __init__(self, preprocess: Preprocess, augment: Augment | None = None):
        self.preprocess = preprocess
        self.augment = augment or Augment()
        self._takes_all = preprocess.fit != "crop"
        self._boxes = preprocess.fit == "letterbox"
        self._interpolation = _INTERPOLATIONS[preprocess.interpolation]
        self._source_channels = (2, 1, 0) if preprocess.channels == "rgb" else (0, 1, 2)
        levels = np.arange(256, dtype=np.float64)
        self._tables = [
            np.ascontiguousarray(((levels - mean) / std).astype(np.float32))
            for mean, std in zip(preprocess.mean, preprocess.std)
        ]

    def reduction(self, width: int, height: int) -> int:
        """Return how many times smaller an image of ``width`` x ``height`` is wanted when nothing is varied."""
        return self.plan(width, height).reduction

    def plan(self, width: int, height: int, draws: Any = None) -> Plan:
        """Decide what happens to an image of ``width`` x ``height`` (as shown).

        ``draws`` is its row of (COLUMNS,) random numbers in [0, 1); needed only if ``augment`` varies anything.
        """
        augment = self.augment
        mirror = augment.rand_mirror and bool(draws[self._MIRROR] < 0.5)
        short = self.preprocess.short_side
        if augment.rand_resized_crop is not None:
            region = self._resized_crop(width, height, augment.rand_resized_crop, draws)
        elif self._takes_all:
            region = _WHOLE
        elif augment.rand_crop:
            region = self._random_crop(width, height, draws)
        else:
            reduction = largest_reduction(min(width, height) / short) if short else 1
            return Plan(reduction, None, _short_resized(width, height, short), mirror, draws)
        out_height, out_width = self.preprocess.size
        if self._boxes:
            across, down = region[2] * width, region[3] * height
            scale = max(across / out_width, down / out_height)
            return Plan(
                largest_reduction(scale), region, None, mirror, draws, self._box(across / scale, down / scale, draws)
            )
        scale = min(region[2] * width / out_width, region[3] * height / out_height)
        return Plan(largest_reduction(scale), region, None, mirror, draws)

    def _box(self, across: float, down: float, draws: Any) -> tuple[int, int, int, int] | None:
        out_height, out_width = self.preprocess.size
        width, height = max(1, int(across + 0.5)), max(1, int(down + 0.5))
        if (width, height) == (out_width, out_height):
            return None
        free = out_width - width, out_height - height
        if self.augment.rand_crop and self.augment.rand_resized_crop is None:
            return int(draws[self._X] * (free[0] + 1)), int(draws[self._Y] * (free[1] + 1)), width, height
        return free[0] // 2, free[1] // 2, width, height

    def _random_crop(self, width: int, height: int, draws: Any) -> tuple[float, float, float, float]:
        short = self.preprocess.short_side
        scale = min(width, height) / short if short else 1.0
        out_height, out_width = self.preprocess.size
        scale = min(scale, width / out_width, height / out_height)
        return _placed(out_width * scale / width, out_height * scale / height, draws[self._X], draws[self._Y])

    def _resized_crop(self, width: int, height: int, least: float, draws: Any) -> tuple[float, float, float, float]:
        share = least + (1 - least) * draws[self._AREA]
        # Of the ratios from 3:4 to 4:3, those with which a region of that area fits into the image.
        lowest = min(max(3 / 4, share * width / height), 4 / 3)
        highest = max(min(4 / 3, width / (share * height)), 3 / 4)
        low, high = sorted((lowest, highest))
        ratio = low * (high / low) ** draws[self._RATIO]
        across = min(1.0, math.sqrt(share * ratio * height / width))
        down = min(1.0, math.sqrt(share / ratio * width / height))
        return _placed(across, down, draws[self._X], draws[self._Y])

    def write(self, image: np.ndarray, plan: Plan, out: np.ndarray) -> None:
        """Write one input into ``out``, (3, height, width) float32, contiguous.

        ``image`` is (H, W, 3) uint8 in BGR order, reduced as ``plan`` says.
        """
        if plan.box is not None:
            left, top, width, height = plan.box
            picture = np.empty((3, height, width), np.float32)
            self.write(image, plan._replace(box=None), picture)
            out.fill(0)
            out[:, top : top + height, left : left + width] = picture
            return
        crop = self._centre(image, plan.resized) if plan.region is None else self._cut(image, plan.region, out)
        if plan.mirror:
            crop = cv2.flip(crop, 1)
        if self.augment.changes_colour:
            self._write_coloured(crop, plan.draws, out)
        else:
            planes = cv2.split(crop)
            for table, channel, plane in zip(self._tables, self._source_channels, out):
                cv2.LUT(planes[channel], table, dst=plane)

    def _resize(self, image: np.ndarray, width: int, height: int) -> np.ndarray:
        if image.shape[:2] == (height, width):
            return image
        return cv2.resize(image, (width, height), interpolation=self._interpolation)

    def _cut(self, image: np.ndarray, region: tuple[float, float, float, float], out: np.ndarray) -> np.ndarray:
        left, top, across, down = region
        rows, columns = image.shape[:2]
        width, height = max(1, int(across * columns + 0.5)), max(1, int(down * rows + 0.5))
        left = min(int(left * columns + 0.5), columns - width)
        top = min(int(top * rows + 0.5), rows - height)
        out_height, out_width = out.shape[1:]
        return self._resize(image[top : top + height, left : left + width], out_width, out_height)

    def _centre(self, image: np.ndarray, resized: tuple[int, int] | None) -> np.ndarray:
        if resized is not None:
            image = self._resize(image, *resized)
        rows, columns = image.shape[:2]
        out_height, out_width = self.preprocess.size
        # A crop larger than the image shrinks to what fits, its shape kept, and is enlarged afterwards.
        width, height = out_width, out_height
        if columns * out_height < rows * out_width and columns < out_width:
            width, height = columns, max(1, out_height * columns // out_width)
        elif rows < out_height:
            width, height = max(1, out_width * rows // out_height), rows
        left, top = (columns - width) // 2, (rows - height) // 2
        return self._resize(image[top : top + height, left : left + width], out_width, out_height)

    def _write_coloured(self, crop: np.ndarray, draws: Any, out: np.ndarray) -> None:
        matrix, offset = self._colour_change(np.array(cv2.mean(crop)[2::-1]), draws)
        if self.preprocess.channels == "bgr":
            matrix, offset = matrix[::-1], offset[::-1]
        std = np.array(self.preprocess.std)
        affine = np.empty((3, 4), np.float32)
        affine[:, :3] = (matrix / std[:, None])[:, ::-1]
        affine[:, 3] = (offset - self.preprocess.mean) / std
        cv2.split(cv2.transform(crop.astype(np.float32), affine), list(out))

    def _colour_change(self, mean: np.ndarray, draws: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the matrix (3, 3) and the offset (3,) that change RGB values; ``mean`` is the crop's mean colour.

        Every change is linear in the colours, so that all of them together are one matrix and one offset.
        """
        augment = self.augment
        matrix, offset = np.eye(3), np.zeros(3)
        for change in _ORDERS[int(draws[self._ORDER] * 6)]:
            if change == 0 and augment.brightness:
                factor = _around_one(augment.brightness, draws[self._BRIGHTNESS])
                matrix, offset = factor * matrix, factor * offset
            elif change == 1 and augment.contrast:
                factor = _around_one(augment.contrast, draws[self._CONTRAST])
                gray = _LUMA @ (matrix @ mean + offset)
                matrix, offset = factor * matrix, factor * offset + (1 - factor) * gray
            elif change == 2 and augment.saturation:
                factor = _around_one(augment.saturation, draws[self._SATURATION])
                mixing = factor * np.eye(3) + (1 - factor) * _LUMA
                matrix, offset = mixing @ matrix, mixing @ offset
        if augment.hue:
            angle = math.pi * augment.hue * (2 * draws[self._HUE] - 1)
            turn = np.eye(3)
            turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            turn = _FROM_YIQ @ turn @ _YIQ
            matrix, offset = turn @ matrix, turn @ offset
        if augment.pca_noise:
            # Box-Muller: four uniform numbers make (at least) three normal ones.
            radius = np.sqrt(-2 * np.log(1 - draws[self._PCA : self._PCA + 2]))
            angle = 2 * math.pi * draws[self._PCA + 2 : self._PCA + 4]
            normal = np.concatenate([radius * np.cos(angle), radius[:1] * np.sin(angle[:1])])
            offset = offset + _PCA_VECTORS @ (augment.pca_noise * normal * _PCA_VALUES)
        if augment.rand_gray and draws[self._GRAY] < augment.rand_gray:
            mixing = np.tile(_LUMA, (3, 1))
            matrix, offset = mixing @ matrix, mixing @ offset
        return matrix, offset


def prepare(image: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Turn an RGB image, (H, W, 3) uint8, into one input, (3, height, width) float32, with nothing varied."""
    transform = Transform(preprocess)
    plan = transform.plan(image.shape[1], image.shape[0])
    out = np.empty(preprocess.data_shape, np.float32)
    bgr = cv2.cvtColor(reduced(image, plan.reduction), cv2.COLOR_RGB2BGR)
    transform.write(bgr, plan, out)
    return out


def _around_one(spread: float, draw: float) -> float:
    return 1 + spread * (2 * draw - 1)


def _short_resized(width: int, height: int, short: int | None) -> tuple[int, int] | None:
    if short is None:
        return None
    return (short, short * height // width) if height > width else (short * width // height, short)


def _placed(across: float, down: float, x: float, y: float) -> tuple[float, float, float, float]:
    return (x * (1 - across), y * (1 - down), across, down)
