"""What a name that a person gives stands for: a file, a folder, a pattern, a list, a video, a URL, a camera, stdin."""

from __future__ import annotations

import difflib
import glob
import os
import re
import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Union

from mxml.data.formats.file_tree import IMAGE_SUFFIXES, look_for_images
from mxml.data.image_list import ImageList
from mxml.data.image_stream import StreamItem
from mxml.data.list_root import image_root, under_found_root
from mxml.data.lst_file import read_lst
from mxml.data.record_images import RecordImages
from mxml.data.record_list import REC_SUFFIX, index_beside
from mxml.errors import ImageError
from mxml.images.choices import VIDEO_SUFFIXES
from mxml.images.decode import Limits, Pixels, reduced
from mxml.images.picture_file import mark_of
from mxml.images.video import Frame, camera_frames, camera_name, video_frames, video_info
from mxml.inference.url import is_url, without_credentials
from mxml.progress import SILENT, Progress
from mxml.text import counted, quoted
from mxml.text_lines import read_blocks

STDIN = "-"
_CAMERA = re.compile(r"/dev/video\d+")
_PIECE = 1 << 20
# So many lines of a text file tell whether it holds paths or prose.
_FIRST_LINES = 20
_MOST_NAMES = 10_000
_LEAST_LIKE = 0.75
_DRAWING = re.compile(r"_(?:res|explained)\.(?:jpe?g|png)$")
_SPECIAL = (".lst", REC_SUFFIX, ".txt", *VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Camera:
    """A camera, as an input of ``Classifier.predict``: each of its frames is tagged as soon as it is there.

    Parameters
    ----------
    source : int or str, default 0
        Its number, or its device, such as ``/dev/video0``.
    """

    source: int | str = 0


@dataclass(frozen=True)
class Url:
    """An address on the web, as a person gave it; ``shown`` is it without user and password."""

    address: str

    @property
    def shown(self) -> str:
        """Return the address as messages and results have it."""
        return without_credentials(self.address)


@dataclass(frozen=True)
class Several:
    """What one name stands for where that is not one file: images, and how many where that is known.

    The number of a video's frames is what its header says, and serves only to show how far it is.
    """

    items: Iterable[str | StreamItem | ImageError]
    count: int | None


Named = Union[str, Url, Several]


def whole(width: int, height: int) -> int:
    """Say that an image is not to be reduced."""
    return 1


@dataclass(frozen=True)
class Reading:
    """How names are read.

    ``root`` is the folder that the paths of lists and text files are under; ``every`` and ``frames`` say which frames
    of a video are taken, and how many at the most; ``reduction`` by how much one of (width, height) may be reduced.
    """

    root: str | None = None
    every: int | None = None
    frames: int | None = None
    reduction: Callable[[int, int], int] = whole
    progress: Progress = SILENT


def named(name: str, reading: Reading) -> Named:
    """Return what a name stands for. Raises ImageError where that is nothing, and ListError for a wrong list."""
    suffix = os.path.splitext(name)[1].lower()
    if name == STDIN:
        return Several(_stdin_item(), 1)
    if is_url(name):
        return Url(name)
    if is_camera(name):
        return camera(Camera(name), reading)
    if os.path.isdir(name):
        return _folder(name, reading.progress)
    if glob.has_magic(name) and not os.path.exists(name):
        return _pattern(name, reading)
    if not os.path.lexists(name) and (near := _near(name)):
        return Several((ImageError(f"no such file; a similar name there is {near}", name, "missing"),), 1)
    if suffix not in _SPECIAL or not os.path.isfile(name):
        return name
    if suffix == REC_SUFFIX:
        return _records(name)
    if suffix == ".lst":
        return _list(name, reading)
    if suffix == ".txt":
        return _paths(name, reading.root)
    return _video(name, reading)


def _near(name: str) -> str:
    """Return the file whose name is most like one that is not there; empty where none is, or there are very many."""
    folder, missing = os.path.split(name)
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry in islice(entries, _MOST_NAMES + 1)]
    except (OSError, ValueError):
        return ""
    if len(names) > _MOST_NAMES:
        return ""
    # An ending that is the same says nothing.
    stems = {os.path.splitext(name)[0].lower(): name for name in sorted(names, reverse=True)}
    found = difflib.get_close_matches(os.path.splitext(missing)[0].lower(), list(stems), 1, _LEAST_LIKE)
    return os.path.join(folder, stems[found[0]]) if found else ""


def split_called(called: str) -> tuple[str, int | None]:
    """Return the path of an image that is called so, and of a video's frame, ``clip.mp4#50``, its number, too."""
    path, mark, number = called.rpartition("#")
    of_video = path.lower().endswith(VIDEO_SUFFIXES) or is_camera(path)
    return (path, int(number)) if mark and of_video and number.isascii() and number.isdigit() else (called, None)


def is_camera(value: object) -> bool:
    """Say whether an input is a camera."""
    return isinstance(value, Camera) or (isinstance(value, str) and _CAMERA.fullmatch(value) is not None)


def camera(source: Camera, reading: Reading) -> Several:
    """Return the frames of a camera."""
    frames = camera_frames(source.source, reading.every)
    return Several(_frame_items(frames, camera_name(source.source), reading), reading.frames)


