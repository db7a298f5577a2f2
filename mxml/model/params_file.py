"""Parameter files (``.params``): MXNet's list of named arrays, checked before MXNet sees it.

MXNet allocates whatever a file's header asks for, and a wrong byte there can end the process. So the whole structure
is read here first, without the data, and every length in it is held against the file's size.

The format, little-endian, as ``NDArray::Save`` and ``NDArray::Load`` of MXNet 1.9.1 have it (src/ndarray/ndarray.cc)::

    uint64 0x112 · uint64 reserved · uint64 count · count arrays · uint64 count · names, each uint64 length + bytes
    array:  uint32 0xF993FAC9 (or ..CA, NumPy shapes) · int32 storage, 0 = dense · shape · context · dtype · data
            uint32 0xF993FAC8 (2017)                                             · shape · context · dtype · data
            no mark at all (before): the shape's uint32 ndim comes first, its dims are uint32
    shape:  int32 ndim · ndim x int64       context: int32 device type, int32 device number       dtype: int32
"""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mxml.atomic import replacing
from mxml.errors import CheckpointError
from mxml.runtime.imports import MAX_ITEMS, load_mxnet, mxnet_message

mx = load_mxnet()

LIST_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
# By MXNet's type number: float32, float64, float16, uint8, int32, int8, int64, bool and bfloat16.
_ITEM_SIZES = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1, 12: 2}
_DEVICE_TYPES = (1, 2, 3, 5)  # CPU, GPU, pinned and shared memory
_MAX_ARRAYS = 100_000
_MAX_NDIM = 32
_MAX_NAME = 4096


