"""The table of operators against MXNet itself, and the strict grammar of attributes."""

from __future__ import annotations

import ctypes
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxml.model.attributes import Bool, Choice, Float, Floats, Int, Permutation, Tuple
from mxml.model.operators import OPERATORS
from mxml.model.symbol_file import load_symbol
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()


def attributes_of(op: str) -> set[str]:
    """What MXNet says that an operator's attributes and inputs are called."""
    lib, base = mx.base._LIB, mx.base
    handle = base.OpHandle()
    base.check_call(lib.NNGetOpHandle(base.c_str(op), ctypes.byref(handle)))
    texts = [ctypes.c_char_p() for _ in range(4)]
    count, names, types, notes = base.mx_uint(), *(ctypes.POINTER(ctypes.c_char_p)() for _ in range(3))
    real, about, key, returned = texts
    arguments = (real, about, count, names, types, notes, key, returned)
    base.check_call(lib.MXSymbolGetAtomicSymbolInfo(handle, *map(ctypes.byref, arguments)))
    return {names[number].decode() for number in range(count.value)}


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_the_table_names_only_what_mxnet_knows(op):
    operator = OPERATORS[op]
    known = attributes_of(op) | {"num_args"}  # add_n takes it without saying so
    assert set(operator.attributes) <= known
    assert set(operator.required) <= set(operator.attributes)


ZOO = [
    *("alexnet", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
    *(f"resnet{depth}_v{version}" for depth in (18, 34, 50, 101, 152) for version in (1, 2)),
    *("densenet121", "densenet161", "densenet169", "densenet201", "squeezenet1.0", "squeezenet1.1", "inceptionv3"),
    *(f"mobilenet{kind}{width}" for kind in ("", "v2_") for width in ("1.0", "0.75", "0.5", "0.25")),
]


@pytest.mark.parametrize("name", ZOO)
def test_every_network_of_the_model_zoo_is_let_in_as_it_is(name, tmp_path):
    net = mx.gluon.model_zoo.vision.get_model(name)
    net.hybridize()
    symbol = net(mx.sym.var("data"))
    symbol.save(str(tmp_path / "zoo-symbol.json"))
    loaded = load_symbol(tmp_path / "zoo-symbol.json")
    assert operators(loaded) == operators(symbol)
    assert (loaded.list_arguments(), loaded.list_outputs()) == (symbol.list_arguments(), symbol.list_outputs())


def operators(symbol):
    nodes = json.loads(symbol.tojson())["nodes"]
    return [(node["op"], node["name"], node.get("attrs"), node["inputs"]) for node in nodes if node["op"] != "null"]


def test_layers_of_other_exporters_are_let_in(tmp_path):
    """Squeeze and excitation, a transformer's block, and what translators write for shapes and scales."""
    data = mx.sym.Variable("data")
    net = mx.sym.Convolution(data, kernel=(3, 3), stride=(2, 2), num_filter=8, name="conv")
    net = mx.sym.LeakyReLU(mx.sym.BatchNorm(net, name="bn"), act_type="prelu", name="prelu")
    scale = mx.sym.Pooling(net, global_pool=True, pool_type="avg", kernel=(1, 1))
    scale = mx.sym.hard_sigmoid(mx.sym.Convolution(scale, kernel=(1, 1), num_filter=8))
    net = mx.sym.broadcast_mul(net, scale)
    net = mx.sym.Pad(mx.sym.LRN(net, nsize=5), mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 1, 1))
    net = mx.sym.contrib.AdaptiveAvgPooling2D(mx.sym.clip(net, 0, 6), output_size=(4, 4))
    net = mx.sym.transpose(mx.sym.reshape(net, shape=(0, 8, -1)), axes=(0, 2, 1))
    net = mx.sym.LayerNorm(net, axis=-1)
    query, key, value = mx.sym.split(mx.sym.FullyConnected(net, num_hidden=24, flatten=False), num_outputs=3, axis=2)
    weights = mx.sym.softmax(mx.sym.batch_dot(query, key, transpose_b=True) / 3, axis=-1)
    net = net + mx.sym.batch_dot(weights, value)
    net = net * 0.5 * (1 + mx.sym.erf(net / 1.4142135))
    net = mx.sym.concat(
        mx.sym.slice_axis(net, axis=1, begin=0, end=2), mx.sym.slice(net, begin=(None, 2), end=(None, 3)), dim=1
    )
    net = mx.sym.squeeze(mx.sym.expand_dims(mx.sym.mean(net, axis=1), axis=2), axis=2)
    net = mx.sym.sigmoid(mx.sym.FullyConnected(mx.sym.Cast(net, dtype="float32"), num_hidden=3))
    net.save(str(tmp_path / "x-symbol.json"))
    loaded = load_symbol(tmp_path / "x-symbol.json")
    shape = (2, 3, 32, 32)
    assert loaded.infer_shape(data=shape) == net.infer_shape(data=shape)
    assert loaded.infer_shape(data=shape)[1] == [(2, 3)]
    generator = mx.nd.random.normal(shape=shape)
    results = []
    for symbol in (net, loaded):
        executor = symbol.simple_bind(mx.cpu(), data=shape)
        for name, array in executor.arg_dict.items():
            array[:] = generator if name == "data" else 0.1
        results.append(executor.forward()[0].asnumpy().tolist())
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("kind", "text", "canonical"),
    [
        (Int(0, 9), "07", "7"),
        (Int(0, 9, optional=True), "None", "None"),
        (Float(), "1e-05", "1e-05"),
        (Float(), "-0.0", "0"),
        (Bool(), "true", "True"),
        (Bool(), "0", "False"),
        (Tuple((1, 3), 0, 9), "(3L, 3L)", "(3, 3)"),
        (Tuple((1, 3), 0, 9), "[1,2]", "(1, 2)"),
        (Tuple((1, 3), 0, 9), "3", "(3,)"),
        (Tuple((0, 3), 0, 9), "()", "()"),
        (Tuple((1, 3), 0, 9, gaps=True), "(None, 2)", "(None, 2)"),
        (Floats(3, 0, 9), "[1,2.50, 1e-3]", "(1.0, 2.5, 0.001)"),
        (Floats(3, 0, 9), "(0.1,)", "(0.1,)"),
        (Floats(3, 0, 9), "3", "(3.0,)"),
        (Permutation(6), "[0,2,1]", "(0, 2, 1)"),
        (Permutation(6), "()", "()"),
        (Choice(("max", "avg")), "avg", "avg"),
    ],
)
def test_texts_have_one_form(kind, text, canonical):
    assert kind.canonical(text) == canonical


