"""The number of threads that MXNet and BLAS compute with."""

from __future__ import annotations

import contextlib
import os
import re
from contextlib import AbstractContextManager
from pathlib import Path


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

    By default MXNet takes half of the processors that it sees, which is right only with hyper-threading.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if re.fullmatch(r"[1-9]\d*", asked):
        return int(asked), "OMP_NUM_THREADS"
    return physical_cores(), "physical cores"


def one_blas_thread() -> AbstractContextManager[object]:
    """Return a context in which NumPy's BLAS has one thread: more would round in another order."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits
