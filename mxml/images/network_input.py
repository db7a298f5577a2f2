"""Pixels to network input, as ``Preprocess`` and ``Augment`` say.

An image is resized so that its short side has the length asked for, and cropped to the network's size: at its centre,
or at random. A random crop is cut from the original first and only that part is resized, which is the same up to
rounding to whole pixels of the original, and cheaper. Where images are not to be cropped, the whole of one, or a random
part, is resized to the network's size, or to the largest box inside it that has the part's shape. Of an original at
least two, four or eight times larger than needed, the decoder is asked for one reduced by that factor.

An image that is turned, moved, sheared or zoomed is cut, resized and flipped by the same warp, in one pass.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from mxml.images import draw_columns as column
from mxml.images import geometry, rand_augment
from mxml.images.colour import colour_change
from mxml.images.decode import largest_reduction, reduced
from mxml.images.geometry import Region
from mxml.images.rand_augment import Operation
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
# What OpenCV's warpAffine can take a pixel from.
_LONGEST_WARPED = (1 << 15) - 2
# What OpenCV's flip calls both directions; 1 is left to right, 0 is top to bottom.
_BOTH = -1


class Plan(NamedTuple):
    """What is done to one image.

    ``reduction`` is asked of the decoder. ``region`` is the part that is shown, None for the centre crop. ``resized``
    is the (width, height) that a centre crop is cut from. ``flip`` is what OpenCV's flip takes. ``box`` is (left, top,
    width, height) in pixels of the input, which the region fills, with 0 around it; None where it fills all. ``warp``
    is what ``geometry`` says; a plan with one has a region, and its flip is in the warp.
    """

    reduction: int
    region: Region | None
    resized: tuple[int, int] | None
    flip: int | None
    draws: Any
    box: tuple[int, int, int, int] | None = None
    warp: np.ndarray | None = None
    operations: tuple[Operation, ...] = ()


class Shown(NamedTuple):
    """What an input shows of an image: ``region`` of it, and ``box``, where in the input that is.

    ``box`` is (left, top, width, height) in pixels of the input.
    """

    region: Region
    box: tuple[int, int, int, int]


class Transform:
    """Carries out a ``Preprocess`` and an ``Augment``; holds nothing that changes, so threads can share it.

    ``plan`` needs only an image's size, so that the decoder can be asked for a reduced one; ``write`` does the rest.
    """

    COLUMNS = column.COLUMNS

    def __init__(self, preprocess: Preprocess, augment: Augment | None = None):
        self.preprocess = preprocess
        self.augment = augment or Augment()
        self._takes_all = preprocess.fit != "crop"
        self._boxes = preprocess.fit == "letterbox"
        self._interpolation = _INTERPOLATIONS[preprocess.interpolation]
        # The others take a warp several times as long.
        self._warp_interpolation = cv2.INTER_NEAREST if preprocess.interpolation == "nearest" else cv2.INTER_LINEAR
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
        flip = self._flip(draws)
        region = self._region(width, height, draws)
        if region is None:
            short = self.preprocess.short_side
            reduction = largest_reduction(min(width, height) / short) if short else 1
            return Plan(reduction, None, geometry.short_resized(width, height, short), flip, draws)
        out_height, out_width = self.preprocess.size
        across, down = region[2] * width, region[3] * height
        box = None
        if self._boxes:
            scale = max(across / out_width, down / out_height)
            # One division each, and whole numbers before it: half a pixel is then exactly half.
            narrow = across * out_height < down * out_width
            box = self._box(
                across * out_height / down if narrow else out_width,
                out_height if narrow else down * out_width / across,
                draws,
            )
        else:
            scale = min(across / out_width, down / out_height)
        if not augment.moves_pixels:
            return Plan(largest_reduction(scale), region, None, flip, draws, box)
        size = (out_width, out_height) if box is None else box[2:]
        operations = rand_augment.draw_operations(*augment.rand_augment, draws) if augment.rand_augment else ()
        warps = [*geometry.random_warps(augment, draws, size), *rand_augment.warps_of(operations, size)]
        if not warps:
            return Plan(largest_reduction(scale), region, None, flip, draws, box, None, operations)
        if flip is not None:
            warps.append(geometry.scaling(1 if flip == 0 else -1, 1 if flip == 1 else -1))
        warp = functools.reduce(np.matmul, warps)
        scale = geometry.smallest_scale(across / size[0], down / size[1], warp)
        return Plan(largest_reduction(scale), region, None, None, draws, box, warp, operations)

    def _flip(self, draws: Any) -> int | None:
        mirror = self.augment.rand_mirror and draws[column.MIRROR] < 0.5
        upside_down = self.augment.vertical_flip and draws[column.FLIP] < 0.5
        if mirror:
            return _BOTH if upside_down else 1
        return 0 if upside_down else None

    def _region(self, width: int, height: int, draws: Any) -> Region | None:
        augment, preprocess = self.augment, self.preprocess
        if augment.rand_resized_crop is not None:
            return geometry.resized_crop_region(width, height, augment.rand_resized_crop, draws)
        if self._takes_all:
            return geometry.WHOLE
        if augment.rand_crop or augment.moves_pixels:
            place = (draws[column.X], draws[column.Y]) if augment.rand_crop else (0.5, 0.5)
            return geometry.crop_region(width, height, preprocess.short_side, preprocess.size, place)
        return None

    def _box(self, across: float, down: float, draws: Any) -> tuple[int, int, int, int] | None:
        out_height, out_width = self.preprocess.size
        width, height = max(1, int(across + 0.5)), max(1, int(down + 0.5))
        if (width, height) == (out_width, out_height):
            return None
        free = out_width - width, out_height - height
        if self.augment.rand_crop and self.augment.rand_resized_crop is None:
            return int(draws[column.X] * (free[0] + 1)), int(draws[column.Y] * (free[1] + 1)), width, height
        return free[0] // 2, free[1] // 2, width, height

    def write(self, image: np.ndarray, plan: Plan, out: np.ndarray) -> None:
        """Write one input into ``out``, (3, height, width) float32, contiguous.

        ``image`` is (H, W, 3) uint8 in BGR order, reduced as ``plan`` says.
        """
        if plan.box is None:
            self._write_picture(image, plan, out)
        else:
            left, top, width, height = plan.box
            picture = np.empty((3, height, width), np.float32)
            self._write_picture(image, plan, picture)
            out.fill(0)
            out[:, top : top + height, left : left + width] = picture
        if self.augment.cutout:
            self._cut_out(plan.draws, out)

    def _write_picture(self, image: np.ndarray, plan: Plan, out: np.ndarray) -> None:
        if plan.region is None:
            crop = self._centre(image, plan.resized)
        elif plan.warp is None:
            crop = self._cut(image, plan.region, out)
        else:
            crop = self._warped(image, plan.region, plan.warp, out)
        if plan.flip is not None:
            crop = cv2.flip(crop, plan.flip)
        levels = None
        if plan.operations:
            crop, levels = rand_augment.change_pixels(crop, plan.operations)
        if self.augment.changes_colour:
            self._write_coloured(rand_augment.look_up(crop, levels), plan.draws, out)
            return
        planes = cv2.split(crop)
        for table, channel, plane in zip(self._tables, self._source_channels, out):
            cv2.LUT(planes[channel], table if levels is None else table[levels[channel]], dst=plane)

    def _resize(self, image: np.ndarray, width: int, height: int) -> np.ndarray:
        if image.shape[:2] == (height, width):
            return image
        return cv2.resize(image, (width, height), interpolation=self._interpolation)

    def _cut(self, image: np.ndarray, region: Region, out: np.ndarray) -> np.ndarray:
        left, top, across, down = region
        rows, columns = image.shape[:2]
        width, height = max(1, int(across * columns + 0.5)), max(1, int(down * rows + 0.5))
        left = min(int(left * columns + 0.5), columns - width)
        top = min(int(top * rows + 0.5), rows - height)
        out_height, out_width = out.shape[1:]
        return self._resize(image[top : top + height, left : left + width], out_width, out_height)

    def _warped(self, image: np.ndarray, region: Region, warp: np.ndarray, out: np.ndarray) -> np.ndarray:
        if max(image.shape[:2]) > _LONGEST_WARPED:
            image, region = self._cut(image, region, out), geometry.WHOLE
        shown = out.shape[2], out.shape[1]
        return cv2.warpAffine(
            image,
            geometry.source_matrix(warp, region, shown, (image.shape[1], image.shape[0])),
            shown,
            flags=self._warp_interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )

    def _centre(self, image: np.ndarray, resized: tuple[int, int] | None) -> np.ndarray:
        if resized is not None:
            image = self._resize(image, *resized)
        out_height, out_width = self.preprocess.size
        left, top, width, height = geometry.centre_crop(image.shape[1], image.shape[0], self.preprocess.size)
        return self._resize(image[top : top + height, left : left + width], out_width, out_height)

    def _write_coloured(self, crop: np.ndarray, draws: Any, out: np.ndarray) -> None:
        matrix, offset = colour_change(self.augment, np.array(cv2.mean(crop)[2::-1]), draws)
        if self.preprocess.channels == "bgr":
            matrix, offset = matrix[::-1], offset[::-1]
        std = np.array(self.preprocess.std)
        affine = np.empty((3, 4), np.float32)
        affine[:, :3] = (matrix / std[:, None])[:, ::-1]
        affine[:, 3] = (offset - self.preprocess.mean) / std
        cv2.split(cv2.transform(crop.astype(np.float32), affine), list(out))

    def _cut_out(self, draws: Any, out: np.ndarray) -> None:
        places = []
        for side, draw in zip(out.shape[1:], (draws[column.CUTOUT_Y], draws[column.CUTOUT_X])):
            length = math.ceil(self.augment.cutout * side)
            first = int(draw * side) - length // 2
            places.append(slice(max(0, first), first + length))
        out[:, places[0], places[1]] = 0


def prepare(image: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Turn an RGB image, (H, W, 3) uint8, into one input, (3, height, width) float32, with nothing varied."""
    transform = Transform(preprocess)
    plan = transform.plan(image.shape[1], image.shape[0])
    out = np.empty(preprocess.data_shape, np.float32)
    bgr = cv2.cvtColor(reduced(image, plan.reduction), cv2.COLOR_RGB2BGR)
    transform.write(bgr, plan, out)
    return out


def shown_part(preprocess: Preprocess, width: int, height: int) -> Shown:
    """Return what an input shows of an image of ``width`` x ``height`` where nothing is varied."""
    plan = Transform(preprocess).plan(width, height)
    out_height, out_width = preprocess.size
    if plan.region is not None:
        return Shown(plan.region, plan.box or (0, 0, out_width, out_height))
    columns, rows = plan.resized or (width, height)
    left, top, across, down = geometry.centre_crop(columns, rows, preprocess.size)
    return Shown((left / columns, top / rows, across / columns, down / rows), (0, 0, out_width, out_height))
