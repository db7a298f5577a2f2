"""The images that a prediction is asked for: files, folders, patterns, and what is in memory."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from mxml.data.formats.file_tree import IMAGE_SUFFIXES, look_for_images
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageContent
from mxml.data.image_stream import StreamItem
from mxml.data.record_list import RecordList
from mxml.errors import ImageError, MxmlError
from mxml.images.decode import Limits
from mxml.progress import SILENT, Progress

if TYPE_CHECKING:
    from PIL.Image import Image

OneInput = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, np.ndarray, "Image"]
"""A file, folder or pattern; an image file's bytes; RGB pixels (H, W, 3) uint8; an image of Pillow."""
Inputs = Union[OneInput, ImageList, StreamItem, Iterable["Inputs"]]
"""One input, a list, a file or content with a name, or any iterable of these, nested up to 100 deep."""

_NAMES = "an image, a folder or a pattern such as 'photos/*.jpg'"
_DEEPEST = 100
_WANTED = "files, folders, patterns, bytes, arrays (H, W, 3) of uint8 in RGB order, or images of Pillow"


class InputStream:
    """The images of ``inputs`` in their order, as a stream reads them.

    ``count`` says how many they are; None where only reading them can tell. Folders and patterns are looked up at once
    where they are named in a list or tuple, else as they are reached. Images in memory are turned into pixels only when
    they are reached, and are called by their position: ``image 0``, ``image 1``, ... ``faults`` has, by position, what
    is wrong with images of Pillow that it could not load; nothing else is opened here. A folder or pattern that gives
    no image counts as one that cannot be read, and is among them.

    A note says where files in a folder are images of another format. Raises MxmlError for a folder or pattern that
    gives no image where it is the only input, and for lists that are nested too deep, and TypeError for what is no
    image.
    """

    def __init__(self, inputs: Inputs | RecordList, progress: Progress = SILENT):
        self.count: int | None = None
        self.faults: dict[int, ImageError] = {}
        self._entries: Iterable[OneInput | StreamItem | ImageError]
        if isinstance(inputs, RecordList):
            self._entries = self._record_items(inputs)
        else:
            self._entries = _flat(inputs, progress)
        if isinstance(inputs, (ImageList, RecordList)):
            self.count = len(inputs)
        elif _is_one(inputs) or (isinstance(inputs, (list, tuple)) and all(map(_is_one, inputs))):
            entries = list(self._entries)
            self._entries, self.count = entries, len(entries)

    def __iter__(self) -> Iterator[StreamItem]:
        for position, entry in enumerate(self._entries):
            if isinstance(entry, StreamItem):
                yield entry
            elif isinstance(entry, ImageError):
                self.faults[position] = entry
                yield StreamItem(entry.path, b"")
            elif isinstance(entry, (str, os.PathLike)):
                yield StreamItem(os.fspath(entry))
            else:
                name = f"image {position}"
                yield StreamItem(name, self._content(entry, position, name))

    def _record_items(self, records: RecordList) -> Iterator[StreamItem]:
        for position in range(len(records)):
            content = b""
            try:
                content = records.read(position, Limits())
            except ImageError as error:
                self.faults[position] = error
            yield StreamItem(records.name(position), content)

    def _content(self, entry: OneInput, position: int, name: str) -> ImageContent:
        if isinstance(entry, np.ndarray):
            if entry.ndim != 3 or entry.shape[2] != 3 or entry.dtype != np.uint8 or 0 in entry.shape:
                raise TypeError(f"expected an array (H, W, 3) of uint8 in RGB order, got {entry.shape} {entry.dtype}")
            return entry  # without a copy: whether it is too large for one shows when it is decoded
        if isinstance(entry, (bytes, bytearray, memoryview)):
            return bytes(entry)
        try:
            return _pillow_pixels(entry)  # type: ignore[arg-type]
        except (OSError, ValueError, SyntaxError) as error:  # Pillow reads a file's pixels when it is asked for them
            self.faults[position] = ImageError(f"Pillow cannot load it: {error}", name)
            return b""


def _is_one(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim != 4
    return isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview)) or _is_pillow(value)


def _is_pillow(value: object) -> bool:
    # Who has such an image has imported Pillow.
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def _flat(inputs: object, progress: Progress, depth: int = 0, alone: bool = True) -> Iterator[OneInput | ImageError]:
    if depth > _DEEPEST:
        raise MxmlError(f"the inputs are nested more than {_DEEPEST} deep, or a list of them holds itself")
    if isinstance(inputs, (str, os.PathLike)):
        try:
            yield from _files(os.fspath(inputs), progress)
        except ImageError as error:
            if alone:
                raise
            yield error
    elif isinstance(inputs, ImageList):
        yield from (inputs.path(position) for position in range(len(inputs)))
    elif isinstance(inputs, StreamItem) or _is_one(inputs):
        yield inputs  # type: ignore[misc]
    elif isinstance(inputs, Iterable):
        alone = alone and isinstance(inputs, (list, tuple)) and len(inputs) == 1
        for entry in inputs:
            yield from _flat(entry, progress, depth + 1, alone)
    else:
        raise TypeError(f"expected images, got {type(inputs).__name__}: {_WANTED}")


def _files(entry: str, progress: Progress) -> list[str]:
    """Return the files that a name stands for: itself unless it is a folder or a pattern.

    Raises ImageError where there is none.
    """
    if os.path.isdir(entry):
        names, passed_over = look_for_images(Path(entry))
        found = [os.path.join(entry, name) for name in names]
        problem = f"holds no image, should hold files that end in {', '.join(IMAGE_SUFFIXES)}"
        if passed_over:
            problem += f"; {passed_over} files are of formats that are not read"
            if found:
                progress.note(f"{entry}: {passed_over} files are skipped: their formats are not read")
    elif glob.has_magic(entry) and not os.path.exists(entry):
        found = sorted(path for path in glob.glob(entry, recursive=True) if os.path.isfile(path))
        problem = f"no file matches, should be {_NAMES}"
    else:
        return [entry]
    if not found:
        raise ImageError(problem, entry, "missing")
    return found


def _pillow_pixels(image: Image) -> np.ndarray:
    """Return an image of Pillow as a file of it would be decoded: upright, transparent parts over white."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image) or image
    if image.mode.startswith("I;16"):
        # Pillow cuts what is over 255 off; the decoder keeps the upper eight bits.
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))
