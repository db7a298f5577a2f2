"""Memory that a run does not have: one line that names the batch size."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mxml.errors import DeviceError
from mxml.runtime.imports import load_mxnet, mxnet_message
from mxml.training.config import TrainConfig

mx = load_mxnet()

# What MXNet, oneDNN and CUDA say where an allocation fails.
_SIGNS = ("allocate", "bad_alloc", "out of memory", "memory allocation", "alloc_failed")


@contextlib.contextmanager
def lack_of_memory_named(config: TrainConfig) -> Iterator[None]:
    """Turn an allocation that failed, in Python or in MXNet, into a DeviceError that names the batch size."""
    try:
        yield
    except MemoryError as error:
        raise _too_little(config) from error
    except (mx.base.MXNetError, RuntimeError) as error:
        # Binding turns an MXNetError into a RuntimeError.
        if not any(sign in mxnet_message(error).lower() for sign in _SIGNS):
            raise
        raise _too_little(config) from error


def _too_little(config: TrainConfig) -> DeviceError:
    shape = ",".join(map(str, config.image_shape))
    return DeviceError(
        f"`batch_size` {config.batch_size}: there is not enough memory on {config.device} for so many images of "
        f"{shape} at a time; choose a smaller one"
    )
