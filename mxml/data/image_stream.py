"""Images of which nobody knows how many there are, as batches of network input, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from mxml.data.image_sources import ImageContent
from mxml.errors import ImageError
from mxml.images.decode import Limits, decode_reduced, read_file
from mxml.images.network_input import Transform, prepare
from mxml.images.transforms import Preprocess


class StreamItem(NamedTuple):
    """One image: what messages call it, and its content; None means that ``name`` is the path of its file."""

    name: str
    content: ImageContent | None = None


class StreamBatch(NamedTuple):
    """Some images in a row: ``data`` (N, 3, H, W) float32, the items (N), and for each its ImageError or None.

    Rows of images that cannot be read hold zeros. ``data`` may be used again once the next batch was asked for.
    ``pixels`` has what was decoded, upright RGB (H', W', 3) uint8, where the caller asked to keep it, else None.
    """

    data: np.ndarray
    items: tuple[StreamItem, ...]
    faults: tuple[ImageError | None, ...]
    pixels: tuple[np.ndarray | None, ...]


def stream_batches(
    items: Iterable[StreamItem],
    preprocess: Preprocess,
    batch_size: int,
    *,
    threads: int | None = None,
    limits: Limits | None = None,
    keep_pixels: bool = False,
) -> Iterator[StreamBatch]:
    """Decode images in the order of ``items``, which is read only as far as it is needed, and yield them in batches.

    The last batch may be smaller than ``batch_size``.
    """
    transform = Transform(preprocess)
    chunk: list[StreamItem] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == batch_size:
            yield _batch(chunk, transform, limits or Limits(), keep_pixels)
            chunk = []
    if chunk:
        yield _batch(chunk, transform, limits or Limits(), keep_pixels)


def _batch(items: list[StreamItem], transform: Transform, limits: Limits, keep_pixels: bool) -> StreamBatch:
    data = np.zeros((len(items), *transform.preprocess.data_shape), np.float32)
    faults: list[ImageError | None] = []
    pixels: list[np.ndarray | None] = []
    for row, item in enumerate(items):
        kept = None
        try:
            content = read_file(item.name, limits) if item.content is None else item.content
            if isinstance(content, np.ndarray):
                data[row] = prepare(content, transform.preprocess)
                kept = content
            else:
                decoded = decode_reduced(
                    content, (lambda *_: 1) if keep_pixels else transform.reduction, limits=limits, path=item.name
                )
                plan = transform.plan(*decoded.size)
                if keep_pixels:
                    kept = decoded.bgr[..., ::-1]
                    data[row] = prepare(kept, transform.preprocess)
                else:
                    transform.write(decoded.bgr, plan, data[row])
            faults.append(None)
        except ImageError as error:
            faults.append(error)
        pixels.append(kept if keep_pixels else None)
    return StreamBatch(data, tuple(items), tuple(faults), tuple(pixels))
