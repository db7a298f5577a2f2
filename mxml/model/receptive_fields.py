"""Where in a network's input the cells of a layer look: the centres of what they see, and how far around these.

Centres follow from the arithmetic of receptive fields (Araujo, Norris and Sim, "Computing receptive fields of
convolutional neural networks", Distill 2019). Stretching a layer over the input instead puts a cell at the edge of
SqueezeNet's last layer 8 pixels of 227 too far out, since its convolutions have no padding.

Where windows step over an even number of pixels, the arithmetic has the cells' middle up to half a cell to the left of
the input's, and above. Of the last layer the middle is taken for the input's all the same: a network that knows
mirrored images, as training shows them, prefers no side, and learns to look to the other one. The layers before need
not, since those behind them can make up for it: the gradients of the sample's last layer lie 4 pixels of 96 beside the
arithmetic's centres, those of the layers before it at most one, and its maps were 5 pixels beside what was drawn.

A cell does not look at all of its receptive field alike. What a pixel adds to it falls off about as a Gaussian, whose
variance is the sum of those of the windows on the way: (k^2 - 1) / 12 for a window of k values of equal weight (Luo et
al., "Understanding the effective receptive field in deep convolutional neural networks", NIPS 2016, section 2). Where
ways join, as behind a residual block, it is the mean of theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from mxml.model.graph import RESHAPING, Node
from mxml.model.layers import Network

_WINDOWED = frozenset(["Convolution", "Convolution_v1", "Pooling", "Pooling_v1"])
# What may put values elsewhere though the area keeps its size.
_MOVING = RESHAPING | {"transpose", "SwapAxis", "Pad", "Crop", "Deconvolution", "slice_like", "reshape_like"}


@dataclass(frozen=True, eq=False)
class CellGrid:
    """The cells of a layer, by rows and columns; each array is (2,) float64, y and x, in pixels of the input.

    ``start`` is the centre of what the first cell sees, where pixel i covers i to i + 1; ``step`` is how far it is to
    the next; ``variance`` says how far around its centre a cell looks.
    """

    start: np.ndarray
    step: np.ndarray
    variance: np.ndarray


def cell_grid(network: Network, entry: tuple[int, int], *, is_last: bool = False) -> CellGrid:
    """Return where the cells of a layer, (N, C, H, W), look; ``is_last`` says that no other layer follows.

    Where the way from the input to the layer is not only convolutions and poolings and what keeps places, they are
    spread evenly.
    """
    size, area = np.array(network.data_shape[1:], float), np.array(network.shapes[entry][2:])
    found = _grid_of(network, entry)
    if found is None:
        return CellGrid(size / area / 2, size / area, np.zeros(2))
    return replace(found, start=(size - found.step * (area - 1)) / 2) if is_last else found


def _grid_of(network: Network, entry: tuple[int, int]) -> CellGrid | None:
    pixels = CellGrid(np.full(2, 0.5), np.ones(2), np.zeros(2))
    grids: dict[tuple[int, int], CellGrid | None] = {(network.data_position, 0): pixels}
    of_image = network.graph.readers(network.data_position)
    for at in network.graph.entries:
        if at[0] > entry[0]:
            break
        if at[0] in of_image and at not in grids:
            grids[at] = _behind(network, at, grids)
    return grids.get(entry)


def _behind(network: Network, entry: tuple[int, int], grids: dict[tuple[int, int], CellGrid | None]) -> CellGrid | None:
    node, shape = network.graph.nodes[entry[0]], network.shapes[entry]
    if len(shape) != 4 or node.op in _MOVING:
        return None
    if node.op in _WINDOWED:
        grid = grids.get(node.inputs[0])
        return None if grid is None else _windowed(node, grid)
    if node.op == "UpSampling":
        grid, scale = grids.get(node.inputs[0]), int(node.attrs.get("scale", "1"))
        if grid is None or len(node.inputs) > 1:
            return None
        return CellGrid(grid.start - grid.step / 2 + grid.step / (2 * scale), grid.step / scale, grid.variance)
    # A scale for each channel says nothing of places.
    sources = [at for at in node.inputs if at in grids and network.shapes[at][2:] == shape[2:]]
    return _joined([grids[at] for at in sources])


def _joined(found: list[CellGrid | None]) -> CellGrid | None:
    known = [grid for grid in found if grid is not None]
    if not known or len(known) < len(found) or any(not np.allclose(grid.step, known[0].step) for grid in known):
        return None
    start = np.mean([grid.start for grid in known], axis=0)
    return CellGrid(start, known[0].step, np.mean([grid.variance for grid in known], axis=0))


def _windowed(node: Node, grid: CellGrid) -> CellGrid | None:
    if node.is_set("global_pool") or node.attrs.get("pooling_convention") == "same":
        return None
    kernel, dilate = _pair(node, "kernel", 1), _pair(node, "dilate", 1)
    return CellGrid(
        grid.start + grid.step * (dilate * (kernel - 1) / 2 - _pair(node, "pad", 0)),
        grid.step * _pair(node, "stride", 1),
        grid.variance + (grid.step * dilate) ** 2 * (kernel**2 - 1) / 12,
    )


def _pair(node: Node, name: str, default: int) -> np.ndarray:
    numbers = [int(number) for number in re.findall(r"\d+", node.attrs.get(name, ""))]
    return np.array(numbers if len(numbers) == 2 else [default, default], float)
