"""The layers of named networks, as symbols of our own kind: from ``data`` to the features that a head sits on.

The names of nodes and parameters begin with the network's name and are the same in every process. gluon counts the
blocks of a process in its names; here each network is built under a counter of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Callable

from mxml.model.graph import to_document
from mxml.model.layers import DATA_NAME
from mxml.model.networks.catalogue import NamedNetwork
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Symbol

mx = load_mxnet()
_Block = Callable[[Symbol], Symbol]


def build(network: NamedNetwork) -> Symbol:
    """Return the network up to the input of its classifier, dropout included: (N, C) or (N, C, H, W)."""
    with mx.name.NameManager():
        data = mx.sym.Variable(DATA_NAME)
        return _plain(_smaller_vgg(data, network.name) if network.gluon is None else _gluon(data, network))


def _smaller_vgg(data: Symbol, name: str) -> Symbol:
    """Return SmallerVGGNet of the Keras multi-label tutorial, whose batch normalisation comes after the ReLU.

    Batch normalisation and padding have Keras's values: epsilon 0.001, momentum 0.99, poolings that drop what is left
    over at the border.
    """

    def normalised(layer: Symbol, number: int) -> Symbol:
        layer = mx.sym.Activation(layer, act_type="relu", name=f"{name}_relu{number}")
        return mx.sym.BatchNorm(layer, fix_gamma=False, eps=0.001, momentum=0.99, name=f"{name}_batchnorm{number}")

    layer, number = data, 0
    for block, (filters, convolutions, pool) in enumerate(((32, 1, 3), (64, 2, 2), (128, 2, 2))):
        for _ in range(convolutions):
            layer = mx.sym.Convolution(
                layer, num_filter=filters, kernel=(3, 3), pad=(1, 1), name=f"{name}_conv{number}"
            )
            layer = normalised(layer, number)
            number += 1
        layer = mx.sym.Pooling(
            layer, pool_type="max", kernel=(pool, pool), stride=(pool, pool), name=f"{name}_pool{block}"
        )
        layer = mx.sym.Dropout(layer, p=0.25, name=f"{name}_dropout{block}")
    layer = mx.sym.FullyConnected(mx.sym.Flatten(layer, name=f"{name}_flatten"), num_hidden=1024, name=f"{name}_dense")
    return mx.sym.Dropout(normalised(layer, number), p=0.5, name=f"{name}_dropout{block + 1}")


def _gluon(data: Symbol, network: NamedNetwork) -> Symbol:
    """Return the ``features`` of a network of gluon's model zoo; a last pooling averages whatever area there is."""
    net = mx.gluon.model_zoo.vision.get_model(network.gluon, prefix=f"{network.name}_")
    layer = data
    for block in _sized_for_any_image(net.features):
        layer = block(layer)
    return layer


def _sized_for_any_image(blocks: Iterable[_Block]) -> list[_Block]:
    # An average over 7 x 7 or 8 x 8 is made for images of one size.
    nn = mx.gluon.nn
    return [nn.GlobalAvgPool2D(prefix="pool_") if type(block) is nn.AvgPool2D else block for block in blocks]


def _plain(symbol: Symbol) -> Symbol:
    """Return the symbol without what gluon notes at its variables: shapes, initialisers, rates."""
    document = to_document(symbol)
    for node in document["nodes"]:
        if node["op"] == "null":
            node.pop("attrs", None)
    return mx.sym.load_json(json.dumps(document))
