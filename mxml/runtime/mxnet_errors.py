"""MXNet's errors that the user can fix, as mxml's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mxml.errors import DeviceError, ModelError
from mxml.runtime.imports import mxnet_message

# MXNet's own words on the CPU, CUDA's, the C++ library's, oneDNN's.
_NO_MEMORY = ("failed to allocate", "out of memory", "bad_alloc", "out_of_memory", "cannot allocate memory")


@contextlib.contextmanager
def memory_checked(batch_size: int) -> Iterator[None]:
    """Turn errors that mean that memory ran out into one DeviceError, which says what to reduce."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # MXNetError is a RuntimeError
        text = str(error).lower()
        if not isinstance(error, MemoryError) and not any(sign in text for sign in _NO_MEMORY):
            raise
        raise DeviceError(f"not enough memory for batches of {batch_size} images; reduce `batch_size`") from error


@contextlib.contextmanager
def errors_named(batch_size: int) -> Iterator[None]:
    """Turn what MXNet raises into a ModelError of one line, or a DeviceError where memory is missing."""
    try:
        with memory_checked(batch_size):
            yield
    except (RuntimeError, ValueError) as error:  # an MXNetError is a RuntimeError
        raise ModelError(f"MXNet cannot run the network: {mxnet_message(error)}") from error
