"""Where a network can be cut: the feature layer that its classifier works on, found by the graph and by shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from mxml.errors import ModelError
from mxml.model.graph import ENDS, PASSING, RESHAPING, Graph, find_bottlenecks, find_classifier, multi_label_end
from mxml.runtime.imports import MAX_ITEMS, load_mxnet, mxnet_message

mx = load_mxnet()

DATA_NAME = "data"

_SHOWN_LAYERS = 8
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class FeatureLayer:
    """A layer to cut a network at: its node's name, and the shape of its output for one image, (C,) or (C, H, W)."""

    name: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.shape}"


def feature_layers(symbol: Any, data_shape: Sequence[int]) -> list[FeatureLayer]:
    """List the layers that a head could sit on, the best first, for one image of ``data_shape`` (channels, H, W).

    They are the feature layer and, from there back to the input, those that everything passes through.
    """
    network = Network(symbol, data_shape)
    return network.likely_layers()


def find_feature_layer(symbol: Any, data_shape: Sequence[int], layer: str | None = None) -> FeatureLayer:
    """Find what the classifier of a network works on: its last fully connected layer's input, or that of a last 1x1
    convolution; a network without a classifier is taken whole.

    ``layer`` names another one, with or without ``_output`` behind it. Raises ModelError for a name that is not there,
    listing the likely ones; for a network without a recognisable classifier; and for an input that does not fit.
    """
    network = Network(symbol, data_shape)
    return network.feature_layer(network.find(layer))


