"""The imports of mxnet and OpenCV, and the environment that they need; nothing else imports them."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import re
import warnings
from pathlib import Path
from typing import Any

from mxml.errors import SetupError
from mxml.runtime.amx import ask_for_amx
from mxml.runtime.gpus import choose_extra
from mxml.runtime.import_hook import not_found
from mxml.runtime.system_libraries import library_fault
from mxml.runtime.threads import threads

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


@functools.cache
def load_cv2() -> Any:
    """Import OpenCV with its own threads off: mxml decodes many images at once, one per thread."""
    # What FFmpeg says on damaged videos, as with images.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
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
        extra, reason = choose_extra()
        if extra == "none":
            raise SetupError(reason)
        raise SetupError(f"MXNet is not installed; install it, in mxml's checkout: pip install '.[{extra}]'")
    prepare_for_mxnet()
    fault = library_fault()
    if fault is not None:
        raise SetupError(fault)
    try:
        with warnings.catch_warnings(), not_found("scipy", "sklearn"):
            warnings.simplefilter("ignore")
            import mxnet
    except OSError as error:
        remedy = (
            "install the NVIDIA driver, or the CPU build, in mxml's checkout: "
            "pip uninstall mxnet-cu112 && pip install '.[cpu]'"
        )
        raise SetupError(f"MXNet cannot be loaded: {error}; {remedy}") from error
    except Exception as error:
        raise SetupError(
            f"MXNet cannot be imported: {type(error).__name__}: {error}; "
            "make a fresh environment, and in mxml's checkout: pip install '.[cpu]'"
        ) from error
    # MXNet tells SciPy's sparse arrays by a name that warns since SciPy 1.8 and is to leave, where a program has
    # imported it; without SciPy it asks nothing, and mxml gives it no sparse arrays.
    mxnet.ndarray.utils.spsp = None
    return mxnet


def prepare_for_mxnet() -> None:
    """Set what mxnet reads while it is imported: threads, quiet logs, AMX, repeatable GPUs, NumPy's old name, CUDA."""
    count, _ = threads()
    os.environ["OMP_NUM_THREADS"] = str(count)
    # libgomp's threads otherwise spin for long at every barrier, which slows training several times over where the
    # processors have other work, mxml's own decoding included.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Sparse fallbacks and subgraph passes would be logged at every bind.
    os.environ.setdefault("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "0")
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    # On GPUs only algorithms that sum in a fixed order; and none that is picked by its time, which differs.
    os.environ.setdefault("MXNET_ENFORCE_DETERMINISM", "1")
    os.environ.setdefault("MXNET_CUDNN_AUTOTUNE_DEFAULT", "0")
    ask_for_amx()
    _give_numpy_its_old_bool()
    _load_cuda_libraries()


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
