"""A prediction as notebooks show it: the image beside a bar for each label, in one piece of HTML."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from mxml.errors import ImageError
from mxml.images.decode import Limits, load
from mxml.images.drawing import Row
from mxml.images.label_colours import as_hex
from mxml.inference.prediction_rows import prediction_rows
from mxml.text import printable

if TYPE_CHECKING:
    from mxml.inference.prediction import Prediction

_LONGEST = 320
_GREY = "#808890"
# A cell that shows many predictions would read as many files; a larger one is shown by its labels alone.
_LIMITS = Limits(max_pixels=40_000_000, max_bytes=32 << 20, max_memory=256 << 20)


def prediction_html(prediction: Prediction) -> str:
    """Return HTML that needs nothing else, and whose texts are escaped."""
    name = f"<div style='color:{_GREY}'>{_text(prediction.path)}</div>"
    if prediction.error is not None:
        return f"<div>{name}<div>cannot be read: {_text(prediction.error.reason)}</div></div>"
    rows = "".join(map(_row, prediction_rows(prediction)))
    table = f"<table style='border-collapse:collapse;flex:1;max-width:30em'>{rows}</table>"
    return (
        "<div style='display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start;margin:.3em 0'>"
        f"{_picture(prediction)}<div>{name}{table}</div></div>"
    )


def _row(row: Row) -> str:
    if row.score is None:
        return f"<tr><td colspan='3' style='text-align:left;color:{_GREY}'>{_text(row.text)}</td></tr>"
    colour = as_hex(row.colour) if row.reached else _GREY
    mark = f"<div style='{_MARK};left:{row.threshold:.1%}'></div>" if 0 < row.threshold < 1 else ""
    bar = f"<div style='height:100%;width:{row.score:.1%};background:{colour}'></div>"
    return (
        f"<tr title='threshold {row.threshold:.2f}'><td style='text-align:left'>{_text(row.text)}</td>"
        f"<td style='width:12em;padding:0 .6em'><div style='{_TRACK}'>{bar}{mark}</div></td>"
        f"<td>{row.score:.2f}</td></tr>"
    )


_TRACK = "position:relative;height:.6em;min-width:8em;background:#80889040"
_MARK = "position:absolute;top:-.15em;height:.9em;width:2px;background:currentColor"


def _picture(prediction: Prediction) -> str:
    pixels = prediction.pixels
    if pixels is None:
        try:
            pixels = load(prediction.path, limits=_LIMITS)
        except ImageError:
            return ""
    return f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(_jpeg(pixels)).decode()}'>"


def _jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((_LONGEST, _LONGEST))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=80)
    return content.getvalue()


def _text(text: str) -> str:
    return escape(printable(text))