@pytest.mark.parametrize(
    "text", ["+5", " 5", "5 ", "5\n", "0x5", "1_0", "٥", "５", "5.0", "1e0", "", "-", "10", "-1", "None"]
)
def test_a_whole_number_has_no_other_form(text):
    with pytest.raises(ValueError, match="a whole number from 0 to 9"):
        Int(0, 9).canonical(text)


@pytest.mark.parametrize(
    "text", ["(1, 2", "(1 2)", "(1,, 2)", "(+1, 2)", "((1, 2))", "(1, 2) ", "(None, 1)", "(10, 1)", "(1,)"]
)
def test_a_shape_has_no_other_form(text):
    with pytest.raises(ValueError, match="whole numbers"):
        Tuple((2, 2), 0, 9).canonical(text)


@pytest.mark.parametrize(
    "text", ["", "()", "(1", "(1,,2)", "(+1)", "((1))", "(1) ", "(None)", "(nan)", "(9.1)", "(1,2,3,4)", "1" * 97]
)
def test_a_row_of_numbers_has_no_other_form(text):
    with pytest.raises(ValueError, match="1 to 3 numbers from 0 to 9 in brackets"):
        Floats(3, 0, 9).canonical(text)


@pytest.mark.parametrize("text", ["(0, 0)", "(1, 2)", "(0, 1, 3)", "(0, -1)", "(0, 1, 2, 3, 4, 5, 6)", "1"])
def test_a_permutation_has_each_number_once(text):
    with pytest.raises(ValueError, match=r"once, in brackets|whole numbers"):
        Permutation(6).canonical(text)


@pytest.mark.parametrize("text", ["nan", "inf", "1e31", "0x1p3", "1,5", ".", "e5", " 1", "1 ", "+1", "١", "1e9999"])
def test_a_number_is_finite_and_plain(text):
    with pytest.raises(ValueError, match="a number from"):
        Float().canonical(text)


@given(st.text(max_size=12) | st.from_regex(r"[ +\-0-9.eE(),\[\]NoneL]{0,20}", fullmatch=True))
def test_a_form_once_taken_is_taken_again_and_stays(text):
    for kind in (Int(-50, 5000), Float(), Bool(), Tuple((0, 4), -9, 999, gaps=True), Floats(4, -50, 5000)):
        try:
            canonical = kind.canonical(text)
        except ValueError:
            continue
        assert canonical.isascii()
        assert kind.canonical(canonical) == canonical
        assert kind.parse(canonical) == kind.parse(text)
