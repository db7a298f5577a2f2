"""Parameter files (``.params``): MXNet's list of named arrays, read here and not by MXNet.

MXNet allocates whatever a file's header asks for, puts an array back on the device that it was saved from, and a wrong
byte can end the process. So the whole structure is read first, without the data, and every length in it is held
against the file's size; then the data goes from the file into CPU arrays.

The format, little-endian, as ``NDArray::Save`` and ``NDArray::Load`` of MXNet 1.9.1 have it (src/ndarray/ndarray.cc)::

    uint64 0x112 · uint64 reserved · uint64 count · count arrays · uint64 count · names, each uint64 length + bytes
    array:  uint32 0xF993FAC9 (or ..CA, NumPy shapes) · int32 storage, 0 = dense · shape · context · dtype · data
            uint32 0xF993FAC8 (2017)                                             · shape · context · dtype · data
            no mark at all (before): the shape's uint32 ndim comes first, its dims are uint32
    shape:  int32 ndim · ndim x int64       context: int32 device type, int32 device number       dtype: int32
"""

from __future__ import annotations

import ctypes
import math
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from mxml.atomic import replacing
from mxml.errors import ModelError, StorageError
from mxml.runtime.imports import MAX_ITEMS, load_mxnet, mxnet_message
from mxml.runtime.types import NDArray
from mxml.text import quoted, shown

mx = load_mxnet()

LIST_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
# By MXNet's type number. NumPy knows no bfloat16: MXNet returns it as a record of uint16.
_DTYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype(np.float32),
    1: np.dtype(np.float64),
    2: np.dtype(np.float16),
    3: np.dtype(np.uint8),
    4: np.dtype(np.int32),
    5: np.dtype(np.int8),
    6: np.dtype(np.int64),
    7: np.dtype(np.bool_),
    12: np.dtype([("bfloat16", np.uint16)]),
}
_DEVICE_TYPES = (1, 2, 3, 5)  # CPU, GPU, pinned and shared memory
_MAX_ARRAYS = 100_000
_MAX_NDIM = 32
_MAX_NAME = 4096


@dataclass(frozen=True)
class _Array:
    """Where an array lies in a file: its shape and type, and the position of its first byte."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    begin: int
    has_numpy_shape: bool

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_params(path: str | os.PathLike[str]) -> dict[str, NDArray]:
    """Read the named arrays of a ``.params`` file into CPU memory, under the names that it holds.

    The structure is checked against the file's size before anything is allocated; the device that an array was saved
    from plays no part. Raises ModelError, which names the file and the fault, for a file that is missing, cut short, of
    another kind, or holds sparse arrays.
    """
    try:
        with _open(path) as file:
            arrays = _Structure(path, file).arrays()
            return {name: _read(path, file, array) for name, array in arrays.items()}
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def check_structure(path: str | os.PathLike[str]) -> None:
    """Read every header and length in the file, skipping the data. Raises ModelError, as ``read_params`` does."""
    try:
        with _open(path) as file:
            _Structure(path, file).arrays()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ModelError(f"{path}: is not a file")
        return open(path, "rb")
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file") from None


def _read(path: str | os.PathLike[str], file: BinaryIO, array: _Array) -> NDArray:
    """Read one array's data straight into the memory of a new CPU array."""
    try:
        with mx.util.np_shape(array.has_numpy_shape):
            values = mx.nd.empty(array.shape, ctx=mx.cpu(), dtype=array.dtype)
            address = ctypes.c_void_p()
            mx.base.check_call(mx.base._LIB.MXNDArrayGetData(values.handle, ctypes.byref(address)))
    except mx.base.MXNetError as error:
        raise ModelError(f"{path}: its {array.size:,} bytes cannot be held: {mxnet_message(error)}") from error
    file.seek(array.begin)
    buffer = (ctypes.c_char * array.size).from_address(address.value or 0)
    if file.readinto(buffer) != array.size:  # type: ignore[attr-defined]
        raise ModelError(f"{path}: became shorter while it was read")
    return values


def write_params(path: str | os.PathLike[str], params: Mapping[str, NDArray]) -> None:
    """Write named arrays as one step, in the format that every MXNet program loads. Raises StorageError if it fails.

    The structure is read back before the file takes its place: MXNet does not notice a full disk.
    """
    try:
        with replacing(path) as temporary:
            # An absolute path can't be taken for one of the remote addresses that MXNet also opens.
            mx.nd.save(str(Path(temporary).absolute()), dict(params))
            check_structure(temporary)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    except mx.base.MXNetError as error:
        raise StorageError(f"{path}: cannot be written: {mxnet_message(error)}") from error
    except ModelError as error:
        reason = str(error)[len(f"{temporary}: ") :]
        raise StorageError(f"{path}: cannot be written: {reason}") from error


