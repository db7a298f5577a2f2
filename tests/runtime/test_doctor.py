import json
import os
import subprocess
import sys

import pytest
from processes import run_python, stub_driver

from mxml.runtime.system_libraries import machine_fault


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


def test_the_library_gives_what_the_command_prints():
    done = subprocess.run(
        [sys.executable, "-m", "mxml", "doctor", "--json"], capture_output=True, text=True, timeout=120
    )
    known = run_python("import json; from mxml.runtime import doctor; print(json.dumps(doctor.facts().to_dict()))")
    assert json.loads(done.stdout) == json.loads(known)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_doctor_names_a_build_for_the_gpu_where_one_can_be_had(tmp_path, machine):
    code = (
        f"import platform; platform.machine = lambda: {machine!r}\n"
        "from mxml.runtime import doctor\n"
        "print(dict(doctor.facts().problems)['a usable GPU is there, but MXNet is the CPU build'])"
    )
    remedy = run_python(code, **stub_driver(tmp_path, 8, 7))
    if machine == "x86_64":
        assert remedy == "in mxml's checkout: pip uninstall mxnet && pip install '.[gpu]'"
    else:
        assert remedy == machine_fault("linux", "aarch64") and "[gpu]" not in remedy


def test_doctor_says_what_a_new_gpu_can_not_do(tmp_path):
    environment = {**os.environ, **stub_driver(tmp_path, 9, 0)}
    done = subprocess.run(
        [sys.executable, "-m", "mxml", "doctor"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "GPU 0       Stub, compute capability 9.0, mxnet-cu112 1.9.1 cannot use it" in done.stdout
    assert "remedy: train on the CPU, or on an older GPU" in done.stdout


@pytest.mark.parametrize("gpu", [False, True])
def test_doctor_exits_1_with_a_remedy_where_mxnet_is_missing(checkout, tmp_path, gpu):
    # -S hides site-packages; what doctor itself needs is put back, and mxnet is not.
    import click
    import numpy

    for module in (click, numpy):
        package = os.path.dirname(str(module.__file__))
        os.symlink(package, tmp_path / os.path.basename(package))
    libraries = os.path.dirname(numpy.__file__) + ".libs"
    if os.path.isdir(libraries):
        os.symlink(libraries, tmp_path / "numpy.libs")
    environment = {**os.environ, "PYTHONPATH": f"{checkout}:{tmp_path}"}
    if gpu:
        (tmp_path / "driver").mkdir()
        environment |= stub_driver(tmp_path / "driver", 8, 6)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "mxml", "doctor"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert "problem: MXNet is not installed" in done.stdout
    assert f"pip install '.[{'gpu' if gpu else 'cpu'}]'" in done.stdout
    assert "MXNet is the CPU build" not in done.stdout
    assert done.stderr == ""
