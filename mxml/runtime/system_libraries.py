"""Libraries that MXNet's libmxnet.so needs, and that its wheel does not contain.

It imports only the standard library, so that ``run_train.sh`` can ask it before anything is installed.
"""

from __future__ import annotations

import ctypes
import platform
import sys

# libgfortran, which the wheel brings, needs libquadmath.
DEBIAN_PACKAGES = {"libgomp.so.1": "libgomp1", "libquadmath.so.0": "libquadmath0", "libstdc++.so.6": "libstdc++6"}
"""The libraries by the name that the loader looks for, and the Debian package that has each of them."""


def machine_fault(system: str = sys.platform, machine: str = platform.machine()) -> str | None:
    """Say why MXNet cannot be installed on a machine, and what works there; None if it can."""
    if system.startswith("linux") and machine == "x86_64":
        return None
    jetson = system.startswith("linux") and machine == "aarch64"
    where = "Jetson and other aarch64 machines" if jetson else f"{system} on {machine}"
    return (
        f"MXNet 1.9.1 has no package for {where}: there mxml make-lst, convert and check work (in mxml's checkout: "
        "pip install .); train, evaluate and predict need Linux on x86-64, or an MXNet 1.9.1 that you build yourself"
    )


def library_fault() -> str | None:
    """Say which of DEBIAN_PACKAGES this system lacks, and how to install them; None where all are there."""
    if machine_fault() is not None:
        return None  # MXNet was built there by hand; libquadmath belongs to x86
    missing = []
    for library in DEBIAN_PACKAGES:
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(library)
    if not missing:
        return None
    packages = " ".join(DEBIAN_PACKAGES[library] for library in missing)
    names = " and ".join(missing)
    return f"MXNet needs {names}, which this system lacks; on Debian and Ubuntu: apt-get install {packages}"
