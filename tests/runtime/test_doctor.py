import json
import os
import subprocess
import sys

from processes import stub_driver


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


def test_doctor_says_what_a_new_gpu_can_not_do(tmp_path):
    environment = {**os.environ, **stub_driver(tmp_path, 9, 0)}
    done = subprocess.run(
        [sys.executable, "-m", "mxml", "doctor"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "GPU 0       Stub, compute capability 9.0, not usable" in done.stdout
    assert "remedy: train on the CPU, or on an older GPU" in done.stdout


def test_doctor_exits_1_with_a_remedy_where_mxnet_is_missing(checkout, tmp_path):
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
    done = subprocess.run(
        [sys.executable, "-S", "-m", "mxml", "doctor"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert "problem: MXNet is not installed" in done.stdout
    assert "pip install '.[cpu]'" in done.stdout
    assert done.stderr == ""
