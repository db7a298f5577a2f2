"""The devices that the user names, as MXNet's contexts."""

from __future__ import annotations

import re
from typing import Any

from mxml.errors import DeviceError
from mxml.runtime.gpus import choose_extra, list_gpus, refusal
from mxml.runtime.imports import load_mxnet


def parse_devices(text: str) -> list[Any]:
    """Turn ``cpu``, ``cpu:0,1``, ``gpu`` or ``gpu:0,1`` into MXNet contexts, one per device.

    Several ``cpu:i`` behave as several devices that share the processors: for tests of what several GPUs would do.
    Raises DeviceError for another form, and for a GPU that is absent or that this MXNet cannot drive.
    """
    match = re.fullmatch(r"(cpu|gpu)(?::(\d+(?:,\d+)*))?", text.strip())
    if not match:
        raise DeviceError(f"device {text!r} is not understood; write cpu, gpu or gpu:0,1")
    kind, numbers = match.group(1), [int(number) for number in (match.group(2) or "0").split(",")]
    if len(set(numbers)) != len(numbers):
        raise DeviceError(f"device {text!r} names a device twice")
    mx = load_mxnet()
    if kind == "cpu":
        return [mx.cpu(number) for number in numbers]
    _check_gpus(numbers, mx)
    return [mx.gpu(number) for number in numbers]


def _check_gpus(numbers: list[int], mx: Any) -> None:
    if not mx.runtime.Features().is_enabled("CUDA"):
        extra, reason = choose_extra()
        if extra == "cpu":
            why = reason.partition(";")[0]
            raise DeviceError(f"this MXNet is the CPU build and cannot use a GPU ({why}); use the CPU")
        if extra == "none":
            raise DeviceError(f"this MXNet is the CPU build and cannot use a GPU; use the CPU; {reason}")
        remedy = "pip uninstall mxnet && pip install '.[gpu]'"
        raise DeviceError(
            f"this MXNet is the CPU build and cannot use a GPU; install the GPU build, in mxml's checkout: {remedy}"
        )
    gpus = {gpu.index: gpu for gpu in list_gpus()}
    for number in numbers:
        if number not in gpus:
            found = ", ".join(str(index) for index in gpus) or "none"
            raise DeviceError(f"GPU {number} does not exist (GPUs found: {found}); use the CPU")
        if not gpus[number].usable:
            raise DeviceError(refusal(gpus[number]) + "; use the CPU")
    if mx.context.num_gpus() <= max(numbers):
        raise DeviceError(f"MXNet sees {mx.context.num_gpus()} GPUs, fewer than the driver; see `mxml doctor`")


def default_device() -> str:
    """Return ``gpu:0`` where this MXNet can drive the first usable GPU, else ``cpu``."""
    usable = [gpu.index for gpu in list_gpus() if gpu.usable]
    if usable and load_mxnet().runtime.Features().is_enabled("CUDA"):
        return f"gpu:{usable[0]}"
    return "cpu"
