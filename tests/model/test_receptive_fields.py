"""Where cells of a layer look, against what a network's own gradients say and what others have worked out."""

from __future__ import annotations

import numpy as np
import pytest

from mxml.model.layers import Network
from mxml.model.receptive_fields import cell_grid
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()
SIDE = 64


def convolution(data, kernel, stride=1, pad=0, dilate=1):
    return mx.sym.Convolution(
        data,
        num_filter=1,
        kernel=(kernel,) * 2,
        stride=(stride,) * 2,
        pad=(pad,) * 2,
        dilate=(dilate,) * 2,
        no_bias=True,
    )


def average(data, kernel, stride):
    return mx.sym.Pooling(data, kernel=(kernel,) * 2, stride=(stride,) * 2, pool_type="avg")


def two_ways(data):
    """A block whose ways both add up to 1, so that both weigh as much."""
    return convolution(data, 3, 2, 1) / 9 + convolution(data, 1, 2)


NETWORKS = {
    "padded": lambda data: convolution(convolution(data, 3, 2, 1), 3, 2, 1),
    "not padded": lambda data: average(convolution(data, 7, 2), 3, 2),
    "dilated": lambda data: convolution(convolution(data, 5, 1), 3, 1, 2, dilate=2),
    "even": lambda data: convolution(convolution(data, 2, 2), 4, 2, 1),
    "enlarged": lambda data: mx.sym.UpSampling(convolution(data, 4, 4), scale=2, sample_type="nearest"),
    "joined": lambda data: two_ways(two_ways(convolution(data, 3))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_cells_look_where_a_gradient_of_equal_weights_says(name):
    symbol = NETWORKS[name](mx.sym.Variable("data"))
    network = Network(symbol, (1, SIDE, SIDE))
    grid = cell_grid(network, network.graph.heads[0])
    shapes, _, _ = symbol.infer_shape(data=(1, 1, SIDE, SIDE))
    arrays = [mx.nd.ones(shape) for shape in shapes]
    data = arrays[symbol.list_arguments().index("data")]
    data.attach_grad()
    with mx.autograd.record():
        output = mx.nd.CachedOp(symbol)(*arrays)
    # Two cells in the middle: those of enlarged maps look where their source does, on the average.
    middle = output.shape[2] // 2
    cells = np.zeros(output.shape, np.float32)
    cells[0, 0, middle : middle + 2, middle : middle + 2] = 1
    gradient = mx.autograd.grad(output, [data], head_grads=mx.nd.array(cells))[0].asnumpy()[0, 0].astype(np.float64)
    weight = gradient.sum(axis=1) / gradient.sum()
    middles = np.arange(SIDE) + 0.5
    centre = weight @ middles
    np.testing.assert_allclose(grid.start + (middle + 0.5) * grid.step, centre, atol=1e-5)
    if name != "enlarged":
        between = grid.step[0] ** 2 / 4
        np.testing.assert_allclose(grid.variance + between, weight @ (middles - centre) ** 2, rtol=1e-5)


def test_squeezenets_last_layer_begins_17_pixels_from_the_edge(shared):
    from mxml.model.symbol_file import load_symbol

    symbol = load_symbol(str(shared / "models" / "squeezenet_v1.0-symbol.json"))
    network = Network(symbol, (3, 227, 227))
    grid = cell_grid(network, network.find("fire9_concat"))
    assert (grid.start.tolist(), grid.step.tolist()) == ([17.5, 17.5], [16, 16])
    # The last of 13 cells is as far from the other edge.
    assert (grid.start + 12 * grid.step).tolist() == [227 - 17.5] * 2


def test_the_last_layer_prefers_no_side():
    symbol = NETWORKS["padded"](mx.sym.Variable("data"))
    network = Network(symbol, (1, SIDE, SIDE))
    entry = network.graph.heads[0]
    assert cell_grid(network, entry).start.tolist() == [0.5, 0.5]
    # 16 cells of 4 pixels.
    assert cell_grid(network, entry, is_last=True).start.tolist() == [2, 2]


def test_what_moves_places_is_spread_evenly():
    data = mx.sym.transpose(convolution(mx.sym.Variable("data"), 4, 4), axes=(0, 1, 3, 2))
    network = Network(data, (1, 64, 32))
    grid = cell_grid(network, network.graph.heads[0])
    assert (grid.start.tolist(), grid.step.tolist()) == ([4, 1], [8, 2])