def _folder(name: str, progress: Progress) -> Several:
    found, passed_over, videos = look_for_images(Path(name), progress)
    names = [inner for inner in found if not _is_drawing(os.path.join(name, inner))]
    problem = f"holds no image, should hold files that end in {', '.join(IMAGE_SUFFIXES)}"
    skipped = f"{passed_over} files are skipped: their formats are not read" if passed_over else ""
    if len(names) < len(found):
        drawings = counted(len(found) - len(names), "drawing of mxml is", "drawings of mxml are")
        skipped += f"{'; ' if skipped else ''}{drawings} skipped"
    if videos:
        skipped += f"{'; ' if skipped else ''}{counted(videos, 'video is', 'videos are')} skipped: name each to read it"
    if not names:
        raise ImageError(problem + (f"; {skipped}" if skipped else ""), name, "missing")
    if skipped:
        progress.note(f"{name}: {skipped}")
    return Several((os.path.join(name, inner) for inner in names), len(names))


def _is_drawing(path: str) -> bool:
    """Say whether a file is what ``DrawingFolder`` puts beside photographs: it would be tagged as one of them."""
    return _DRAWING.search(path) is not None and mark_of(path) is not None


def _pattern(name: str, reading: Reading) -> Several:
    found = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
    if not found:
        wanted = "an image, a folder or a pattern such as 'photos/*.jpg'"
        raise ImageError(f"no file matches, should be {wanted}", name, "missing")
    if not any(path.lower().endswith(VIDEO_SUFFIXES) for path in found):
        return Several(found, len(found))
    return Several(_files_and_videos(found, reading), None)


def _files_and_videos(paths: Iterable[str], reading: Reading) -> Iterator[str | StreamItem | ImageError]:
    for path in paths:
        if not path.lower().endswith(VIDEO_SUFFIXES):
            yield path
            continue
        try:
            yield from _video(path, reading).items
        except ImageError as error:
            yield error


def _list(name: str, reading: Reading) -> Several:
    images = read_lst(name, image_root(name, reading.root), any_values=True)
    images, note = under_found_root(images, name, reading.root)
    if note:
        reading.progress.note(note)
    return listed(images)


def listed(images: ImageList) -> Several:
    """Return the images of a list."""
    return Several((images.path(position) for position in range(len(images))), len(images))


def _records(name: str) -> Several:
    return records(RecordImages(name, index_beside(name), keep_damaged=True))


def records(images: Any) -> Several:
    """Return the images of a RecordImages or RecordList, each of which a decoding thread reads."""
    items = (StreamItem(images.name(place), partial(images.read, place)) for place in range(len(images)))
    return Several(items, len(images))


def _paths(name: str, root: str | None) -> Several:
    """Return the files that a text file names, one on each line, from the working directory on or from ``root``."""
    count = sum(1 for _ in path_lines(name))
    if not count:
        raise ImageError("names no image, should hold one path on each line", name, "empty")
    first = list(islice(path_lines(name), _FIRST_LINES))
    if not any(_may_be_path(line, root) for line in first):
        text = f"names no image: {quoted(first[0])} is no file; should hold one path on each line"
        raise ImageError(f"{text}, from the working directory or from `root`", name, "missing")
    return Several((_listed_path(path, root) for path in path_lines(name)), count)


def path_lines(name: str) -> Iterator[str]:
    """Yield the lines of a text file, but for blank ones."""
    for _, block in read_blocks(name):
        # A file's name need not be text.
        yield from (os.fsdecode(line) for line in block.split(b"\n") if line.strip())


def _may_be_path(line: str, root: str | None) -> bool:
    """Say whether a line names a file, or one that has gone: any other text would be a fault on each line."""
    known = (*IMAGE_SUFFIXES, *_SPECIAL)
    return is_url(line) or line.lower().endswith(known) or os.path.exists(os.path.join(root or "", line))


def _listed_path(path: str, root: str | None) -> str | ImageError:
    if is_url(path):
        return ImageError("a URL is read only where it is given itself, not from a file", without_credentials(path))
    return path if root is None else os.path.join(root, path)


def _video(name: str, reading: Reading) -> Several:
    info = video_info(name)
    count = None
    if info.frames is not None:
        count = -(-info.frames // (reading.every or max(1, round(info.fps))))
        count = count if reading.frames is None else min(count, reading.frames)
    return Several(_frame_items(video_frames(name, reading.every), name, reading), count)


def _frame_items(
    frames: Generator[Frame, None, None], name: str, reading: Reading
) -> Iterator[StreamItem | ImageError]:
    """Yield frames as small as the network can use them, so that those that wait take little memory."""
    try:
        for number, seconds, bgr in islice(frames, reading.frames):
            height, width = bgr.shape[:2]
            reduction = reading.reduction(width, height)
            pixels = Pixels(reduced(bgr, reduction), (width, height), reduction)
            yield StreamItem(name, pixels, number, round(seconds, 3))
    except ImageError as error:
        yield error
    finally:
        frames.close()


def _stdin_item() -> Iterator[StreamItem]:
    yield StreamItem("stdin", _stdin_content())


def _stdin_content() -> bytes | ImageError:
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None or sys.stdin.isatty():
        return ImageError("nothing is piped in: - is an image's content from another program", "stdin", "empty")
    most = Limits().max_bytes
    content = bytearray()
    while piece := stream.read(_PIECE):
        content += piece
        if len(content) > most:
            return ImageError(f"gives more than the {most:,} bytes allowed", "stdin", "too_large")
    return bytes(content) if content else ImageError("is empty, or was read already", "stdin", "empty")
