"""RandAugment's operations against Pillow's, which the paper's are."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from mxml.data import sampling
from mxml.images import draw_columns as column
from mxml.images.network_input import Transform
from mxml.images.rand_augment import Operation, change_pixels, draw_operations, look_up
from mxml.images.transforms import Augment, Preprocess

NAMES = [
    "auto_contrast",
    "brightness",
    "contrast",
    "equalize",
    "identity",
    "posterize",
    "rotate",
    "saturation",
    "sharpness",
    "shear_x",
    "shear_y",
    "shift_x",
    "shift_y",
    "solarize",
]
AMOUNTS = {
    "auto_contrast": [0.0],
    "equalize": [0.0],
    "identity": [0.0],
    "posterize": [0.0, 1.0, 2.8, 4.0],
    "solarize": [0.0, 25.6, 230.4, 256.0],
    **{name: [-0.9, -0.45, 0.0, 0.27, 0.9] for name in ("brightness", "contrast", "saturation", "sharpness")},
}


def pillows(image: Image.Image, name: str, amount: float) -> Image.Image:
    enhancers = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
        "sharpness": ImageEnhance.Sharpness,
    }
    if name in enhancers:
        return enhancers[name](image).enhance(1 + amount)
    if name == "posterize":
        return ImageOps.posterize(image, 8 - round(amount))
    if name == "solarize":
        return ImageOps.solarize(image, math.ceil(256 - amount))
    if name == "auto_contrast":
        return ImageOps.autocontrast(image)
    return ImageOps.equalize(image) if name == "equalize" else image


def photograph(seed: int) -> np.ndarray:
    """Return (40, 50, 3) smooth RGB in which not all levels occur."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 7, 3)) * random.uniform(0.2, 0.7) + random.uniform(0, 60)
    return cv2.resize(coarse.astype(np.uint8), (50, 40), interpolation=cv2.INTER_LINEAR)


def changed(image: np.ndarray, *operations: Operation) -> np.ndarray:
    """Carry operations out on an RGB image."""
    bgr, levels = change_pixels(np.ascontiguousarray(image[:, :, ::-1]), operations)
    return look_up(bgr, levels)[:, :, ::-1]


@pytest.mark.parametrize(("name", "amount"), [(name, amount) for name in AMOUNTS for amount in AMOUNTS[name]])
def test_an_operation_is_pillows(name, amount):
    for seed in range(3):
        image = photograph(seed)
        got = changed(image, Operation(name, amount)).astype(int)
        expected = np.asarray(pillows(Image.fromarray(image), name, amount)).astype(int)
        # Pillow cuts fractions off, and leaves the outermost pixels out when it sharpens.
        tolerance = 0 if name in ("equalize", "posterize", "solarize", "identity") else 1
        inner = slice(1, -1) if name == "sharpness" else slice(None)
        assert np.abs(got - expected)[inner, inner].max() <= tolerance + (name == "sharpness")


def test_an_image_of_one_level_stays():
    image = np.full((5, 5, 3), 90, np.uint8)
    for name in ("auto_contrast", "equalize", "contrast", "sharpness", "saturation"):
        assert np.array_equal(changed(image, Operation(name, 0.5)), image)


operations = st.sampled_from(sorted(AMOUNTS)).flatmap(
    lambda name: st.sampled_from(AMOUNTS[name]).map(lambda amount: Operation(name, amount))
)


@settings(max_examples=60, deadline=None)
@given(st.lists(operations, min_size=2, max_size=5), st.integers(0, 5))
def test_several_at_once_are_the_same_as_one_after_another(several, seed):
    image = photograph(seed)
    expected = image
    for operation in several:
        expected = changed(expected, operation)
    assert np.array_equal(changed(image, *several), expected)


def test_each_operation_is_drawn_as_often_in_both_directions():
    rows = sampling.uniforms(4, 0, np.arange(7000), Transform.COLUMNS)
    drawn = [draw_operations(2, 5, row) for row in rows]
    assert all(len(several) == 2 for several in drawn)
    for place in range(2):
        counts = {name: sum(several[place].name == name for several in drawn) for name in NAMES}
        assert sum(counts.values()) == 7000 and 400 < min(counts.values()) <= max(counts.values()) < 600
    turns = [operation.amount for several in drawn for operation in several if operation.name == "rotate"]
    assert set(turns) == {-15.0, 15.0} and 0.4 < np.mean(np.array(turns) > 0) < 0.6
    assert {op.amount for several in drawn for op in several if op.name == "posterize"} == {2.0}
    assert {op.name for row in rows[:99] for op in draw_operations(1, 0, row) if op.amount} == set()


def row_for(*names: str) -> np.ndarray:
    row = np.full(Transform.COLUMNS, 0.75)
    for number, name in enumerate(names):
        row[column.OPERATION + 2 * number] = (NAMES.index(name) + 0.5) / len(NAMES)
    return row


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_the_input_shows_what_the_operations_made(channels):
    image = photograph(9)
    preprocess = Preprocess((40, 50), None, (10, 20, 30), (2, 4, 5), channels, "linear")
    transform = Transform(preprocess, Augment(rand_augment=(2, 10)))

    def written(row):
        out = np.empty(preprocess.data_shape, np.float32)
        transform.write(np.ascontiguousarray(image[:, :, ::-1]), transform.plan(50, 40, row), out)
        return out * np.array([2, 4, 5])[:, None, None] + np.array([10, 20, 30])[:, None, None]

    pixels = ImageOps.solarize(ImageOps.posterize(Image.fromarray(image), 4), 0)
    expected = np.asarray(pixels)[:, :, :: 1 if channels == "rgb" else -1].transpose(2, 0, 1)
    assert np.allclose(written(row_for("posterize", "solarize")), expected, atol=1e-3)
    # Moved by 45 % of the height, with its mirror image above; then levels are spread.
    shifted = np.concatenate([image[:18][::-1], image[:22]])
    expected = np.asarray(ImageOps.equalize(Image.fromarray(shifted)))
    expected = expected[:, :, :: 1 if channels == "rgb" else -1].transpose(2, 0, 1)
    assert np.allclose(written(row_for("equalize", "shift_y")), expected, atol=1e-3)
