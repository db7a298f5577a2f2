from __future__ import annotations

import pytest
from processes import run_python, stub_driver

from mxml.errors import DeviceError
from mxml.runtime import devices, imports


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
    ("machine", "message"),
    [
        ("x86_64", "install the GPU build, in mxml's checkout: pip uninstall mxnet && pip install '.[gpu]'"),
        ("aarch64", "use the CPU; MXNet 1.9.1 has no package for Jetson and other aarch64 machines: there "),
    ],
)
def test_a_gpu_that_this_mxnet_cannot_use_names_a_build_where_one_can_be_had(tmp_path, machine, message):
    code = (
        f"import platform; platform.machine = lambda: {machine!r}\n"
        "from mxml.errors import DeviceError\n"
        "from mxml.runtime.devices import parse_devices\n"
        "try:\n    parse_devices('gpu')\nexcept DeviceError as error:\n    print(error)"
    )
    said = run_python(code, **stub_driver(tmp_path, 8, 7))
    assert said.startswith(f"this MXNet is the CPU build and cannot use a GPU; {message}")
    assert ("[gpu]" in said) == (machine == "x86_64") and "\n" not in said
