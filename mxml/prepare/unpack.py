"""The images in a RecordIO file, written as files of their own."""

from __future__ import annotations

import hashlib
import os
import posixpath
from pathlib import Path
from typing import NamedTuple

from mxml.data.formats import default_root, rec_file
from mxml.data.formats.file_tree import IMAGE_SUFFIXES
from mxml.data.formats.rec_names import named_records, read_listed
from mxml.data.formats.sources import LabelSources
from mxml.data.record_file import ImageHeader, Record, RecordFile, record_place
from mxml.errors import Faults, ImageError, ListError
from mxml.images.headers import read_header
from mxml.progress import SILENT, Progress
from mxml.staging import make_folders, remove_empty, temporary_folder_in
from mxml.text import quoted


class Unpacked(NamedTuple):
    """How many images of a file were written under ``root``, and how many existed already."""

    path: Path
    root: Path
    written: int
    unchanged: int


def unpack_sources(sources: LabelSources, *, progress: Progress = SILENT) -> tuple[Unpacked, ...]:
    """Write the images of all RecordIO files among the sources under the sources' root; return the result for each.

    The labels are read once before, so that no image is written where they have a fault. Raises ListError as
    ``LabelSources.read`` and ``unpack_images`` do.
    """
    records = [path for path in sources.paths if path.suffix.lower() in rec_file.SUFFIXES]
    if records:
        sources.read(progress=progress)
    roots = (sources.root or default_root(rec_file, path) for path in records)
    return tuple(unpack_images(path, root, progress=progress) for path, root in zip(records, roots))


def unpack_images(path: Path, root: Path, *, progress: Progress = SILENT) -> Unpacked:
    """Write each record's image under ``root``, called as ``mxml.data.formats.rec_file`` calls it; all of them or none.

    A file that is there with the same content stays. Raises ListError, and writes nothing, for a file that is there
    with other content, for a name that ends in no image's suffix or leads out of ``root``, through symbolic links too,
    and for a record that holds no whole image.
    """
    with RecordFile(path) as file:
        progress.start(sum(1 for _ in file), f"unpacking {path.name}")
        with temporary_folder_in(root) as temporary:
            unpacking = _Unpacking(file, root, temporary)
            for record, header, name in named_records(file, read_listed(path, False), unpacking.faults):
                unpacking.add(record, header, name)
                progress.advance()
            unpacking.faults.raise_any()
            return Unpacked(path, root, *unpacking.finish())


class _Unpacking:
    """Writes images into a temporary folder, and moves them into place if none conflicts with another file."""

    def __init__(self, file: RecordFile, root: Path, temporary: Path):
        from mxml.images.decode import Limits

        self.faults = Faults()
        self._most_bytes = Limits().max_bytes
        self._file = file
        self._root = root
        self._real_root = os.path.realpath(root)
        self._temporary = temporary
        self._staged: dict[str, Path] = {}
        self._digests: dict[str, bytes] = {}
        self._folder_faults = {"": ""}
        self._unchanged = 0

    def add(self, record: Record, header: ImageHeader, name: str) -> None:
        """Take one image."""
        fault = f"the image is called {quoted(name)}, should be called without .." if ".." in name.split("/") else ""
        name = posixpath.normpath(name)
        fault = fault or self._name_fault(name)
        if not fault:
            try:
                fault = self._take(record, header, name)
            except ImageError as error:
                fault = f"holds no image that can be used: {error.reason}"
            except OSError as error:
                fault = f"{self._root / name}: {error.strerror or error}"
        if fault:
            self.faults.add(f"{record_place(self._file.path, record.number, record.offset)}: {fault}")

    def _name_fault(self, name: str) -> str:
        if not name.lower().endswith(IMAGE_SUFFIXES):
            return f"the image is called {quoted(name)}, should end in one of {' '.join(IMAGE_SUFFIXES)}"
        fault = self._folder_fault(posixpath.dirname(name))
        if not fault and name in self._folder_faults:
            fault = f"{self._root / name} is the name of an image and of a folder of others"
        return fault

    def _folder_fault(self, folder: str) -> str:
        """Say why images cannot be in a folder; an empty text if they can."""
        if folder not in self._folder_faults:
            parts = folder.split("/")
            for depth in range(1, len(parts) + 1):
                part = "/".join(parts[:depth])
                if part not in self._folder_faults:
                    self._folder_faults[part] = self._own_folder_fault(part)
                if self._folder_faults[part]:
                    return self._folder_faults[part]
        return self._folder_faults[folder]

    def _own_folder_fault(self, folder: str) -> str:
        target = self._root / folder
        if folder in self._staged:
            return f"{target} is the name of an image and of a folder of others"
        if target.is_symlink() and not self._is_inside(target):
            return f"{target} is a symbolic link that leads out of {self._root}"
        if os.path.lexists(target) and not target.is_dir():
            return f"{target} is in the way, should be a folder"
        return ""

    def _is_inside(self, target: Path) -> bool:
        return os.path.commonpath((os.path.realpath(target), self._real_root)) == self._real_root

    def _take(self, record: Record, header: ImageHeader, name: str) -> str:
        size = record.size - header.image_start
        if size > self._most_bytes:
            return f"holds an image of {size:,} bytes, more than the {self._most_bytes:,} allowed"
        image = self._file.read(record, header.image_start)
        read_header(image)
        if name in self._staged:
            if self._digests[name] != hashlib.sha256(image).digest():
                return f"holds another image than an earlier record of the same name, {quoted(name)}"
            self._unchanged += 1
            return ""
        target = self._root / name
        try:
            os.lstat(target)
        except FileNotFoundError:
            self._staged[name] = self._temporary / str(record.number)
            self._digests[name] = hashlib.sha256(image).digest()
            if not self.faults:
                self._staged[name].write_bytes(image)
            return ""
        if not self._is_inside(target) or not target.is_file():
            return f"{target} is in the way, should be a file under {self._root}"
        if target.stat().st_size != size or target.read_bytes() != image:
            return f"{target} already exists with other content; move it away, or give another `root`"
        self._unchanged += 1
        return ""

    def finish(self) -> tuple[int, int]:
        """Move the images into place; return how many were written, and how many existed already.

        Where that fails, what was done is undone.
        """
        os.sync()
        made: list[Path] = []
        moved: list[Path] = []
        try:
            for folder in self._folder_faults:
                made = make_folders(self._root / folder) + made
            for name, image in self._staged.items():
                target = self._root / name
                if os.path.lexists(target):
                    raise ListError(f"{target}: has appeared, perhaps as another image whose name differs only in case")
                os.replace(image, target)
                moved.append(target)
        except BaseException:
            for target in moved:
                target.unlink()
            remove_empty(made)
            raise
        return len(self._staged), self._unchanged
