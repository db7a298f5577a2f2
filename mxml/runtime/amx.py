"""Intel's AMX, with which processors compute in bfloat16 faster than in float32; oneDNN uses it only when asked."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys

_ARCH_PRCTL = 158  # on x86-64
_ARCH_REQ_XCOMP_PERM = 0x1023
_TILE_DATA = 18
_ISA = "DNNL_MAX_CPU_ISA"
_AMX = "AVX512_CORE_AMX"
_WITHOUT_AMX = "AVX512_CORE_BF16"


def ask_for_amx() -> None:
    """Let oneDNN, which reads its environment once, use AMX where the kernel permits it, unless the user chose a limit.

    Without the permission AMX's first instruction would end the process. float32 is computed as without AMX.
    """
    if _permitted():
        os.environ.setdefault(_ISA, _AMX)
    elif os.environ.get(_ISA) == _AMX:
        os.environ[_ISA] = _WITHOUT_AMX


def uses_amx() -> bool:
    """Say whether oneDNN computes in bfloat16 with AMX, if ``ask_for_amx`` was called before it began."""
    return _permitted() and os.environ.get(_ISA) == _AMX


@functools.cache
def _permitted() -> bool:
    """Ask the kernel for the tiles' registers, for this process and its threads; say whether it gives them."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    return int(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _TILE_DATA)) == 0
