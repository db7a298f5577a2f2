"""Parameter files: the real ones load, every damaged one is refused in one line before MXNet sees it."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mxml.errors import ModelError, StorageError
from mxml.model import params_file
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
CPU_FLOAT = struct.pack("<iii", 1, 0, 0)
V2 = struct.pack("<Iiiqq", 0xF993FAC9, 0, 2, 2, 3) + CPU_FLOAT + VALUES.tobytes()


def file_of(*arrays: bytes, names: tuple[bytes, ...] = (b"arg:w",)) -> bytes:
    head = struct.pack("<QQQ", 0x112, 0, len(arrays))
    tail = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    return head + b"".join(arrays) + struct.pack("<Q", len(names)) + tail


def fault(tmp_path, content: bytes) -> str:
    """The message, without the path that it must begin with."""
    path = tmp_path / "bad.params"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        params_file.read_params(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message[len(f"{path}: ") :]


@pytest.mark.parametrize("name", ["squeezenet_v1.0-0000.params", "legacy-multilabel-0002.params"])
def test_real_files_load_and_are_written_back_byte_for_byte(shared, tmp_path, name):
    source = shared / "models" / name
    params = params_file.read_params(source)
    reference = mx.nd.load(str(source))
    assert list(params) == list(reference)
    for key, value in reference.items():
        np.testing.assert_array_equal(params[key].asnumpy(), value.asnumpy())
    params_file.check_finite(params, source)
    params_file.write_params(tmp_path / name, params)
    assert (tmp_path / name).read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(struct.pack("<III", 2, 2, 3) + CPU_FLOAT + VALUES.tobytes(), id="2016, 32-bit dims"),
        pytest.param(struct.pack("<Iiqq", 0xF993FAC8, 2, 2, 3) + CPU_FLOAT + VALUES.tobytes(), id="2017"),
        pytest.param(V2, id="2018 on"),
        pytest.param(V2.replace(CPU_FLOAT, struct.pack("<iii", 2, 3, 0)), id="from the fourth GPU"),
        pytest.param(V2.replace(b"\xc9\xfa", b"\xca\xfa", 1), id="NumPy shapes"),
    ],
)
def test_every_age_of_the_format_loads(tmp_path, array):
    path = tmp_path / "old.params"
    path.write_bytes(file_of(array))
    loaded = params_file.read_params(path)
    np.testing.assert_array_equal(loaded["arg:w"].asnumpy(), VALUES)
    assert loaded["arg:w"].context.device_type == "cpu"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool"])
def test_types_survive_a_round_trip(tmp_path, dtype):
    values = {"a": mx.nd.array([[1, 0], [0, 1]], dtype=dtype), "ünï/b": mx.nd.array([2], dtype=dtype)}
    params_file.write_params(tmp_path / "t.params", values)
    loaded = params_file.read_params(tmp_path / "t.params")
    assert list(loaded) == list(values)
    for name, value in values.items():
        assert loaded[name].dtype == value.dtype
        np.testing.assert_array_equal(loaded[name].asnumpy(), value.asnumpy())


def test_bfloat16_loads_and_is_judged_by_its_values(tmp_path):
    def saved(bits: int) -> bytes:
        return file_of(struct.pack("<Iiiq", 0xF993FAC9, 0, 1, 2) + struct.pack("<iiiHH", 1, 0, 12, 0x3FC0, bits))

    path = tmp_path / "b.params"
    path.write_bytes(saved(0xC000))
    params = params_file.read_params(path)
    assert params["arg:w"].astype("float32").asnumpy().tolist() == [1.5, -2.0]
    params_file.check_finite(params, path)
    path.write_bytes(saved(0x7F80))  # infinity
    with pytest.raises(ModelError, match=r"b\.params: not a finite number in arg:w"):
        params_file.check_finite(params_file.read_params(path), path)


HUGE = struct.pack("<Iiiqq", 0xF993FAC9, 0, 2, 40_000, 40_000) + CPU_FLOAT


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not an MXNet parameter file"),
        (b"\x80\x04\x95 a pickle, say", "is not an MXNet parameter file"),
        (struct.pack("<QQQ", 0x112, 0, 2**63), "claims 9,223,372,036,854,775,808 arrays"),
        (file_of(V2)[:-1], "is cut short or damaged: 1 bytes are missing"),
        (file_of(V2) + b"xy", "has 2 bytes after its end"),
        (file_of(HUGE), "is cut short or damaged: 6,399,999,"),
        (
            file_of(struct.pack("<Iiiqq", 0xF993FAC9, 0, 2, 2**31, 2**31) + CPU_FLOAT),
            "array 0 has the impossible shape",
        ),
        (file_of(struct.pack("<Iiiqq", 0xF993FAC9, 0, 2, -2, -3) + CPU_FLOAT), "array 0 has the impossible shape"),
        (file_of(struct.pack("<Iii", 0xF993FAC9, 0, 0)), "array 0 has the impossible shape ()"),
        (file_of(struct.pack("<Iii", 0xF993FAC9, 0, 2**30)), "array 0 claims 1,073,741,824 dimensions"),
        (file_of(struct.pack("<Iii", 0xF993FAC9, 1, 2)), "array 0 is not dense"),
        (file_of(V2.replace(CPU_FLOAT, struct.pack("<iii", 9, 0, 0))), "array 0 names the unknown device 9, 0"),
        (file_of(V2.replace(CPU_FLOAT, struct.pack("<iii", 1, 0, 99))), "array 0 has the unknown type number 99"),
        (file_of(V2, names=()), "holds 1 arrays and 0 names"),
        (file_of(V2, V2, names=(b"arg:w", b"arg:w")), "holds 'arg:w' twice"),
        (file_of(V2, names=(b"\xff\xfe",)), "holds a name that is not UTF-8"),
        (file_of(V2, V2.replace(b"\xc9\xfa", b"\xca\xfa", 1), names=(b"a", b"b")), "mixes arrays with NumPy shapes"),
    ],
)
def test_damage_is_named(tmp_path, content, reason):
    assert fault(tmp_path, content).startswith(reason)


def test_missing_and_odd_paths_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"nothing\.params: there is no such file$"):
        params_file.read_params(tmp_path / "nothing.params")
    with pytest.raises(ModelError, match=r"is not a file$"):
        params_file.read_params(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    with pytest.raises(ModelError, match=r"is not a file$"):
        params_file.read_params(tmp_path / "pipe")


SMALL = file_of(V2, struct.pack("<III", 2, 2, 3) + CPU_FLOAT + VALUES.tobytes(), names=(b"arg:w", b"aux:mean"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, len(SMALL) - 1),
    replacement=st.binary(min_size=1, max_size=8),
    cut=st.integers(0, len(SMALL)) | st.none(),
)
def test_whatever_the_damage_the_file_loads_or_is_refused(tmp_path, at, replacement, cut):
    """A crash of MXNet would end the test run."""
    content = (SMALL[:at] + replacement + SMALL[at + len(replacement) :])[:cut]
    path = tmp_path / "fuzzed.params"
    path.write_bytes(content)
    try:
        params = params_file.read_params(path)
    except ModelError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert len(params) == 2
        assert sum(value.asnumpy().nbytes for value in params.values()) <= len(content)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept.params"
    params_file.write_params(path, {"arg:w": mx.nd.ones((2, 2))})
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"kept\.params: cannot be written: array 0 is not dense"):
        params_file.write_params(path, {"arg:w": mx.nd.ones((2, 2)).tostype("csr")})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.params"]
    with pytest.raises(StorageError, match=r"cannot be written: No such file or directory"):
        params_file.write_params(tmp_path / "absent" / "x.params", {"arg:w": mx.nd.ones((2, 2))})


def test_split_and_join(tmp_path):
    one, two = mx.nd.ones((1,)), mx.nd.zeros((1,))
    arguments, auxiliaries = params_file.split_params({"arg:a:b": one, "aux:a": two})
    assert (arguments, auxiliaries) == ({"a:b": one}, {"a": two})
    assert params_file.join_params(arguments, auxiliaries) == {"arg:a:b": one, "aux:a": two}
    for key in ("w", "arg:", "argw", "x:w"):
        with pytest.raises(ModelError, match=f"some.params: holds {key!r}; "):
            params_file.split_params({key: one}, "some.params")


def test_numbers_that_are_not_finite_are_named():
    good = mx.nd.ones((2,))
    bad = {name: mx.nd.array([1.0, value]) for name, value in (("w", np.nan), ("v", np.inf))}
    params_file.check_finite({"good": good}, "x.params")
    with pytest.raises(ModelError, match=r"x\.params: not a finite number in w, v;"):
        params_file.check_finite({"good": good, **bad}, "x.params")
