"""What ``mxml doctor`` prints: what this installation can do, and what is wrong with it."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from dataclasses import asdict, dataclass
from typing import Any

from mxml.errors import SetupError
from mxml.runtime.gpus import Gpu, list_gpus, refusal
from mxml.runtime.imports import load_mxnet, mxnet_message, mxnet_package
from mxml.runtime.system_libraries import machine_fault
from mxml.runtime.threads import physical_cores, threads


@dataclass(frozen=True)
class Facts:
    """What ``mxml doctor`` prints; ``problems`` holds pairs of what is wrong and its remedy."""

    python: str
    numpy: str | None
    opencv: str | None
    mxnet: str | None
    mxnet_package: str | None
    features: tuple[str, ...]
    logical_cpus: int
    physical_cores: int
    threads: int
    threads_from: str
    gpus: tuple[Gpu, ...]
    mxnet_gpus: int
    problems: tuple[tuple[str, str], ...]

    @property
    def can_run(self) -> bool:
        """Say whether MXNet could be imported and computed a sum."""
        return self.mxnet is not None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return {**asdict(self), "can_run": self.can_run}


def facts() -> Facts:
    """Gather what ``mxml doctor`` prints. Never raises: what is wrong is in ``problems``."""
    problems: list[tuple[str, str]] = []
    if not (3, 9) <= sys.version_info[:2] <= (3, 12):
        problems.append((f"Python {platform.python_version()} is not supported", "use Python 3.9 to 3.12"))
    numpy_version = _version("numpy", problems)
    if numpy_version and int(numpy_version.split(".")[0]) >= 2:
        problems.append((f"NumPy {numpy_version} is too new for MXNet", "pip install 'numpy<2'"))
    opencv_version = _version("cv2", problems)
    count, source = threads()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked and source != "OMP_NUM_THREADS":
        problems.append((f"OMP_NUM_THREADS={asked!r} is not a number", "unset it, or set it to the physical cores"))
    mxnet_version, features, mxnet_gpus = None, (), 0
    try:
        mx = load_mxnet()
        if float((mx.nd.ones((2, 2)) * 3).sum().asscalar()) != 12:
            raise SetupError("MXNet computes wrong sums here; reinstall it: pip install --force-reinstall mxnet==1.9.1")
        mxnet_version = mx.__version__
        features = tuple(sorted(name for name, feature in mx.runtime.Features().items() if feature.enabled))
        mxnet_gpus = mx.context.num_gpus() if "CUDA" in features else 0
    except SetupError as error:
        problem, _, remedy = str(error).rpartition("; ")
        problems.append((problem, remedy))
    except Exception as error:  # MXNet's own, such as a driver that is too old for its CUDA
        problems.append(
            (f"MXNet cannot compute: {mxnet_message(error)}", "update the NVIDIA driver, or install the CPU build")
        )
    gpus = list_gpus()
    for gpu in gpus:
        if not gpu.usable:
            problems.append((refusal(gpu), "train on the CPU, or on an older GPU"))
    # Where there is no MXNet at all, its own line names the build to install.
    if mxnet_version and any(gpu.usable for gpu in gpus) and "CUDA" not in features:
        remedy = machine_fault() or "in mxml's checkout: pip uninstall mxnet && pip install '.[gpu]'"
        problems.append(("a usable GPU is there, but MXNet is the CPU build", remedy))
    return Facts(
        python=platform.python_version(),
        numpy=numpy_version,
        opencv=opencv_version,
        mxnet=mxnet_version,
        mxnet_package=mxnet_package(),
        features=features,
        logical_cpus=os.cpu_count() or 1,
        physical_cores=physical_cores(),
        threads=count,
        threads_from=source,
        gpus=gpus,
        mxnet_gpus=mxnet_gpus,
        problems=tuple(problems),
    )


def _version(module: str, problems: list[tuple[str, str]]) -> str | None:
    try:
        return str(importlib.import_module(module).__version__)
    except Exception as error:
        wanted = {"numpy": "'numpy<2'", "cv2": "'opencv-python-headless<4.10'"}[module]
        problems.append((f"{module} cannot be imported: {error}", f"pip install --force-reinstall {wanted}"))
        return None