def read_params(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the named arrays of a ``.params`` file into CPU memory, under the names that it holds.

    The structure is checked against the file's size before anything is allocated. Raises CheckpointError, which
    names the file and the fault, for a file that is missing, cut short, of another kind, or holds sparse arrays.
    """
    uses_numpy_shapes = check_structure(path)
    try:
        with mx.util.np_shape(uses_numpy_shapes):
            # An absolute path can't be taken for one of the remote addresses that MXNet also opens.
            return dict(mx.nd.load(str(Path(path).absolute())))
    except mx.base.MXNetError as error:
        raise CheckpointError(f"{path}: MXNet cannot load it: {mxnet_message(error)}") from error


def write_params(path: str | os.PathLike[str], params: Mapping[str, Any]) -> None:
    """Write named arrays as one step, in the form that every MXNet program loads. Raises CheckpointError if it fails.

    The structure is read back before the file takes its place: MXNet does not notice a full disk.
    """
    try:
        with replacing(path) as temporary:
            mx.nd.save(str(Path(temporary).absolute()), dict(params))
            check_structure(temporary)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}") from error
    except mx.base.MXNetError as error:
        raise CheckpointError(f"{path}: cannot be written: {mxnet_message(error)}") from error
    except CheckpointError as error:
        reason = str(error)[len(f"{temporary}: ") :]
        raise CheckpointError(f"{path}: cannot be written: {reason}") from error


def split_params(params: Mapping[str, Any], path: str | os.PathLike[str] = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Part ``arg:NAME`` from ``aux:NAME``. Raises CheckpointError for any other name; ``path`` is for its message."""
    arguments: dict[str, Any] = {}
    auxiliaries: dict[str, Any] = {}
    kinds = {"arg": arguments, "aux": auxiliaries}
    for key, value in params.items():
        kind, mark, name = key.partition(":")
        if kind not in kinds or not mark or not name:
            where = f"{path}: " if path else ""
            raise CheckpointError(f"{where}holds {key!r}; a checkpoint's names begin with 'arg:' or 'aux:'")
        kinds[kind][name] = value
    return arguments, auxiliaries


def join_params(arg_params: Mapping[str, Any], aux_params: Mapping[str, Any]) -> dict[str, Any]:
    """Undo ``split_params``."""
    joined = {f"arg:{name}": value for name, value in arg_params.items()}
    joined.update({f"aux:{name}": value for name, value in aux_params.items()})
    return joined


def check_finite(params: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError naming the arrays that hold NaN or infinity; training from them could only spread them."""
    broken = [name for name, value in params.items() if not np.isfinite(_as_float(value).asnumpy()).all()]
    if broken:
        more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise CheckpointError(
            f"{path}: not a finite number in {', '.join(broken[:5])}{more}; take an earlier epoch or another file"
        )


def _as_float(value: Any) -> Any:
    # NumPy knows no bfloat16: MXNet hands it over as a record of uint16.
    return value if np.issubdtype(value.dtype, np.number) else value.astype("float32")


def check_structure(path: str | os.PathLike[str]) -> bool:
    """Read every header and length in the file, skipping the data; return whether it uses NumPy shapes.

    Raises CheckpointError, as ``read_params`` does.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise CheckpointError(f"{path}: is not a file")
        with open(path, "rb") as file:
            return _Structure(path, file).check()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


class _Structure:
    """One pass over an open parameter file."""

    def __init__(self, path: str | os.PathLike[str], file: BinaryIO):
        self.path = path
        self.file = file
        self.size = os.fstat(file.fileno()).st_size

    def check(self) -> bool:
        if self.size < 8 or self.take("<Q")[0] != LIST_MAGIC:
            self.fail("is no MXNet parameter file (its first bytes are others)")
        self.take("<Q")
        count = self.take("<Q")[0]
        if count > _MAX_ARRAYS:
            self.fail(f"claims {count:,} arrays, more than {_MAX_ARRAYS:,}")
        kinds = {self.check_array(number) for number in range(count)}
        if len(kinds) > 1:
            self.fail("mixes arrays with NumPy shapes and arrays without")
        self.check_names(count)
        excess = self.size - self.file.tell()
        if excess:
            self.fail(f"has {excess:,} bytes after its end")
        return kinds == {True}

    def check_array(self, number: int) -> bool:
        mark = self.take("<I")[0]
        if mark in (_V2, _V3):
            storage = self.take("<i")[0]
            if storage != 0:
                self.fail(f"array {number} is not dense; save it with tostype('default')")
        if mark in (_V1, _V2, _V3):
            shape = self.take_dims(number, self.take("<i")[0], "q")
        else:
            shape = self.take_dims(number, mark, "I")
        items = math.prod(shape)
        if any(dim <= 0 for dim in shape) or items > MAX_ITEMS or (not shape and mark != _V3):
            self.fail(f"array {number} has the impossible shape {shape}")
        device_type, device_number, type_number = self.take("<iii")
        if device_type not in _DEVICE_TYPES or not 0 <= device_number < 1024:
            self.fail(f"array {number} names the unknown device {device_type}, {device_number}")
        if type_number not in _ITEM_SIZES:
            self.fail(f"array {number} has the unknown type number {type_number}")
        self.skip(items * _ITEM_SIZES[type_number])
        return mark == _V3

    def take_dims(self, number: int, ndim: int, code: str) -> tuple[int, ...]:
        if not 0 <= ndim <= _MAX_NDIM:
            self.fail(f"array {number} claims {ndim:,} dimensions")
        return self.take(f"<{ndim}{code}")

    def check_names(self, count: int) -> None:
        names_count = self.take("<Q")[0]
        if names_count != count:
            self.fail(f"holds {count:,} arrays and {names_count:,} names; a checkpoint names each array")
        names = set()
        for _ in range(count):
            length = self.take("<Q")[0]
            if length > _MAX_NAME:
                self.fail(f"claims a name of {length:,} bytes")
            try:
                name = self.take(f"<{length}s")[0].decode()
            except UnicodeDecodeError:
                self.fail("holds a name that is not UTF-8")
            if name in names:
                self.fail(f"holds {name!r} twice")
            names.add(name)

    def take(self, form: str) -> tuple[Any, ...]:
        wanted = struct.calcsize(form)
        content = self.file.read(wanted)
        if len(content) < wanted:
            self.fail_short(wanted - len(content))
        return struct.unpack(form, content)

    def skip(self, length: int) -> None:
        end = self.file.tell() + length
        if end > self.size:
            self.fail_short(end - self.size)
        self.file.seek(end)

    def fail_short(self, missing: int) -> None:
        self.fail(f"is cut short or damaged: {missing:,} bytes are missing at byte {self.size:,}")

    def fail(self, reason: str) -> None:
        raise CheckpointError(f"{self.path}: {reason}")
