"""What oneDNN is told about AMX, in fresh processes: it reads that once."""

import os
import subprocess
import sys

import pytest

CODE = """
from mxml.runtime.imports import load_mxnet
mx = load_mxnet()
from mxml.runtime.amx import uses_amx
import numpy as np
rng = np.random.default_rng(0)
data = mx.nd.array(rng.normal(size=(4, 32, 20, 20)))
weight = mx.nd.array(rng.normal(size=(32, 32, 3, 3)))
out = mx.nd.Convolution(data, weight, kernel=(3, 3), num_filter=32, no_bias=True)
print(uses_amx(), out.asnumpy().tobytes().hex()[:2000])
"""


def run(code=CODE, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != "DNNL_MAX_CPU_ISA"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**inherited, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_float32_is_computed_alike_with_and_without():
    _, with_amx = run()
    without, limited = run(DNNL_MAX_CPU_ISA="AVX512_CORE_BF16")
    assert without == "False"
    assert limited == with_amx


def test_a_processor_of_before_avx512_refuses_bfloat16_in_a_line():
    code = """
from mxml.errors import DeviceError
from mxml.progress import SILENT
from mxml.runtime.devices import parse_devices
from mxml.runtime.dtypes import note_slowness
try:
    note_slowness("bfloat16", parse_devices("cpu"), SILENT)
except DeviceError as error:
    print(error)
"""
    assert " ".join(run(code, DNNL_MAX_CPU_ISA="AVX2")) == (
        "`dtype` bfloat16 needs a processor with AVX-512; use float32"
    )


@pytest.mark.parametrize("isa", ["AVX512_CORE_AMX", None])
def test_amx_computes_where_it_is_used(isa):
    """Without the kernel's permission its first instruction would end the process."""
    code = """
from mxml.runtime.amx import uses_amx
from mxml.runtime.dtypes import cpu_computes_bfloat16
computes = cpu_computes_bfloat16()
print(computes or not uses_amx())
"""
    assert run(code, **({"DNNL_MAX_CPU_ISA": isa} if isa else {})) == ["True"]
