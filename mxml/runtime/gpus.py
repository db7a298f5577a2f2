"""The GPUs that the NVIDIA driver names, and which build of MXNet this machine can use.

It imports only the standard library, so that ``run_train.sh`` can ask it before anything is installed.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from mxml.runtime.system_libraries import library_fault, machine_fault

# mxnet-cu112 1.9.1 holds machine code for these compute capabilities, each good for its own major version, and no PTX.
LOWEST_CAPABILITY = (5, 0)
HIGHEST_CAPABILITY = (8, 9)


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver describes it, and whether mxnet-cu112 1.9.1 has machine code for it."""

    index: int
    name: str
    capability: tuple[int, int]

    @property
    def usable(self) -> bool:
        """Say whether mxnet-cu112 1.9.1 can run on it."""
        return LOWEST_CAPABILITY <= self.capability <= HIGHEST_CAPABILITY


def list_gpus() -> tuple[Gpu, ...]:
    """Ask the NVIDIA driver for its GPUs; without a driver there are none. Needs neither CUDA nor MXNet."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return ()
        gpus = []
        for index in range(count.value):
            device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
            name = ctypes.create_string_buffer(128)
            driver.cuDeviceGet(ctypes.byref(device), index)
            driver.cuDeviceGetName(name, len(name), device)
            driver.cuDeviceGetAttribute(ctypes.byref(major), 75, device)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
            driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
            gpus.append(Gpu(index, name.value.decode(errors="replace"), (major.value, minor.value)))
        return tuple(gpus)
    except (OSError, AttributeError):
        return ()


def choose_extra() -> tuple[str, str]:
    """Return the extra to install on this machine, ``cpu`` or ``gpu``, and one line saying why.

    The extra is ``none``, and the line says what works, where no MXNet can be had or the system lacks what it needs.
    """
    fault = machine_fault() or library_fault()
    if fault is not None:
        return "none", fault
    gpus = list_gpus()
    usable = [gpu for gpu in gpus if gpu.usable]
    if usable:
        return "gpu", f"GPU found: {usable[0].name}, compute capability {_dotted(usable[0].capability)}"
    if gpus:
        return "cpu", refusal(gpus[0]) + "; staying on the CPU"
    return "cpu", "no NVIDIA driver with a GPU found; using the CPU"


def refusal(gpu: Gpu) -> str:
    """Say why mxnet-cu112 1.9.1 cannot use a GPU."""
    return (
        f"GPU {gpu.index} ({gpu.name}) has compute capability {_dotted(gpu.capability)}, and mxnet-cu112 1.9.1 holds "
        f"code for {_dotted(LOWEST_CAPABILITY)} to {_dotted(HIGHEST_CAPABILITY)} only"
    )


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
