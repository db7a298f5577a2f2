"""What a device can compute in."""

from __future__ import annotations

from collections.abc import Sequence

from mxml.errors import DeviceError
from mxml.progress import Progress
from mxml.runtime.amx import uses_amx
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Context

FLOAT32, FLOAT16, BFLOAT16 = "float32", "float16", "bfloat16"


def note_slowness(dtype: str, devices: Sequence[Context], progress: Progress) -> None:
    """Say where a lower precision costs time. Raises DeviceError for devices that cannot compute in it."""
    on_cpu = any(device.device_type == "cpu" for device in devices)
    if dtype == FLOAT16 and on_cpu:
        raise DeviceError(
            "`dtype` float16 needs a GPU that MXNet can use (see `mxml doctor`); on the CPU use float32 or bfloat16"
        )
    if dtype != BFLOAT16:
        return
    if not on_cpu:
        raise DeviceError("`dtype` bfloat16 is for CPUs; on a GPU use float16 or float32")
    if not cpu_computes_bfloat16():
        raise DeviceError("`dtype` bfloat16 needs a processor with AVX-512; use float32")
    if not uses_amx():
        progress.note("`dtype` bfloat16 without AMX, as here, takes longer than float32")


def cpu_computes_bfloat16() -> bool:
    """Try a convolution: oneDNN has none for older processors."""
    import numpy as np

    mx = load_mxnet()
    # What MXNet calls it in Python; NumPy has none.
    bfloat16 = np.dtype([(BFLOAT16, np.uint16)])
    try:
        data, weight = (mx.nd.amp_cast(mx.nd.ones(shape), dtype=bfloat16) for shape in ((1, 32, 3, 3), (32, 32, 3, 3)))
        out = mx.nd.Convolution(data, weight, kernel=(3, 3), num_filter=32, no_bias=True)
        return bool((mx.nd.amp_cast(out, dtype=FLOAT32).asnumpy() == 9 * 32).all())
    except mx.base.MXNetError:
        return False
