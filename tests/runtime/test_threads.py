from __future__ import annotations

import os

import pytest
from processes import run_python


@pytest.mark.parametrize(("set_by_user", "wanted"), [(None, "cores"), ("1", "1"), ("rubbish", "cores")])
def test_threads_are_the_physical_cores_unless_the_user_set_them(set_by_user, wanted):
    code = (
        "from mxml.runtime.imports import load_mxnet; from mxml.runtime.threads import physical_cores;"
        "load_mxnet(); import os;"
        "print(os.environ['OMP_NUM_THREADS'], physical_cores())"
    )
    threads, cores = run_python(code, OMP_NUM_THREADS=set_by_user).split()
    assert threads == (cores if wanted == "cores" else wanted)
    assert 1 <= int(cores) <= len(os.sched_getaffinity(0))


def test_affinity_limits_the_cores():
    one = min(os.sched_getaffinity(0))
    pin = f"import os; os.sched_setaffinity(0, {{{one}}})"
    assert run_python(f"{pin}; from mxml.runtime.threads import physical_cores; print(physical_cores())") == "1"
