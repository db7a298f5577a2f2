"""Image lists in memory: which images there are, and what each one shows."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mxml.errors import ListError
from mxml.text import quoted

MAX_PATH_BYTES = 4096
"""Longest path that a list may hold: Linux opens no longer one."""

_UNLISTABLE = re.compile(r"[\n\r\0]")


@dataclass(frozen=True, eq=False)
class ImageList:
    """Images and their labels, held column by column and never changed.

    Parameters
    ----------
    index : (N,) int64
        The first column of a list: the images' numbers.
    labels : (N, C) int8 or float32
        1, 0 and -1 (unknown); float32 where other values were asked for.
    root : str
        The folder that the names are under.
    name_bytes : bytes
        The names as UTF-8, one after the other.
    name_offsets : (N + 1,) int64
        The i-th name takes the bytes from ``name_offsets[i]`` to ``name_offsets[i + 1]``.

    See Also
    --------
    from_rows : Builds a list from names and rows of labels.
    """

    index: np.ndarray
    labels: np.ndarray
    root: str
    name_bytes: bytes
    name_offsets: np.ndarray

    def __post_init__(self) -> None:
        for column in (self.index, self.labels, self.name_offsets):
            column.flags.writeable = False

    @classmethod
    def from_rows(
        cls,
        names: Sequence[str],
        labels: ArrayLike,
        root: str | os.PathLike[str] = "",
        index: ArrayLike | None = None,
    ) -> ImageList:
        """Build a list from one name and one row of labels per image.

        Parameters
        ----------
        names : sequence of str
            The images' paths under ``root``.
        labels : (N, C) array_like
            Becomes int8 where all values are 1, 0 or -1, and float32 otherwise.
        root : path, optional
            The folder that the names are under.
        index : (N,) array_like of int, optional
            The images' numbers; 0 to N - 1 unless given.

        Returns
        -------
        ImageList

        Raises
        ------
        ListError
            For labels that are not finite.
        ValueError
            For labels or an index of another shape.
        """
        values = np.asarray(labels)
        if values.ndim != 2 or len(values) != len(names):
            raise ValueError(f"labels have the shape {values.shape}, should be ({len(names)}, number of classes)")
        if all(((part == 0) | (part == 1) | (part == -1)).all() for part in _blocks(values)):
            table = values.astype(np.int8)
        else:
            table = values.astype(np.float32)
            faulty = np.flatnonzero(~np.isfinite(table).all(axis=1))
            if len(faulty):
                raise ListError(f"the labels of {names[faulty[0]]!r} are not finite numbers")
        numbers = np.arange(len(names), dtype=np.int64) if index is None else np.array(index, dtype=np.int64)
        if numbers.shape != (len(names),):
            raise ValueError(f"index has the shape {numbers.shape}, should be ({len(names)},)")
        return cls(numbers, table, os.fspath(root), *_pack(_encode(name) for name in names))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def num_classes(self) -> int:
        """Return the number of labels per image, C."""
        return self.labels.shape[1]

    def name(self, i: int) -> str:
        """Return the path of one image as the list has it.

        Parameters
        ----------
        i : int
            The image's position, from 0.

        Returns
        -------
        str
        """
        return _decode(self.name_bytes[self.name_offsets[i] : self.name_offsets[i + 1]])

    def path(self, i: int) -> str:
        """Return the path of one image joined to the root; an absolute name stays as it is.

        Parameters
        ----------
        i : int
            The image's position, from 0.

        Returns
        -------
        str
        """
        return os.path.join(self.root, self.name(i))

    def names(self) -> list[str]:
        """Return the paths of all images, as the list has them.

        Returns
        -------
        list of str
        """
        return [_decode(name) for name in self._encoded_names()]

    def with_labels(self, labels: np.ndarray) -> ImageList:
        """Return the images with other labels.

        Parameters
        ----------
        labels : (N, C) int8
            One row for each image.

        Returns
        -------
        ImageList
        """
        return replace(self, labels=labels)

    def select(self, positions: ArrayLike) -> ImageList:
        """Return some of the images.

        Parameters
        ----------
        positions : (M,) array_like of int
            Which images, counted from 0; one may be there again.

        Returns
        -------
        ImageList
            The M images in that order, each with its index.
        """
        chosen = np.asarray(positions, dtype=np.int64)
        starts, ends = self.name_offsets[:-1][chosen].tolist(), self.name_offsets[1:][chosen].tolist()
        packed = _pack(self.name_bytes[start:end] for start, end in zip(starts, ends))
        return ImageList(self.index[chosen], self.labels[chosen], self.root, *packed)

    def _encoded_names(self) -> Iterable[bytes]:
        ends = self.name_offsets.tolist()
        return (self.name_bytes[start:end] for start, end in zip(ends, ends[1:]))


def _blocks(values: np.ndarray) -> Iterable[np.ndarray]:
    # What is worked out of a large table as a whole takes several times its memory.
    rows = max(1, (1 << 24) // max(1, values.shape[1]))
    return (values[first : first + rows] for first in range(0, len(values), rows))


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _pack(names: Iterable[bytes]) -> tuple[bytes, np.ndarray]:
    held = list(names)
    offsets = np.zeros(len(held) + 1, np.int64)
    np.cumsum([len(name) for name in held], out=offsets[1:])
    return b"".join(held), offsets


# ---- what an image may be called


def path_fault(name: str, allow_absolute: bool = False) -> str | None:
    """Say why an image cannot be called so, and what it should be; None for a path that may be used.

    MXNet's readers end a path at a line end and strip the blanks around it, so paths with those are refused in every
    format of labels. A tab is another matter: some formats hold it, and those that cannot refuse it themselves.
    """
    if not name:
        return "the path is empty, should name an image"
    if _UNLISTABLE.search(name):
        return f"the path {quoted(name)} holds a line end or a NUL, which no list can hold"
    if name != name.strip():
        return f"the path {quoted(name)} starts or ends with a blank, which no list can hold"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return f"the path {quoted(name)} is not UTF-8, which a list must be"
    if size > MAX_PATH_BYTES:
        return f"the path is {size:,} bytes long, should be at most {MAX_PATH_BYTES:,}"
    if allow_absolute:
        return None
    if name.startswith("/"):
        return f"the path {quoted(name)} is absolute, should be relative to the image root"
    if ".." in name and posixpath.normpath(name).split("/")[0] == "..":
        return f"the path {quoted(name)} leaves the image root, should stay under it"
    return None


def plain_path(name: str) -> str:
    """Return the one of a path's spellings that holds no detour: ``a.jpg`` for ``./a.jpg`` and ``b/../a.jpg``."""
    return posixpath.normpath(name) if "./" in name or "//" in name else name
