"""A contact sheet of similar images: one row for each image, and what was found for it beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mxml import atomic
from mxml.data.image_sources import ImageContent, to_pixels
from mxml.data.record_list import image_source
from mxml.errors import ImageError, MxmlError, SettingError
from mxml.images.decode import Limits, largest_reduction, read_file
from mxml.images.drawing import drawable
from mxml.images.grid import Cell, draw_grid
from mxml.images.picture_file import SUFFIXES, encoded
from mxml.inference.similar import SimilarIndex
from mxml.inference.similar_images import ListedImage, SimilarImages, SimilarPair

_SIDE = 180
MOST_ROWS = 50


def draw_similar(index: SimilarIndex, found: Sequence[SimilarImages]) -> np.ndarray:
    """Draw images with what was found for them, at most 50 rows: (H, W, 3) uint8 RGB. Raises MxmlError without any."""
    rows = []
    for entry in [entry for entry in found if entry.error is None][:MOST_ROWS]:
        own = Cell(_picture(partial(read_file, entry.path), entry.path), [_name(entry.path)])
        rows.append([own, *(_cell(index, image) for image in entry.images)])
    return _drawn(rows, ["image"])


def draw_pairs(index: SimilarIndex, pairs: Sequence[SimilarPair]) -> np.ndarray:
    """Draw pairs of images, at most 50: (H, W, 3) uint8 RGB. Raises MxmlError without any."""
    return _drawn([[_cell(index, pair.first), _cell(index, pair.second)] for pair in pairs[:MOST_ROWS]], [])


def save_sheet(path: str | os.PathLike[str], sheet: np.ndarray) -> None:
    """Write a sheet as JPEG or, where the path ends in .png, as PNG. Raises SettingError, StorageError."""
    require_picture_name(path)
    atomic.write_bytes(path, encoded(sheet, path, quality=88))


def require_picture_name(path: str | os.PathLike[str]) -> None:
    """Raise SettingError unless ``save_sheet`` can write a file of that name."""
    if not os.fspath(path).lower().endswith(SUFFIXES):
        raise SettingError("out", os.fspath(path), "a file that ends in .jpg, .jpeg or .png")


def _drawn(rows: Sequence[Sequence[Cell]], titles: Sequence[str]) -> np.ndarray:
    if not rows:
        raise MxmlError("there is nothing to draw")
    columns = max(map(len, rows))
    empty = Cell(np.full((_SIDE, _SIDE, 3), 255, np.uint8), [""])
    names = [*titles, *(f"{number}" for number in range(1, columns - len(titles) + 1))]
    return draw_grid(names, [[*row, *[empty] * (columns - len(row))] for row in rows])


def _cell(index: SimilarIndex, image: ListedImage) -> Cell:
    source = image_source(index.images)
    picture = _picture(lambda: source.read(image.position, Limits()), image.path)
    labels = [drawable(name, "?") for name in image.label_names] or ["no label"] * image.labelled
    return Cell(picture, [f"distance {image.distance:.3f}", _name(image.path), *labels])


def _name(path: str) -> str:
    return drawable(os.path.basename(path), "?")


def _picture(read: Callable[[], ImageContent], name: str) -> np.ndarray:
    """Return the image inside a square, on white; an empty square where it cannot be read any more."""
    from PIL import Image

    square = Image.new("RGB", (_SIDE, _SIDE), "white")
    try:
        pixels = to_pixels(read(), lambda width, height: largest_reduction(max(width, height) / _SIDE), Limits(), name)
    except ImageError:
        return np.asarray(square)
    picture = Image.fromarray(np.ascontiguousarray(pixels.bgr[:, :, ::-1]))
    width, height = pixels.size
    scale = _SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    square.paste(picture.resize(size, Image.Resampling.LANCZOS), ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return np.asarray(square)
