from __future__ import annotations

import pytest

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
