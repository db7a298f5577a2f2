"""Heat over a picture, and several such pictures on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mxml.images.drawing import Row, draw_panel
from mxml.images.fonts import font_for

if TYPE_CHECKING:
    from PIL import Image

_PANEL_SIDE = 480
_MOST_COLUMNS = 4
_SHEET_SHAPE = 2.0  # its width by its height
_GAP = 10
_FONT_SIZE = 16
_BAR_WIDTH = 120

_PAPER = (17, 24, 39)
_INK = (229, 231, 235)

# From purple over red to yellow: lighter is always more, also for those who cannot tell red from green.
_COLOURS = "inferno"
# Of the map's colour over the picture, at its hottest; below it the picture shows.
_MOST_COLOUR = 0.75
_SHARE_POWER = 0.7
# The darkest colours would look like shadows.
_FIRST_COLOUR = 0.25
# How much of its own colour the picture keeps, so that a yellow flower is not taken for heat.
_OWN_COLOUR = 0.35
_UNSEEN_LIGHT = 0.35


class Panel(NamedTuple):
    """One picture of a sheet, (H, W, 3) uint8 RGB, and the line below it."""

    picture: np.ndarray
    row: Row


def panel_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (width, height) at which a picture of ``size`` is drawn on a sheet."""
    scale = _PANEL_SIDE / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def colour(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 RGB with ``heat`` over it, (H, W) from 0 to 1: (H, W, 3) uint8 RGB.

    Where the heat is NaN the picture is grey and dark.
    """
    own = picture.astype(np.float32)
    grey = (own @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    unseen = np.isnan(heat)
    known = np.where(unseen, 0, heat)
    share = _MOST_COLOUR * known[..., None] ** _SHARE_POWER
    base = _OWN_COLOUR * own + (1 - _OWN_COLOUR) * grey
    mixed = (1 - share) * base + share * heat_colours(known)
    mixed = np.where(unseen[..., None], _UNSEEN_LIGHT * grey, mixed)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """Return the colours of heat from 0 to 1, (..., 3) float32 from 0 to 255."""
    import matplotlib

    table = matplotlib.colormaps[_COLOURS](np.linspace(_FIRST_COLOUR, 1, 256))[:, :3].astype(np.float32) * 255
    colours: np.ndarray = table[np.rint(heat * 255).astype(int)]
    return colours


def draw_sheet(panels: Sequence[Panel], remarks: Sequence[str] = ()) -> np.ndarray:
    """Return panels in rows and columns, over a scale of the colours and remarks: (H, W, 3) uint8 RGB.

    Their pictures are of one size.
    """
    from PIL import Image

    drawn = [draw_panel(panel.picture, [panel.row]) for panel in panels]
    height, width = drawn[0].shape[:2]
    columns = _columns(len(drawn), width, height)
    rows = -(-len(drawn) // columns)
    legend = _legend(remarks)
    size = (
        max(columns * (width + _GAP) + _GAP, legend.width + 2 * _GAP),
        rows * (height + _GAP) + legend.height + 2 * _GAP,
    )
    canvas = Image.new("RGB", size, _PAPER)
    for number, picture in enumerate(drawn):
        row, column = divmod(number, columns)
        canvas.paste(Image.fromarray(picture), (_GAP + column * (width + _GAP), _GAP + row * (height + _GAP)))
    canvas.paste(legend, (_GAP, size[1] - legend.height - _GAP // 2))
    return np.asarray(canvas)


def _legend(remarks: Sequence[str]) -> Image.Image:
    """Draw the scale of the colours, and remarks beside it."""
    from PIL import Image, ImageDraw

    first, then = "less", "   ".join(["more for the label", *remarks])
    font, height = font_for(first + then, _FONT_SIZE), 2 * _FONT_SIZE
    bar_left = round(font.getlength(first)) + _GAP
    text_left = bar_left + _BAR_WIDTH + _GAP
    legend = Image.new("RGB", (text_left + round(font.getlength(then)) + 1, height), _PAPER)
    bar = np.broadcast_to(heat_colours(np.linspace(0, 1, _BAR_WIDTH)), (_FONT_SIZE, _BAR_WIDTH, 3))
    legend.paste(Image.fromarray(bar.astype(np.uint8)), (bar_left, (height - _FONT_SIZE) // 2))
    pen = ImageDraw.Draw(legend)
    for left, text in ((0, first), (text_left, then)):
        pen.text((left, height // 2), text, fill=_INK, font=font, anchor="lm")
    return legend


def _columns(count: int, width: int, height: int) -> int:
    """Return how many columns make a sheet without many holes, of about twice its height."""

    def fault(columns: int) -> float:
        rows = -(-count // columns)
        return columns * rows - count + abs(math.log(columns * width / (rows * height) / _SHEET_SHAPE))

    return min(range(1, min(count, _MOST_COLUMNS) + 1), key=fault)
