from __future__ import annotations

import pytest
from processes import run_python, stub_driver


@pytest.mark.parametrize(
    ("major", "minor", "extra", "reason"),
    [
        (8, 6, "gpu", "compute capability 8.6"),
        (9, 0, "cpu", "5.0 to 8.9 only; staying on the CPU"),
        (3, 7, "cpu", "3.7"),
    ],
)
def test_the_extra_follows_the_gpu_that_the_driver_names(tmp_path, major, minor, extra, reason):
    code = "from mxml.runtime.gpus import choose_extra; print(*choose_extra())"
    chosen = run_python(code, **stub_driver(tmp_path, major, minor))
    assert chosen.startswith(extra + " ")
    assert reason in chosen
