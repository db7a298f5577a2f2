"""What a network costs: its parameters, and the multiply-adds that one image takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mxml.model.layers import Network
from mxml.model.networks.catalogue import NamedNetwork
from mxml.model.networks.from_scratch import with_head


@dataclass(frozen=True)
class Cost:
    """The cost of a network for images of one size.

    Attributes
    ----------
    parameters : int
        Numbers in weights, biases, and BatchNorm's gamma and beta; its moving statistics are not counted.
    multiply_adds : int
        Multiplications, each with its addition, in the convolutions and fully connected layers for one image. The
        other layers, and biases, are not counted. Papers call this number FLOPs, or MACs; it is half of the floating
        point operations.
    """

    parameters: int
    multiply_adds: int


def cost(network: Network) -> Cost:
    """Return the cost of a network with its head."""
    shapes = network.parameter_shapes(network.symbol.list_arguments())
    multiply_adds = 0
    for at, node in enumerate(network.graph.nodes):
        if node.op in ("Convolution", "FullyConnected"):
            # A weight has the shape (outputs, inputs of one output).
            outputs = math.prod(network.shapes[(at, 0)][1:])
            multiply_adds += outputs * math.prod(network.shapes[node.inputs[1]][1:])
    return Cost(sum(map(math.prod, shapes.values())), multiply_adds)


def cost_by_design(known: NamedNetwork, num_classes: int) -> Cost:
    """Return the cost of a named network for images of the size that it was designed for."""
    return cost(with_head(known, num_classes, known.image_shape)[1])
