"""The process that MXNet runs in: the only module that imports mxnet, and the only one that sets global state.

It imports nothing but the standard library at its top, so that ``run_train.sh`` can ask it about GPUs before anything
is installed, and ``mxml --help`` stays quick.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import platform
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mxml.errors import DeviceError, SetupError

# mxnet-cu112 1.9.1 holds machine code for these compute capabilities, each good for its own major version, and no PTX.
LOWEST_CAPABILITY = (5, 0)
HIGHEST_CAPABILITY = (8, 9)

# In the order in which they must be loaded; the libraries depend on the ones before them.
_CUDA_LIBRARIES = (
    ("cuda_runtime", "libcudart.so.11.0"),
    ("cublas", "libcublasLt.so.11"),
    ("cublas", "libcublas.so.11"),
    ("cuda_nvrtc", "libnvrtc.so.11.2"),
    ("cudnn", "libcudnn.so.8"),
    ("cufft", "libcufft.so.10"),
    ("curand", "libcurand.so.10"),
    ("cusparse", "libcusparse.so.11"),
    ("cusolver", "libcusolver.so.11"),
    ("nccl", "libnccl.so.2"),
    ("nvtx", "libnvToolsExt.so.1"),
)

MAX_ITEMS = 2**31 - 1
"""Most elements that an array may have: MXNet 1.9.1, as it is distributed, counts them in 32 bits."""


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


def physical_cores() -> int:
    """Count the physical cores that this process may use: its affinity, hyper-threads merged, its cgroup's quota."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for cpu in allowed:
        try:
            cores.add(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:
            cores.add(str(cpu))
    return max(1, min(len(cores), _cgroup_cpus()))


def _cgroup_cpus() -> int:
    """Return the whole processors that the container's quota grants, rounded up; a large number without a quota."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return -(-int(quota) // int(period))
    with contextlib.suppress(OSError, ValueError):
        microseconds = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text())
        if microseconds > 0:
            return -(-microseconds // int(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text()))
    return 1 << 20


def threads() -> tuple[int, str]:
    """Return how many threads MXNet computes with, and where that number comes from.

    MXNet alone takes half of the processors that it sees, which is right only with hyper-threading.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if re.fullmatch(r"[1-9]\d*", asked):
        return int(asked), "OMP_NUM_THREADS"
    return physical_cores(), "physical cores"


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
    """Return the extra to install on this machine, ``cpu`` or ``gpu``, and one line saying why."""
    gpus = list_gpus()
    usable = [gpu for gpu in gpus if gpu.usable]
    if usable:
        return "gpu", f"GPU found: {usable[0].name}, compute capability {_dotted(usable[0].capability)}"
    if gpus:
        return "cpu", _refusal(gpus[0]) + "; staying on the CPU"
    return "cpu", "no NVIDIA driver with a GPU found; using the CPU"


def _refusal(gpu: Gpu) -> str:
    return (
        f"GPU {gpu.index} ({gpu.name}) has compute capability {_dotted(gpu.capability)}, and mxnet-cu112 1.9.1 holds "
        f"code for {_dotted(LOWEST_CAPABILITY)} to {_dotted(HIGHEST_CAPABILITY)} only"
    )


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


@functools.cache
def load_cv2() -> Any:
    """Import OpenCV with its own threads off: mxml decodes many images at once, one a thread."""
    import cv2

    cv2.setNumThreads(1)
    # Its warnings on broken files would land on stderr without a file name; mxml reports the file itself.
    cv2.setLogLevel(0)  # LOG_LEVEL_SILENT
    return cv2


@functools.cache
def load_mxnet() -> Any:
    """Import mxnet, once, with the environment it needs, and return the module.

    Sets OMP_NUM_THREADS to the physical cores unless the user set it, gives NumPy the ``numpy.bool`` that MXNet 1.9.1
    still asks for, and loads the CUDA libraries that mxml's gpu extra installs. Raises SetupError with a remedy.
    """
    if importlib.util.find_spec("mxnet") is None:
        extra = "gpu" if choose_extra()[0] == "gpu" else "cpu"
        raise SetupError(f"MXNet is not installed; install it with: pip install 'mxml[{extra}]'")
    count, _ = threads()
    os.environ["OMP_NUM_THREADS"] = str(count)
    # libgomp's threads otherwise spin for long at every barrier, which slows training several times over where the
    # processors have other work, mxml's own decoding included.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Sparse fallbacks and subgraph passes would be logged at every bind.
    os.environ.setdefault("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "0")
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    _give_numpy_its_old_bool()
    _load_cuda_libraries()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mxnet
    except OSError as error:
        remedy = "install the NVIDIA driver, or the CPU build: pip uninstall mxnet-cu112 && pip install 'mxml[cpu]'"
        raise SetupError(f"MXNet cannot be loaded: {error}; {remedy}") from error
    except Exception as error:
        raise SetupError(
            f"MXNet cannot be imported: {type(error).__name__}: {error}; "
            "make a fresh environment, and in mxml's checkout: pip install '.[cpu]'"
        ) from error
    # MXNet tells SciPy's sparse arrays by a name that warns since SciPy 1.8 and is to leave; without SciPy it asks
    # nothing, and mxml hands it no sparse arrays.
    mxnet.ndarray.utils.spsp = None
    return mxnet


def mxnet_message(error: Exception) -> str:
    """Return what an error from MXNet says in one line, without its trace, time stamps and source lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = next((line for line in lines if line.startswith("MXNetError: ")), lines[-1] if lines else repr(error))
    parts = message.split("MXNetError: ")[-1].split(" ")
    return " ".join(part for part in parts if not re.match(r"\[\d\d:\d\d:\d\d\]$|.+\.(cc|cu|h):\d+:?$", part))


def _give_numpy_its_old_bool() -> None:
    import numpy

    if "bool" not in vars(numpy):
        numpy.bool = numpy.bool_  # type: ignore[attr-defined]


def _load_cuda_libraries() -> None:
    """Open the CUDA libraries of the nvidia-*-cu11 wheels, where they are installed, so that mxnet-cu112 finds them."""
    try:
        spec = importlib.util.find_spec("nvidia")
    except (ImportError, ValueError):
        return
    if spec is None or mxnet_package() != "mxnet-cu112":
        return
    roots = [Path(root) for root in spec.submodule_search_locations or ()]
    for folder, library in _CUDA_LIBRARIES:
        for root in roots:
            path = root / folder / "lib" / library
            if path.exists():
                with contextlib.suppress(OSError):  # the import of mxnet names the one that is missing
                    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
                break


def mxnet_package() -> str | None:
    """Return the name of the installed distribution that provides mxnet, such as ``mxnet-cu112``; None without one."""
    from importlib import metadata

    for name in ("mxnet-cu112", "mxnet"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            metadata.version(name)
            return name
    return None


def parse_devices(text: str) -> list[Any]:
    """Turn ``cpu``, ``cpu:0,1``, ``gpu`` or ``gpu:0,1`` into MXNet contexts, one a device.

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
            raise DeviceError(f"this MXNet is the CPU build and cannot use a GPU ({why}); write --device cpu")
        remedy = "pip uninstall mxnet && pip install 'mxml[gpu]'"
        raise DeviceError(f"this MXNet is the CPU build and cannot use a GPU; install the GPU build: {remedy}")
    gpus = {gpu.index: gpu for gpu in list_gpus()}
    for number in numbers:
        if number not in gpus:
            found = ", ".join(str(index) for index in gpus) or "none"
            raise DeviceError(f"GPU {number} is not there (GPUs found: {found}); use --device cpu")
        if not gpus[number].usable:
            raise DeviceError(_refusal(gpus[number]) + "; use --device cpu")
    if mx.context.num_gpus() <= max(numbers):
        raise DeviceError(f"MXNet sees {mx.context.num_gpus()} GPUs, fewer than the driver; see `mxml doctor`")


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
        problems.append((f"OMP_NUM_THREADS={asked!r} is no number", "unset it, or set it to the physical cores"))
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
            problems.append((_refusal(gpu), "train on the CPU, or on an older GPU"))
    if any(gpu.usable for gpu in gpus) and "CUDA" not in features:
        problems.append(("a usable GPU is there, but MXNet is the CPU build", "pip install 'mxml[gpu]'"))
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


def default_device() -> str:
    """Return ``gpu:0`` where this MXNet can drive the first usable GPU, else ``cpu``."""
    usable = [gpu.index for gpu in list_gpus() if gpu.usable]
    if usable and load_mxnet().runtime.Features().is_enabled("CUDA"):
        return f"gpu:{usable[0]}"
    return "cpu"
