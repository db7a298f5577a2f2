"""An image with a panel below it: a line for each label, with its name, its score and a bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mxml.images.fonts import drawable, font_for, shortened
from mxml.images.label_colours import PANEL, Colour

if TYPE_CHECKING:
    from PIL import ImageDraw

# A drawn image's longer side: enlarged up to the first, so that the text has room; reduced down to the second.
SHORTEST_DRAWING = 480
LONGEST_DRAWING = 1600
NARROWEST_PANEL = 360

_TRACK = (55, 65, 81)
_MISSED = (107, 114, 128)
_MISSED_INK = (156, 163, 175)
_INK = (255, 255, 255)
_PLAIN: Colour = (0, 136, 221)


@dataclass(frozen=True)
class Row:
    """One line of the panel: text, and below it a bar from the left (score 0) to ``score`` (1 is the right end).

    Without a score it has no bar. ``replacement`` is the text where no font has the letters of ``text``. A white mark
    shows the threshold; text and bar are grey unless it is ``reached``.
    """

    text: str
    replacement: str = ""
    score: float | None = None
    threshold: float = 0.0
    reached: bool = False
    colour: Colour = _PLAIN


def draw_panel(image: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
    """Return ``image``, (H, W, 3) uint8 RGB, with a panel of ``rows`` below it: (H', W', 3) uint8 RGB.

    A small image is enlarged and a large one reduced, so that the text is readable.
    """
    size = drawn_size(image)
    return stacked(resized(image, size), rows_panel(rows, max(size[0], NARROWEST_PANEL)))


def drawn_size(image: np.ndarray) -> tuple[int, int]:
    """Return how wide and high ``draw_panel`` shows an image; raises ValueError for what is no (H, W, 3) uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"expected an (H, W, 3) uint8 image, got {image.shape} {image.dtype}")
    height, width = image.shape[:2]
    longest = max(width, height)
    scale = min(max(1.0, SHORTEST_DRAWING / longest), LONGEST_DRAWING / longest)
    return max(1, round(width * scale)), max(1, round(height * scale))


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an (H, W, 3) uint8 image of ``size``, (width, height)."""
    from PIL import Image

    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def stacked(picture: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """Return a picture with a panel below it that is at least as wide: (H', W', 3) uint8."""
    height, width = picture.shape[:2]
    canvas = np.empty((height + panel.shape[0], panel.shape[1], 3), np.uint8)
    canvas[:height] = PANEL
    left = (panel.shape[1] - width) // 2
    canvas[:height, left : left + width] = picture
    canvas[height:] = panel
    return canvas


def rows_panel(rows: Sequence[Row], width: int, slots: int | None = None) -> np.ndarray:
    """Return the panel of ``rows`` alone, (H, ``width``, 3) uint8 RGB, with room for ``slots`` rows in place of theirs.

    A row's height depends on the width only.
    """
    from PIL import Image, ImageDraw

    font_size = max(15, min(width // 30, max(40, width // 40)))
    height = row_height(font_size)
    canvas = Image.new("RGB", (width, height * (len(rows) if slots is None else slots) + font_size // 3), PANEL)
    pen = ImageDraw.Draw(canvas)
    for number, row in enumerate(rows):
        draw_row(pen, row, (font_size // 2, number * height), width - 2 * (font_size // 2), font_size)
    return np.asarray(canvas)


def row_height(font_size: int) -> int:
    """Return how high a row is in a font of this size."""
    return round(font_size * 1.9)


def draw_row(pen: ImageDraw.ImageDraw, row: Row, place: tuple[int, int], width: int, font_size: int) -> None:
    """Draw one row with its upper left corner at ``place``."""
    left, top = place
    ink = _INK if row.reached or row.score is None else _MISSED_INK
    middle = top + round(font_size * 0.85)
    room = float(width)
    if row.score is not None:
        score = f"{row.score:.2f}"
        font = font_for(score, font_size)
        pen.text((left + width, middle), score, fill=ink, font=font, anchor="rm")
        room -= font.getlength(score) + font_size // 2
        _draw_bar(pen, row, (left, top + round(font_size * 1.5)), width, max(3, round(font_size * 0.3)))
    text = shortened(drawable(row.text, row.replacement), font_size, room)
    pen.text((left, middle), text, fill=ink, font=font_for(text, font_size), anchor="lm")


def _draw_bar(pen: ImageDraw.ImageDraw, row: Row, place: tuple[int, int], width: int, height: int) -> None:
    assert row.score is not None
    left, top = place
    bottom = top + height - 1
    pen.rectangle((left, top, left + width - 1, bottom), fill=_TRACK)
    length = max(1, round(width * min(max(row.score, 0.0), 1.0)))
    pen.rectangle((left, top, left + length - 1, bottom), fill=row.colour if row.reached else _MISSED)
    if 0 < row.threshold < 1:
        mark, over = left + round(width * row.threshold), height // 3 + 1
        pen.rectangle((mark - height // 6, top - over, mark + height // 6, bottom + over), fill=_INK)
