from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.fft
from PIL import Image

from mxml.images.decode import load
from mxml.images.perceptual_hash import colour_grid, perceptual_hash
from mxml.prepare.duplicates import NEAR
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()


def photograph(seed: int, height: int = 200, width: int = 300) -> np.ndarray:
    """Smooth coloured noise of several sizes, as the light and shade of a scene is; (H, W, 3) uint8 BGR."""
    chance = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cells in (4, 8, 16, 32):
        coarse = chance.normal(size=(cells, cells, 3)) * 60 / np.sqrt(cells / 4)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(total + 120, 0, 255).astype(np.uint8)


def bits_between(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.unpackbits(perceptual_hash(first) ^ perceptual_hash(second)).sum())


def saved(image: np.ndarray, format: str, **options) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image[:, :, ::-1]).save(file, format, **options)
    return np.asarray(Image.open(file).convert("RGB"))[:, :, ::-1].copy()


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def brightened(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(image * factor, 0, 255).astype(np.uint8)


def cropped(image: np.ndarray, share: float) -> np.ndarray:
    down, across = (round(side * share) for side in image.shape[:2])
    return image[down:-down, across:-across].copy()


CHANGES = {
    "jpeg 40": lambda image: saved(image, "JPEG", quality=40),
    "webp": lambda image: saved(image, "WEBP", quality=75),
    "half": lambda image: scaled(image, 0.5),
    "double": lambda image: scaled(image, 2),
    "brighter": lambda image: brightened(image, 1.15),
    "darker": lambda image: brightened(image, 0.85),
    "grey": lambda image: cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
    "cropped by 1 % a side": lambda image: cropped(image, 0.01),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_a_picture_little_changes_few_bits(change):
    for seed in range(10):
        image = photograph(seed)
        assert bits_between(image, change(image)) <= NEAR


@pytest.mark.parametrize("change", [*CHANGES.values(), lambda image: cropped(image, 0.02)], ids=[*CHANGES, "cropped"])
def test_so_it_is_for_photographs(shared, change):
    names = sorted((shared / "data" / "miml-scene" / "images").iterdir())[::40]
    images = [load(name, channels="bgr") for name in names]
    assert sum(bits_between(image, change(image)) <= NEAR for image in images) >= 0.95 * len(images)


def test_different_pictures_are_far_apart():
    hashes = np.unpackbits([perceptual_hash(photograph(seed)) for seed in range(60)], axis=1).astype(int)
    distances = (hashes[:, None] != hashes).sum(axis=2)[np.triu_indices(60, 1)]
    assert distances.min() > 1.5 * NEAR
    assert 120 < distances.mean() < 136


def test_the_bits_are_the_signs_of_the_lowest_frequencies():
    chance = np.random.default_rng(3)
    grey = chance.integers(0, 256, (32, 32), dtype=np.uint8)
    ramp = [np.sin(np.pi / 2 * min(1, (min(i, 31 - i) + 0.5) / 4)) ** 2 for i in range(32)]
    weight = np.outer(ramp, ramp)
    centred = (grey - (grey * weight).sum() / weight.sum()) * weight
    spectrum = scipy.fft.dctn(centred, norm="ortho")
    diagonals = sorted((row + column, row, column) for row in range(32) for column in range(32))[1:257]
    expected = [spectrum[row, column] > 0 for _, row, column in diagonals]
    found = np.unpackbits(perceptual_hash(np.repeat(grey[:, :, None], 3, axis=2)))
    assert found.tolist() == expected


ROWS, COLUMNS = np.mgrid[0:200, 0:300]
FLAT = {
    "black": np.zeros((200, 300)),
    "white": np.full((200, 300), 255),
    "gradient": COLUMNS * 0.8,
    "slanting gradient": (ROWS + COLUMNS) * 0.5,
    "two halves": (COLUMNS > 150) * 255,
    "noise": np.random.default_rng(0).normal(128, 3, (200, 300)),
    "small": np.random.default_rng(0).integers(0, 256, (15, 300)),
}


@pytest.mark.parametrize("flat", FLAT.values(), ids=FLAT)
def test_pictures_without_structure_have_a_void_hash(flat):
    image = np.repeat(flat.astype(np.uint8)[:, :, None], 3, axis=2)
    assert not perceptual_hash(image).any()
    assert not perceptual_hash(saved(image, "JPEG", quality=40)).any()


def test_the_grid_holds_the_mean_colours_of_cells():
    image = np.zeros((80, 120, 3), np.uint8)
    image[:20, 90:] = (255, 0, 0)  # blue, the fourth cell
    image[60:, :30] = (0, 0, 255)  # red, the thirteenth
    image[30:40, 30:60] = 255  # white, the lower half of the sixth
    luma, blue, red = colour_grid(image).reshape(3, 16).tolist()
    # ITU-R BT.601: Y = 0.299 R + 0.587 G + 0.114 B, Cb = 128 + (B - Y) / 1.772, Cr = 128 + (R - Y) / 1.402
    assert [luma[3], blue[3], red[3]] == pytest.approx([29, 255, 107], abs=1)
    assert [luma[12], blue[12], red[12]] == pytest.approx([76, 85, 255], abs=1)
    assert [luma[5], blue[5], red[5]] == pytest.approx([128, 128, 128], abs=1)
    rest = [0, 1, 2, 4, 6, 7, 8, 9, 10, 11, 13, 14, 15]
    assert [(luma[cell], blue[cell], red[cell]) for cell in rest] == [(0, 128, 128)] * 13


def test_the_grid_of_a_single_pixel_is_its_colour():
    grid = colour_grid(np.array([[[0, 0, 255]]], np.uint8)).reshape(3, 16)
    assert grid[:, 0] == pytest.approx([76, 85, 255], abs=1) and (grid == grid[:, :1]).all()
