"""Drawings as JPEG and PNG files, with a mark that tells them from photographs."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

import numpy as np

SUFFIXES = (".jpg", ".jpeg", ".png")
_MARK = b"mxml drawing "
# The mark is in the first segments of a JPEG and the first chunks of a PNG.
_HEAD_BYTES = 512


def encoded(drawing: np.ndarray, path: str | os.PathLike[str], of: str = "", quality: int = 92) -> bytes:
    """Return a drawing (H, W, 3) uint8 RGB as PNG if ``path`` ends in .png, else as JPEG.

    ``of`` is the mark that ``mark_of`` finds again, ASCII without line ends.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    content = io.BytesIO()
    picture = Image.fromarray(drawing)
    if os.fspath(path).lower().endswith(".png"):
        words = PngInfo()
        words.add_text("Comment", f"{_MARK.decode()}{of};")
        picture.save(content, "PNG", pnginfo=words)
        return content.getvalue()
    picture.save(content, "JPEG", quality=quality)
    plain = content.getvalue()
    # A comment behind the first segment, JFIF's; Pillow before 9.4 writes none.
    first = 4 + int.from_bytes(plain[4:6], "big")
    words_of = _MARK + of.encode("ascii") + b";"
    return plain[:first] + b"\xff\xfe" + (len(words_of) + 2).to_bytes(2, "big") + words_of + plain[first:]


def mark_of(path: str | os.PathLike[str]) -> str | None:
    """Return the mark of a drawing that ``encoded`` made; None for any other file, or none."""
    try:
        with open(path, "rb") as file:
            return _mark_in(file)
    except OSError:
        return None


def _mark_in(file: BinaryIO) -> str | None:
    head = file.read(_HEAD_BYTES)
    start = head.find(_MARK)
    end = head.find(b";", start)
    if start < 0 or end < 0:
        return None
    return head[start + len(_MARK) : end].decode("ascii", "replace")
