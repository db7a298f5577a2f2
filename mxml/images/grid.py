"""Pictures in rows and columns, each with a caption below it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mxml.images.fonts import font_for

if TYPE_CHECKING:
    from PIL import ImageFont

# Small pictures are enlarged by a whole number, so that every pixel stays visible and captions have room.
_NARROWEST = 180
_GAP = 8
_FONT_SIZE = 13
_LINE_HEIGHT = 18

_PAPER = (255, 255, 255)
_INK = (31, 41, 55)


class Cell(NamedTuple):
    """One picture of a grid, (H, W, 3) uint8 RGB, and the words below it, all of which some font has."""

    picture: np.ndarray
    words: Sequence[str]


def draw_grid(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> np.ndarray:
    """Return one picture, (H, W, 3) uint8 RGB, with a title over each column; all cells have pictures of one size."""
    from PIL import Image, ImageDraw

    height, width = rows[0][0].picture.shape[:2]
    scale = max(1, -(-_NARROWEST // width))
    height, width = height * scale, width * scale
    captions = [[_lines(cell.words, width) for cell in row] for row in rows]
    caption_heights = [_LINE_HEIGHT * max(map(len, row)) for row in captions]
    size = (
        len(titles) * (width + _GAP) + _GAP,
        _LINE_HEIGHT + 2 * _GAP + sum(height + below + _GAP for below in caption_heights),
    )
    canvas = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(canvas)
    lefts = [_GAP + column * (width + _GAP) for column in range(len(titles))]
    for left, title in zip(lefts, titles):
        pen.text((left, _GAP), title, fill=_INK, font=font_for(title, _FONT_SIZE))
    top = _LINE_HEIGHT + 2 * _GAP
    for row, lines_of_row, below in zip(rows, captions, caption_heights):
        for left, cell, lines in zip(lefts, row, lines_of_row):
            picture = Image.fromarray(cell.picture).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(picture, (left, top))
            for number, line in enumerate(lines):
                place = (left, top + height + 2 + number * _LINE_HEIGHT)
                pen.text(place, line, fill=_INK, font=font_for(line, _FONT_SIZE))
        top += height + below + _GAP
    return np.asarray(canvas)


def to_png(picture: np.ndarray) -> bytes:
    """Return an (H, W, 3) uint8 RGB picture as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _lines(words: Sequence[str], width: int) -> list[str]:
    """Put as many words into each line as fit; a word that is too long is cut."""
    lines: list[str] = []
    for word in words:
        joined = f"{lines[-1]}, {word}" if lines else ""
        if lines and _font(joined).getlength(joined) <= width:
            lines[-1] = joined
            continue
        if lines:
            lines[-1] += ","
        while len(word) > 1 and _font(word).getlength(word) > width:
            word = word[:-2] + "…"
        lines.append(word)
    return lines


def _font(text: str) -> ImageFont.FreeTypeFont:
    return font_for(text, _FONT_SIZE)