def split_params(
    params: Mapping[str, NDArray], path: str | os.PathLike[str] = ""
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Part ``arg:NAME`` from ``aux:NAME``. Raises ModelError for any other name; ``path`` is for its message."""
    arguments: dict[str, NDArray] = {}
    auxiliaries: dict[str, NDArray] = {}
    kinds = {"arg": arguments, "aux": auxiliaries}
    for key, value in params.items():
        kind, mark, name = key.partition(":")
        if kind not in kinds or not mark or not name:
            where = f"{path}: " if path else ""
            raise ModelError(f"{where}holds {quoted(key)}; a checkpoint's names begin with 'arg:' or 'aux:'")
        kinds[kind][name] = value
    return arguments, auxiliaries


def join_params(arg_params: Mapping[str, NDArray], aux_params: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Undo ``split_params``."""
    joined = {f"arg:{name}": value for name, value in arg_params.items()}
    joined.update({f"aux:{name}": value for name, value in aux_params.items()})
    return joined


def check_finite(params: Mapping[str, NDArray], path: str | os.PathLike[str]) -> None:
    """Raise ModelError naming the arrays that hold NaN or infinity; training from them could only spread them."""
    broken = [name for name, value in params.items() if not np.isfinite(_as_float(value).asnumpy()).all()]
    if broken:
        raise ModelError(f"{path}: not a finite number in {shown(broken, 5)}; take an earlier epoch or another file")


def _as_float(value: NDArray) -> NDArray:
    return value if np.issubdtype(value.dtype, np.number) else value.astype("float32")


class _Structure:
    """One pass over an open parameter file."""

    def __init__(self, path: str | os.PathLike[str], file: BinaryIO):
        self.path = path
        self.file = file
        self.size = os.fstat(file.fileno()).st_size

    def arrays(self) -> dict[str, _Array]:
        """Return where each array lies, by name, in the file's order."""
        if self.size < 8 or self.take("<Q")[0] != LIST_MAGIC:
            self.fail("is not an MXNet parameter file (its first bytes are different)")
        self.take("<Q")
        count = self.take("<Q")[0]
        if count > _MAX_ARRAYS:
            self.fail(f"claims {count:,} arrays, more than {_MAX_ARRAYS:,}")
        arrays = [self.array(number) for number in range(count)]
        if len({array.has_numpy_shape for array in arrays}) > 1:
            self.fail("mixes arrays with NumPy shapes and arrays without")
        names = self.names(count)
        excess = self.size - self.file.tell()
        if excess:
            self.fail(f"has {excess:,} bytes after its end")
        return dict(zip(names, arrays))

    def array(self, number: int) -> _Array:
        mark = self.take("<I")[0]
        if mark in (_V2, _V3):
            storage = self.take("<i")[0]
            if storage != 0:
                self.fail(f"array {number} is not dense; save it with tostype('default')")
        if mark in (_V1, _V2, _V3):
            shape = self.take_dims(number, self.take("<i")[0], "q")
        else:
            shape = self.take_dims(number, mark, "I")
        if any(dim <= 0 for dim in shape) or math.prod(shape) > MAX_ITEMS or (not shape and mark != _V3):
            self.fail(f"array {number} has the impossible shape {shape}")
        device_type, device_number, type_number = self.take("<iii")
        if device_type not in _DEVICE_TYPES or not 0 <= device_number < 1024:
            self.fail(f"array {number} names the unknown device {device_type}, {device_number}")
        if type_number not in _DTYPES:
            self.fail(f"array {number} has the unknown type number {type_number}")
        array = _Array(shape, _DTYPES[type_number], self.file.tell(), mark == _V3)
        self.skip(array.size)
        return array

    def take_dims(self, number: int, ndim: int, code: str) -> tuple[int, ...]:
        if not 0 <= ndim <= _MAX_NDIM:
            self.fail(f"array {number} claims {ndim:,} dimensions")
        return self.take(f"<{ndim}{code}")

    def names(self, count: int) -> list[str]:
        names_count = self.take("<Q")[0]
        if names_count != count:
            self.fail(f"holds {count:,} arrays and {names_count:,} names; a checkpoint names each array")
        names: dict[str, None] = {}
        for _ in range(count):
            length = self.take("<Q")[0]
            if length > _MAX_NAME:
                self.fail(f"claims a name of {length:,} bytes")
            try:
                name = self.take(f"<{length}s")[0].decode()
            except UnicodeDecodeError:
                self.fail("holds a name that is not UTF-8")
            if name in names:
                self.fail(f"holds {quoted(name)} twice")
            names[name] = None
        return list(names)

    def take(self, layout: str) -> tuple[Any, ...]:
        wanted = struct.calcsize(layout)
        content = self.file.read(wanted)
        if len(content) < wanted:
            self.fail_short(wanted - len(content))
        return struct.unpack(layout, content)

    def skip(self, length: int) -> None:
        end = self.file.tell() + length
        if end > self.size:
            self.fail_short(end - self.size)
        self.file.seek(end)

    def fail_short(self, missing: int) -> NoReturn:
        self.fail(f"is cut short or damaged: {missing:,} bytes are missing at byte {self.size:,}")

    def fail(self, reason: str) -> NoReturn:
        raise ModelError(f"{self.path}: {reason}")
