"""An image with a panel below it: a bar for each label, with its name and score."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mxml.text import printable

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

# A drawn image's longer side: enlarged up to the first, so that the text has room; reduced down to the second.
SHORTEST_DRAWING = 480
LONGEST_DRAWING = 1600
NARROWEST_PANEL = 360

_PANEL = (31, 41, 55)
_REACHED = (15, 118, 110)
_MISSED = (75, 85, 99)
_THRESHOLD = (251, 191, 36)
_INK = (255, 255, 255)


@dataclass(frozen=True)
class Row:
    """One line of the panel: text, over a bar from the left edge (score 0) to ``score`` (1 is the right edge).

    Without a score it has no bar. ``replacement`` is the text where no font has the letters of ``text``. A mark shows
    the threshold; the bar is grey unless it is reached.
    """

    text: str
    replacement: str = ""
    score: float | None = None
    threshold: float = 0.0
    reached: bool = False


def draw_panel(image: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
    """Return ``image``, (H, W, 3) uint8 RGB, with a panel of ``rows`` below it: (H', W', 3) uint8 RGB.

    A small image is enlarged and a large one reduced, so that the text is readable.
    """
    from PIL import Image, ImageDraw

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected an (H, W, 3) uint8 image, got {image.shape} {image.dtype}")
    picture = Image.fromarray(image)
    scale = min(max(1.0, SHORTEST_DRAWING / max(picture.size)), LONGEST_DRAWING / max(picture.size))
    if scale != 1:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    width = max(picture.width, NARROWEST_PANEL)
    font_size = min(max(width // 30, 15), 40)
    row_height = round(font_size * 1.8)
    canvas = Image.new("RGB", (width, picture.height + row_height * len(rows)), _PANEL)
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    pen = ImageDraw.Draw(canvas)
    for number, row in enumerate(rows):
        _draw_row(row, pen, picture.height + number * row_height, width, row_height, font_size)
    return np.asarray(canvas)


def _draw_row(row: Row, pen: ImageDraw.ImageDraw, top: int, width: int, height: int, font_size: int) -> None:
    padding = font_size // 2
    room = width - 2 * padding
    bottom = top + height - 3
    if row.score is not None:
        colour = _REACHED if row.reached else _MISSED
        pen.rectangle((0, top, max(2, round(width * row.score)), bottom), fill=colour)
        if 0 < row.threshold < 1:
            mark = round(width * row.threshold)
            pen.line((mark, top, mark, bottom), fill=_THRESHOLD, width=max(1, font_size // 12))
        score = f"{row.score:.2f}"
        font = font_for(score, font_size)
        pen.text((width - padding, (top + bottom) // 2), score, fill=_INK, font=font, anchor="rm")
        room -= round(font.getlength(score)) + padding
    text = drawable(row.text, row.replacement)
    font = font_for(text, font_size)
    pen.text((padding, (top + bottom) // 2), _shortened(text, font, room), fill=_INK, font=font, anchor="lm")


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"


def drawable(text: str, replacement: str) -> str:
    """Return ``text``, or ``replacement`` where no font has its letters: boxes in place of a name would be useless."""
    text = printable(text)
    return replacement if _font_file(frozenset(text)) is None else text


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that has every character of ``text``, which some font must have."""
    from PIL import ImageFont

    path = font_file(text)
    assert path is not None
    return ImageFont.truetype(path, size)


def font_file(text: str) -> str | None:
    """Return the path of a font that has every character of ``text``; None where no font of this machine has."""
    return _font_file(frozenset(text))


@functools.lru_cache(maxsize=1024)
def _font_file(characters: frozenset[str]) -> str | None:
    """Look in matplotlib's own DejaVu Sans, which is always there, then in the machine's upright sans-serif fonts."""
    import matplotlib
    from matplotlib import font_manager

    own = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    if characters <= _coverage(own):
        return own
    entries = font_manager.fontManager.ttflist
    for entry in sorted(entries, key=lambda e: ("sans" not in e.name.lower(), e.style != "normal", str(e.weight))):
        # Last Resort has a box, the same for every letter of a script, where a glyph should be.
        if not entry.name.startswith("Last Resort") and characters <= _coverage(entry.fname):
            return str(entry.fname)
    return None


@functools.lru_cache(maxsize=256)
def _coverage(font_path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font
    from PIL import ImageFont

    try:
        ImageFont.truetype(font_path, 20)  # a bitmap font, of emoji for instance, has only sizes of its own
        return frozenset(map(chr, FT2Font(font_path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
