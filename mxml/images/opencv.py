"""OpenCV's decoder, with errors that name the image."""

from __future__ import annotations

import numpy as np

from mxml.errors import ImageError
from mxml.images.headers import Header
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()


def imdecode(data: bytes, flags: int, header: Header, path: str) -> np.ndarray:
    """Decode with OpenCV's IMREAD ``flags``, not yet upright but for TIFF; raises ImageError where it cannot."""
    # IMREAD_UNCHANGED is -1: it ignores the orientation by itself, and no flag can be added to it.
    flags = flags if flags < 0 else flags | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"the {header.format} data cannot be decoded: {error.err or error}", path) from None
    if image is None:
        raise ImageError(f"the {header.format} data are damaged, or of a kind that cannot be decoded", path)
    return image
