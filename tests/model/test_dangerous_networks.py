"""Networks of known operators that MXNet 1.9.1 ends the process for, or works on for hours: each is refused in time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from mxml.errors import ModelError
from mxml.model.layers import Network
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

DATA_SHAPE = (3, 16, 16)
SECONDS = 60

# Binds and runs what is not refused, as `mxml predict` does.
_USE = """
import sys
import numpy as np
from mxml.errors import MxmlError
from mxml.inference.mxnet_backend import MxnetBackend
from mxml.model.layers import Network
from mxml.model.symbol_file import load_symbol
from mxml.runtime.imports import load_mxnet
mx = load_mxnet()
shape = {shape}
try:
    symbol = load_symbol(sys.argv[1])
    network = Network(symbol, shape)
    names = symbol.list_arguments()[1:], symbol.list_auxiliary_states()
    params = [{{n: mx.nd.ones(s) * 0.01 for n, s in network.parameter_shapes(group).items()}} for group in names]
    backend = MxnetBackend(symbol, *params, [mx.cpu()], shape, 2)
    print("runs", np.isfinite(backend.logits(np.ones((2, *shape), np.float32))).all())
except MxmlError as error:
    print("refused:", str(error).removeprefix(sys.argv[1] + ": "))
"""


def network(*layers):
    """The document of layers in a row, (op, attributes, parameters' names) each, and a classifier at their end."""
    nodes = [{"op": "null", "name": "data", "inputs": []}]
    last = 0
    ends = [("FullyConnected", {"num_hidden": "3"}, ("weight", "bias")), ("sigmoid", {}, ())]
    for number, (op, attrs, parameters) in enumerate([*layers, *ends]):
        inputs: Any = [[last, 0, 0]]
        for parameter in parameters:
            inputs.append([len(nodes), 0, 0])
            nodes.append({"op": "null", "name": f"layer{number}_{parameter}", "inputs": []})
        last = len(nodes)
        nodes.append({"op": op, "name": f"layer{number}", "attrs": attrs, "inputs": inputs})
    variables = [at for at, node in enumerate(nodes) if node["op"] == "null"]
    return {"nodes": nodes, "arg_nodes": variables, "heads": [[last, 0, 0]], "attrs": {"mxnet_version": ["int", 10901]}}


def use(folder, document, shape=DATA_SHAPE) -> str:
    """Load and run a network in a process of its own, and return what it says; it must end by itself, and well."""
    path = folder / "some-symbol.json"
    path.write_text(json.dumps(document))
    code = _USE.format(shape=shape)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout.count("\n") == 1
    return done.stdout.strip()


CONVOLUTION = ("Convolution", {"kernel": "(3, 3)", "num_filter": "8", "pad": "(1, 1)"}, ("weight", "bias"))
NORM = ("gamma", "beta", "moving_mean", "moving_var")
POOLING = ("Pooling", {"kernel": "(1, 1)", "global_pool": "True"}, ())


def test_a_transpose_that_names_an_axis_twice_is_refused(tmp_path):
    layers = [("tile", {"reps": "(1, 1, 1, 8)"}, ()), ("transpose", {"axes": "(0, 3, 3, 3)"}, ()), POOLING]
    assert use(tmp_path, network(*layers)) == (
        "refused: node 2 ('layer1'): 'axes' is '(0, 3, 3, 3)', should be each of 0 to 3 once, in brackets"
    )


def test_transposes_of_all_axes_run(tmp_path):
    layers = [("transpose", {"axes": axes}, ()) for axes in ("()", "(3, 1, 2, 0)", "(0, 3, 1, 2)")]
    assert use(tmp_path, network(*layers)) == "runs True"


@pytest.mark.parametrize("axis", [0, 2, 3, -1, -4])
def test_a_batch_norm_over_another_axis_than_the_channels_is_refused(axis):
    made = network(CONVOLUTION, ("BatchNorm", {"axis": str(axis)}, NORM))
    with pytest.raises(
        ModelError, match=rf"'layer1' is a BatchNorm over axis {axis} of \(2, 8, 16, 16\); the channels"
    ):
        Network(mx.sym.load_json(json.dumps(made)), DATA_SHAPE)


def test_a_batch_norm_over_the_width_ends_no_process(tmp_path):
    said = use(tmp_path, network(CONVOLUTION, ("BatchNorm", {"axis": "3"}, NORM)))
    assert said.startswith("refused: does not take images of shape (3, 16, 16): 'layer1' is a BatchNorm over axis 3")


def test_batch_norms_over_channels_run(tmp_path):
    norms = [("BatchNorm", {}, NORM), ("Flatten", {}, ()), ("BatchNorm", {"axis": "-1"}, NORM), ("BatchNorm", {}, NORM)]
    assert use(tmp_path, network(CONVOLUTION, *norms)) == "runs True"


def test_a_convolution_that_would_take_hours_is_refused():
    attrs = {"kernel": "(1024, 1024)", "num_filter": "1", "pad": "(1024, 1024)"}
    made = network(("Convolution", attrs, ("weight", "bias")), POOLING)
    with pytest.raises(ModelError, match="'layer0' would take 4e\\+12 multiplications an image"):
        Network(mx.sym.load_json(json.dumps(made)), (3, 32, 32))
