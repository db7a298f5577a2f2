"""Small pictures for pages."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from mxml.data.image_sources import ImageSource, to_pixels
from mxml.errors import ImageError
from mxml.images.decode import Limits, largest_reduction
from mxml.progress import SILENT, Progress
from mxml.runtime.imports import load_cv2
from mxml.runtime.threads import physical_cores

cv2 = load_cv2()

THUMBNAIL_SIDE = 160
THUMBNAIL_QUALITY = 80

Key = TypeVar("Key")


@dataclass(frozen=True)
class Thumbnail:
    """A small picture as a data: URI, or the reason why there is none."""

    uri: str
    width: int
    height: int
    fault: str = ""


def make_thumbnails(
    images: Mapping[Key, tuple[ImageSource, int]], progress: Progress = SILENT, *, side: int = THUMBNAIL_SIDE
) -> dict[Key, Thumbnail]:
    """Return a small picture of each image, which is a source and a position in it, under the image's key.

    ``side`` is how long its longer side is at most, in pixels.
    """
    made = {}
    progress.start(len(images), "making thumbnails")
    with ThreadPoolExecutor(physical_cores()) as pool:
        for key, thumbnail in zip(images, pool.map(partial(_thumbnail, side=side), images.values())):
            made[key] = thumbnail
            progress.advance()
    return made


def _thumbnail(image_of: tuple[ImageSource, int], side: int) -> Thumbnail:
    source, position = image_of
    limits, path = Limits(), source.name(position)
    try:
        image = to_pixels(source.read(position, limits), partial(_reduction, side), limits, path).bgr
        factor = min(1.0, side / max(image.shape))
        height, width = (max(1, round(length * factor)) for length in image.shape[:2])
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])
        return Thumbnail("data:image/jpeg;base64," + base64.b64encode(encoded).decode(), width, height)
    except ImageError as error:
        return Thumbnail("", 0, 0, error.reason)
    except Exception as error:  # one picture that fails, for whatever reason, must not cost the whole page
        return Thumbnail("", 0, 0, f"{type(error).__name__}: {error}")


def _reduction(side: int, width: int, height: int) -> int:
    return largest_reduction(max(width, height) / side)
