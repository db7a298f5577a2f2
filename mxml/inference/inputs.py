"""The images that a prediction is asked for, one after the other, whatever they are given as."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable, Union

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.image_stream import StreamItem
from mxml.data.record_list import RecordList
from mxml.errors import ImageError, ListError, MxmlError
from mxml.inference.fetching import Fetching
from mxml.inference.input_arrays import as_images, is_array, is_pillow, pillow_pixels, rgb_pixels
from mxml.inference.input_names import Camera, Reading, Several, Url, camera, is_camera, listed, named, records

if TYPE_CHECKING:
    from PIL.Image import Image

OneInput = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, np.ndarray, "Image", Camera]
"""A name, see ``named``; an image file's bytes; pixels, see ``rgb_pixels``; an image of Pillow; a camera."""
Inputs = Union[OneInput, ImageList, StreamItem, Mapping[str, Any], Iterable["Inputs"]]
"""One input, ``{"img": input}``, a file or content with a name, a list, or any iterable of these, up to 100 deep."""

_DEEPEST = 100
_IMAGE_KEY = "img"
_WANTED = (
    "files, folders, patterns, lists, videos, URLs, bytes, arrays (H, W, 3) of uint8 in RGB order, images of Pillow, "
    "or dicts with one of these as img"
)
_Entry = Union[OneInput, StreamItem, ImageError, Url]


class InputStream:
    """The images of ``inputs`` in their order, as a stream reads them.

    ``count`` says how many they are, for videos about; None where only reading them can tell. ``live`` says that they
    are a camera's, which are wanted at once and not in batches. What names stand for is looked up at once where they
    are given in a list or tuple, else as they are reached. Images in memory are turned into pixels only when they are
    reached, and are called by their position: ``image 0``, ``image 1``, ... URLs are fetched ahead; nothing else is
    opened here but lists and videos. A name that gives no image counts as one that cannot be read.

    ``skip`` is called once per image, in their order, with its name; a frame's is that of its video, ``#`` and its
    number. Images that it returns True for are left out: they are neither read nor fetched. They belong to ``count``,
    since only reading the stream tells how many are left, and are reported as done.

    Notes say which files of a folder are skipped, and where a list's images were found. Raises MxmlError for a name
    that gives no image where it is the only input, and for lists that are nested too deep, and TypeError for what is
    no image.
    """

    def __init__(
        self,
        inputs: Inputs | RecordList,
        reading: Reading | None = None,
        skip: Callable[[str], bool] | None = None,
    ):
        reading = reading or Reading()
        self.count: int | None = None
        self.live = _is_live(inputs)
        self._skip = skip
        self._progress = reading.progress
        self._fetching = Fetching()
        self._entries: Iterable[_Entry | Several] = _flat(inputs, reading)
        if _is_one(inputs) or (isinstance(inputs, (list, tuple)) and all(map(_is_one, inputs))):
            entries = list(self._entries)
            counts = [entry.count if isinstance(entry, Several) else 1 for entry in entries]
            self._entries = entries
            known = [count for count in counts if count is not None]
            self.count = sum(known) if len(known) == len(counts) else None

    def __iter__(self) -> Iterator[StreamItem]:
        position = 0
        for entries in self._entries:
            for entry in entries.items if isinstance(entries, Several) else (entries,):
                name = _called(entry, position)
                position += 1
                if self._skip is not None and self._skip(name):
                    self._progress.advance()
                else:
                    yield self._item(entry, name)

    def close(self) -> None:
        """Give up what is still being fetched."""
        self._fetching.close()

    def _item(self, entry: _Entry, name: str) -> StreamItem:
        if isinstance(entry, StreamItem):
            return entry
        if isinstance(entry, ImageError):
            return StreamItem(name, entry)
        if isinstance(entry, Url):
            return StreamItem(name, self._fetching.start(entry.address))
        if isinstance(entry, (str, os.PathLike)):
            return StreamItem(name)
        if isinstance(entry, (bytes, bytearray, memoryview)):
            return StreamItem(name, bytes(entry))
        if is_array(entry):
            return StreamItem(name, rgb_pixels(as_images(entry)))
        try:
            return StreamItem(name, pillow_pixels(entry))  # type: ignore[arg-type]
        except (OSError, ValueError, SyntaxError) as error:  # Pillow reads a file's pixels when it is asked for them
            return StreamItem(name, ImageError(f"Pillow cannot load it: {error}", name))


def _called(entry: _Entry, position: int) -> str:
    """Return what an image is called, without reading it."""
    if isinstance(entry, StreamItem):
        return entry.called
    if isinstance(entry, ImageError):
        return entry.path
    if isinstance(entry, Url):
        return entry.shown
    return os.fspath(entry) if isinstance(entry, (str, os.PathLike)) else f"image {position}"


def _is_one(value: object) -> bool:
    if isinstance(value, Mapping):
        return _is_one(value.get(_IMAGE_KEY))
    if is_array(value):
        return value.ndim != 4
    return is_pillow(value) or isinstance(
        value, (str, os.PathLike, bytes, bytearray, memoryview, ImageList, RecordList, Camera)
    )


def _is_live(inputs: object) -> bool:
    return any(map(is_camera, inputs if isinstance(inputs, (list, tuple)) else (inputs,)))


def _flat(inputs: object, reading: Reading, depth: int = 0, alone: bool = True) -> Iterator[_Entry | Several]:
    if depth > _DEEPEST:
        raise MxmlError(f"the inputs are nested more than {_DEEPEST} deep, or a list of them holds itself")
    if isinstance(inputs, (str, os.PathLike)):
        yield _named(os.fspath(inputs), reading, alone)
    elif isinstance(inputs, ImageList):
        yield listed(inputs)
    elif isinstance(inputs, RecordList):
        yield records(inputs)
    elif isinstance(inputs, Camera):
        yield camera(inputs, reading)
    elif isinstance(inputs, Mapping):
        if _IMAGE_KEY not in inputs:
            raise TypeError(f'expected a dict such as {{"{_IMAGE_KEY}": "photo.jpg"}}, got one without "{_IMAGE_KEY}"')
        yield from _flat(inputs[_IMAGE_KEY], reading, depth + 1, alone)
    elif is_array(inputs) and inputs.ndim == 4:
        yield from as_images(inputs)
    elif isinstance(inputs, StreamItem) or _is_one(inputs):
        yield inputs  # type: ignore[misc]
    elif isinstance(inputs, Iterable):
        alone = alone and isinstance(inputs, (list, tuple)) and len(inputs) == 1
        for entry in inputs:
            yield from _flat(entry, reading, depth + 1, alone)
    else:
        raise TypeError(f"expected images, got {type(inputs).__name__}: {_WANTED}")


def _named(name: str, reading: Reading, alone: bool) -> str | Url | Several | ImageError:
    try:
        return named(name, reading)
    except ImageError as error:
        if alone:
            raise
        return error
    except ListError as error:
        if alone:
            raise
        return ImageError(f"is not read: {error.faults[0]}", name)
