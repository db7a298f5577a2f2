"""A small set of drawings in folders named colour_garment, as the Keras tutorial has photographs of clothes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

FOLDERS = ("black_jeans", "blue_dress", "blue_jeans", "blue_shirt", "red_dress", "red_shirt")
_COLOURS = {"black": (25, 25, 25), "blue": (40, 70, 200), "red": (205, 35, 40)}
_SIDE = 72


def draw(colour: str, garment: str, generator: np.random.Generator) -> np.ndarray:
    """Return a garment (H, W, 3) uint8 in RGB, at a random place and of a random size before a wall of colours."""
    wall = generator.integers(150, 255, (5, 5, 3)).astype(np.uint8)
    image = cv2.resize(wall, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    image = np.clip(image.astype(int) + generator.integers(-12, 12, image.shape), 0, 255).astype(np.uint8)
    paint = tuple(int(part) for part in np.clip(np.add(_COLOURS[colour], generator.integers(-20, 20, 3)), 0, 255))
    size, (x, y) = generator.uniform(0.7, 1.1), generator.integers(-8, 9, 2)
    shapes = {
        "dress": [[(-6, -28), (6, -28), (24, 28), (-24, 28)]],
        "jeans": [[(-15, -28), (-3, -28), (-4, 28), (-16, 28)], [(3, -28), (15, -28), (16, 28), (4, 28)]],
        "shirt": [[(-14, -20), (14, -20), (14, 22), (-14, 22)], [(-30, -20), (30, -20), (30, -8), (-30, -8)]],
    }
    for points in shapes[garment]:
        corners = np.array(points) * size + _SIDE / 2 + (x, y)
        cv2.fillPoly(image, [corners.astype(np.int32)], paint)
    return image


def make_folders(dataset: Path, each: int, examples: Path, seed: int = 0) -> None:
    """Write ``each`` drawings into every folder of ``dataset``, and one more of each into ``examples``."""
    generator = np.random.default_rng(seed)
    examples.mkdir()
    for folder in FOLDERS:
        colour, garment = folder.split("_")
        (dataset / folder).mkdir(parents=True)
        paths = [dataset / folder / f"{number:08}.png" for number in range(each)]
        for path in (*paths, examples / f"{folder}.png"):
            assert cv2.imwrite(str(path), draw(colour, garment, generator)[..., ::-1])