class Network:
    """A symbol, its graph, and the shape of every output for images of one size."""

    def __init__(self, symbol: Any, data_shape: Sequence[int]):
        self.symbol = symbol
        self.data_shape = tuple(data_shape)
        self.graph = Graph.of(symbol)
        names = [node.name for node in self.graph.nodes if node.op == "null"]
        if DATA_NAME not in names:
            raise ModelError(f"its input should be called {DATA_NAME!r}; its variables are {some_names(names)}")
        internals = symbol.get_internals()
        try:
            # Two images, so that a network made for one fixed batch size shows.
            _, shapes, _ = internals.infer_shape_partial(**{DATA_NAME: (2, *self.data_shape)})
        except mx.base.MXNetError as error:
            raise ModelError(f"does not take images of shape {self.data_shape}: {mxnet_message(error)}") from error
        self.shapes = dict(zip(self.graph.entries, (tuple(shape or ()) for shape in shapes)))
        self.output_names = dict(zip(self.graph.entries, internals.list_outputs()))
        self._check_sizes()
        self._check_reshapes()

    def _check_sizes(self) -> None:
        for (position, _), shape in self.shapes.items():
            # A negative size is one that has run over 32 bits.
            if math.prod(shape) > MAX_ITEMS or any(size < 0 for size in shape):
                name = self.graph.nodes[position].name
                self._refuse(f"{name!r} would have the shape {shape}; MXNet holds {MAX_ITEMS:,} numbers at most")

    def _check_reshapes(self) -> None:
        # MXNet infers the output of a reshape to fixed numbers from those numbers alone, and fails when it runs.
        for position, node in enumerate(self.graph.nodes):
            if node.op in RESHAPING and node.inputs:
                before, after = self.shapes[node.inputs[0]], self.shapes[(position, 0)]
                if _is_known(before) and _is_known(after) and math.prod(before) != math.prod(after):
                    self._refuse(f"{node.name!r} reshapes {before} to {after}")

    def _refuse(self, reason: str) -> NoReturn:
        raise ModelError(f"does not take images of shape {self.data_shape}: {reason}")

    def output(self, entry: tuple[int, int]) -> Any:
        """Return one of the network's outputs, inner ones too, as a symbol."""
        return self.graph.output(self.symbol, entry)

    def name(self, entry: tuple[int, int]) -> str:
        """Return the name of an output: its node's, or its own where the node has several."""
        node = self.graph.nodes[entry[0]]
        return self.output_names[entry] if (entry[0], 1) in self.shapes else node.name

    def parameter_shapes(self, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of those names that are parameters: neither the input nor the label."""
        positions = {node.name: at for at, node in enumerate(self.graph.nodes) if node.op == "null"}
        inputs = {DATA_NAME, multi_label_end(self.graph).label_name}
        return {name: self.shapes[(positions[name], 0)] for name in names if name not in inputs}

    def feature_layer(self, entry: tuple[int, int]) -> FeatureLayer:
        """Describe an output as a layer to cut at. Raises ModelError where no head can sit on its shape."""
        shape = self.shapes[entry]
        if not _is_known(shape) or len(shape) not in (2, 4) or shape[0] != 2:
            self.fail(f"layer {self.name(entry)!r} gives {shape} for two images; a head needs (2, C) or (2, C, H, W)")
        return FeatureLayer(self.name(entry), shape[1:])

    def find(self, layer: str | None) -> tuple[int, int]:
        """Return the entry of the feature layer, or of the one that ``layer`` names."""
        if layer is None:
            try:
                return self._classifier_input()
            except ModelError as error:
                self.fail(str(error))
        entries = {
            entry
            for entry in self.graph.entries
            if self.graph.nodes[entry[0]].op != "null" and layer in (self.name(entry), self.output_names[entry])
        }
        if not entries:
            self.fail(f"there is no layer {layer!r}")
        if len(entries) > 1:
            self.fail(f"{len(entries)} layers are called {layer!r}")
        return entries.pop()

    def _classifier_input(self) -> tuple[int, int]:
        entry = self._head()
        classifier = find_classifier(self.graph, entry[0])
        if classifier is not None:
            entry = self.graph.nodes[classifier].inputs[0]
        elif self.graph.nodes[entry[0]].op in ENDS:
            raise ModelError(f"no fully connected layer or 1x1 convolution leads to its output {self.name(entry)!r}")
        while self.graph.nodes[entry[0]].op in PASSING:
            entry = self.graph.nodes[entry[0]].inputs[0]
        return entry

    def _head(self) -> tuple[int, int]:
        heads = self.graph.heads
        if len(heads) > 1:
            # A classifier beside other outputs, such as its features.
            heads = tuple(head for head in heads if self.graph.nodes[head[0]].op in ENDS)
        if len(heads) != 1:
            names = [self.name(head) for head in self.graph.heads]
            raise ModelError(f"of its {len(names)} outputs ({some_names(names)}), which one classifies is not plain")
        return heads[0]

    def likely_layers(self) -> list[FeatureLayer]:
        """List the layers that everything passes through, from the classifier's input (else the output) back."""
        try:
            sink = self._classifier_input()[0]
        except ModelError:
            sink = self.graph.heads[0][0]
        source = next(at for at, node in enumerate(self.graph.nodes) if node.name == DATA_NAME)
        layers = []
        for position in find_bottlenecks(self.graph, source, sink):
            shape, op = self.shapes[(position, 0)], self.graph.nodes[position].op
            alone = (position, 1) not in self.shapes and op not in PASSING | ENDS | {"null"}
            if alone and _is_known(shape) and len(shape) in (2, 4):
                layers.append(FeatureLayer(self.name((position, 0)), shape[1:]))
        return layers[:_SHOWN_LAYERS]

    def fail(self, reason: str) -> NoReturn:
        """Raise ModelError with what is wrong and the layers to choose from."""
        likely = ", ".join(str(layer) for layer in self.likely_layers())
        raise ModelError(f"{reason}; choose a layer with --layer, likely: {likely or 'none'}")


def _is_known(shape: tuple[int, ...]) -> bool:
    return bool(shape) and all(size > 0 for size in shape)


def some_names(names: Sequence[str]) -> str:
    """Join a few names for a message, and count the rest."""
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more
