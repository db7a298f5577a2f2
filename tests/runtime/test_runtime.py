import json
import os
import shutil
import subprocess
import sys

import pytest

from mxml.errors import DeviceError
from mxml.runtime import devices, imports

STUB_DRIVER = r"""
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strcpy(name, "Stub"); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? MAJOR : MINOR; return 0; }
"""


def run_python(code, **environment):
    env = {**os.environ, **environment}
    env = {name: value for name, value in env.items() if value is not None}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def stub_driver(folder, major, minor):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler to make a driver that only claims a GPU")
    (folder / "cuda.c").write_text(STUB_DRIVER)
    target = folder / "libcuda.so.1"
    flags = ["-shared", "-fPIC", f"-DMAJOR={major}", f"-DMINOR={minor}"]
    subprocess.run([compiler, *flags, "-o", target, folder / "cuda.c"], check=True)
    return str(folder)


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


def test_several_cpu_devices():
    mx = imports.load_mxnet()
    assert devices.parse_devices("cpu:0,1") == [mx.cpu(0), mx.cpu(1)]
    assert devices.parse_devices("cpu") == [mx.cpu(0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tpu", "write cpu, gpu or gpu:0,1"),
        ("gpu:", "write cpu, gpu or gpu:0,1"),
        ("cpu:0,0", "names a device twice"),
        ("gpu:0", "the CPU build and cannot use a GPU"),
    ],
)
def test_wrong_devices_are_refused_in_one_line(text, message):
    with pytest.raises(DeviceError, match=message) as caught:
        devices.parse_devices(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("major", "minor", "extra", "reason"),
    [
        (8, 6, "gpu", "compute capability 8.6"),
        (9, 0, "cpu", "5.0 to 8.9 only; staying on the CPU"),
        (3, 7, "cpu", "3.7"),
    ],
)
def test_the_extra_follows_the_gpu_that_the_driver_names(tmp_path, major, minor, extra, reason):
    folder = stub_driver(tmp_path, major, minor)
    code = "from mxml.runtime.gpus import choose_extra; print(*choose_extra())"
    chosen = run_python(code, LD_LIBRARY_PATH=folder)
    assert chosen.startswith(extra + " ")
    assert reason in chosen


def test_doctor_reports_this_machine(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mxml", "doctor", "--json"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["mxnet"] == "1.9.1"
    assert "MKLDNN" in facts["features"]
    assert facts["problems"] == []
    assert facts["threads"] >= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'Traceback (most recent call last):\n  File "../src/storage/x.h", line 74\nMXNetError: Failed to allocate',
            "Failed to allocate",
        ),
        (
            "MXNetError: Error in operator fc: [12:00:01] ../src/nn/fc.cc:98: Check failed: a == b: c:d",
            "Error in operator fc: Check failed: a == b: c:d",
        ),
        ("Error in operator fc: ../include/mxnet/tuple.h:420: no", "Error in operator fc: no"),
        ("[a:b:c] is no time", "[a:b:c] is no time"),
        ("", "ValueError('')"),
    ],
)
def test_what_mxnet_says_is_one_line(text, message):
    assert imports.mxnet_message(ValueError(text)) == message


def test_doctor_says_what_a_new_gpu_can_not_do(tmp_path):
    environment = {**os.environ, "LD_LIBRARY_PATH": stub_driver(tmp_path, 9, 0)}
    done = subprocess.run(
        [sys.executable, "-m", "mxml", "doctor"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "GPU 0       Stub, compute capability 9.0, not usable" in done.stdout
    assert "remedy: train on the CPU, or on an older GPU" in done.stdout


def test_doctor_exits_1_with_a_remedy_where_mxnet_is_missing(tmp_path):
    # -S hides site-packages; what doctor itself needs is put back, and mxnet is not.
    import click
    import numpy

    for module in (click, numpy):
        package = os.path.dirname(module.__file__)
        os.symlink(package, tmp_path / os.path.basename(package))
    libraries = os.path.dirname(numpy.__file__) + ".libs"
    if os.path.isdir(libraries):
        os.symlink(libraries, tmp_path / "numpy.libs")
    checkout = os.path.dirname(os.path.dirname(os.path.dirname(imports.__file__)))
    environment = {**os.environ, "PYTHONPATH": f"{checkout}:{tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-S", "-m", "mxml", "doctor"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert "problem: MXNet is not installed" in done.stdout
    assert "pip install 'mxml[cpu]'" in done.stdout
    assert done.stderr == ""
