"""A page of pictures in rows and columns, each with its name and its labels below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mxml.images.drawing import Row, draw_row, row_height
from mxml.images.fonts import drawable, font_for, shortened
from mxml.images.label_colours import PANEL

if TYPE_CHECKING:
    from PIL import Image

COLUMNS, LINES = 6, 6
PAGE = COLUMNS * LINES
"""How many pictures a page has."""
MOST_LABELS = 4

_THUMBNAIL = 252
_GAP = 12
_FONT_SIZE = 14
_CAPTION = 22
_ROW = row_height(_FONT_SIZE)
_NOT_THERE = (75, 85, 99)
_CAPTION_INK = (209, 213, 219)


class SheetCell(NamedTuple):
    """A picture of a sheet, (H, W, 3) uint8 RGB or None where there is none; what it is called; at most 4 labels."""

    thumbnail: np.ndarray | None
    caption: str
    rows: Sequence[Row]


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return an image, (H, W, 3) uint8 RGB, no larger than a sheet shows it; a small one as it is."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.array(picture)


def draw_sheet(cells: Sequence[SheetCell]) -> np.ndarray:
    """Return a page with 1 to ``PAGE`` pictures, (H, W, 3) uint8 RGB, as high as they need."""
    from PIL import Image

    columns = min(len(cells), COLUMNS)
    lines = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [_THUMBNAIL + _CAPTION + _ROW * max(len(cell.rows[:MOST_LABELS]) for cell in line) for line in lines]
    size = (columns * (_THUMBNAIL + _GAP) + _GAP, sum(heights) + 2 * _GAP * len(lines))
    canvas = Image.new("RGB", size, PANEL)
    top = _GAP
    for line, height in zip(lines, heights):
        for column, cell in enumerate(line):
            _draw_cell(canvas, cell, _GAP + column * (_THUMBNAIL + _GAP), top)
        top += height + 2 * _GAP
    return np.asarray(canvas)


def _draw_cell(canvas: Image.Image, cell: SheetCell, left: int, top: int) -> None:
    from PIL import Image, ImageDraw

    pen = ImageDraw.Draw(canvas)
    if cell.thumbnail is None:
        pen.rectangle((left, top, left + _THUMBNAIL - 1, top + _THUMBNAIL - 1), outline=_NOT_THERE)
    else:
        height, width = cell.thumbnail.shape[:2]
        place = (left + (_THUMBNAIL - width) // 2, top + (_THUMBNAIL - height) // 2)
        canvas.paste(Image.fromarray(cell.thumbnail), place)
    top += _THUMBNAIL + _CAPTION // 2
    caption = shortened(drawable(cell.caption, "a name that no font has"), _FONT_SIZE, _THUMBNAIL)
    pen.text((left, top), caption, fill=_CAPTION_INK, font=font_for(caption, _FONT_SIZE), anchor="lm")
    for position, row in enumerate(cell.rows[:MOST_LABELS]):
        draw_row(pen, row, (left, top + _CAPTION // 2 + position * _ROW), _THUMBNAIL, _FONT_SIZE)
