"""Where a network can be cut: the input of its classifier, found by the graph and by shapes."""

from __future__ import annotations

import contextlib
import math
import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mxml.errors import DeviceError, ModelError
from mxml.model.graph import PASSING, RESHAPING, Graph, Node, classifier_end, find_bottlenecks, find_classifier
from mxml.runtime.imports import MAX_ITEMS, load_mxnet, mxnet_message
from mxml.runtime.types import Symbol
from mxml.text import counted, shown

mx = load_mxnet()

DATA_NAME = "data"

# Shapes are inferred for this many images, so that a network made for one fixed batch size shows.
_IMAGES = 2
# What gives the items of its first input in another shape or order.
_REARRANGING = RESHAPING | {
    *("transpose", "SwapAxis", "expand_dims", "squeeze", "reshape_like", "depth_to_space", "space_to_depth")
}
# The axis of the channels, where a node does not say it.
_CHANNEL_AXES = {"BatchNorm": "1", "BatchNorm_v1": "1", "InstanceNorm": "1", "LayerNorm": "-1", "GroupNorm": "1"}
_BYTES = 4  # of a float32
_MOST_WORK = 10**12  # multiplications of one convolution for one image
_SHOWN_LAYERS = 8
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class FeatureLayer:
    """A layer to cut a network at: its node's name, and the shape of its output for one image, (C,) or (C, H, W)."""

    name: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.shape}"


class Network:
    """A symbol, its graph, and the shape of every output for ``images`` images of one size."""

    def __init__(self, symbol: Symbol, data_shape: Sequence[int], images: int = _IMAGES):
        self.symbol = symbol
        self.data_shape = tuple(data_shape)
        self.images = images
        self.graph = Graph.of(symbol)
        names = [node.name for node in self.graph.nodes if node.op == "null"]
        if DATA_NAME not in names:
            raise ModelError(
                f"its input should be called {DATA_NAME!r}; its variables are {shown(names, _SHOWN_NAMES)}"
            )
        internals = symbol.get_internals()
        try:
            _, shapes, _ = internals.infer_shape_partial(**{DATA_NAME: (images, *self.data_shape)})
        except (mx.base.MXNetError, ValueError) as error:
            raise self._misfit(mxnet_message(error)) from error
        self.shapes = dict(zip(self.graph.entries, (tuple(shape or ()) for shape in shapes)))
        self.output_names = dict(zip(self.graph.entries, internals.list_outputs()))
        self.data_position = next(
            at for at, node in enumerate(self.graph.nodes) if node.name == DATA_NAME and node.op == "null"
        )
        self._of_data = self.graph.readers(self.data_position)
        self._check_sizes()
        self._check_reshapes()
        self._check_parameters()
        self._check_softmaxes()
        self._check_one_image()
        self._check_work()

    def _check_sizes(self) -> None:
        for (position, _), shape in self.shapes.items():
            # A negative size is one that has run over 32 bits.
            if math.prod(shape) > MAX_ITEMS or any(size < 0 for size in shape):
                name = self.graph.nodes[position].name
                self._refuse(f"{name!r} would have the shape {shape}; MXNet holds {MAX_ITEMS:,} numbers at most")
            if not _is_known(shape) and self.graph.nodes[position].op != "null":
                self._refuse(f"the shape of {self.graph.nodes[position].name!r} does not follow from it")

    def _check_reshapes(self) -> None:
        # MXNet infers the output of a reshape to fixed numbers only from those numbers, and fails when it runs.
        for position, node in enumerate(self.graph.nodes):
            if node.op in _REARRANGING:
                before, after = self.shapes[node.inputs[0]], self.shapes[(position, 0)]
                if _is_known(before) and _is_known(after) and math.prod(before) != math.prod(after):
                    self._refuse(f"{node.name!r} reshapes {before} to {after}")

    def _check_parameters(self) -> None:
        # MXNet takes the shapes of these parameters for granted, and reads beyond the end of a smaller array.
        for node in self.graph.nodes:
            if node.op in _CHANNEL_AXES or (node.op == "LeakyReLU" and len(node.inputs) == 2):
                wanted = self._channels(node)
                for entry in node.inputs[1:]:
                    if self.shapes[entry] != wanted and not (node.op == "LeakyReLU" and self.shapes[entry] == (1,)):
                        name = self.graph.nodes[entry[0]].name
                        self._refuse(f"{name!r} should have the shape {wanted}, not {self.shapes[entry]}")

    def _check_softmaxes(self) -> None:
        # After a convolution, whose output is in oneDNN's blocked layout, MXNet 1.9.1 ends the process for these.
        for node in self.graph.nodes:
            if node.op in ("softmax", "log_softmax", "softmin"):
                dims = len(self.shapes[node.inputs[0]])
                if dims >= 4 and int(node.attrs.get("axis", "-1")) in (-1, dims - 1):
                    self._refuse(f"{node.name!r} is a {node.op} over the width of a feature map")

    def _channels(self, node: Node) -> tuple[int, ...]:
        if node.op == "GroupNorm":
            return (int(node.attrs.get("num_groups", "1")),)
        shape, axis = self.shapes[node.inputs[0]], int(node.attrs.get("axis", _CHANNEL_AXES.get(node.op, "1")))
        if not -len(shape) <= axis < len(shape):
            self._refuse(f"{node.name!r} works on axis {axis} of {shape}")
        # For other axes of a feature map oneDNN's normalisation ends the process, or hangs.
        if node.op == "BatchNorm" and axis not in ((1,) if len(shape) > 2 else (1, -1)):
            self._refuse(f"{node.name!r} is a BatchNorm over axis {axis} of {shape}; the channels are axis 1")
        return (shape[axis],)

    def _check_work(self) -> None:
        # A convolution is one step, that no signal ends.
        for at, node in enumerate(self.graph.nodes):
            if node.op in ("Convolution", "Convolution_v1"):
                weight = self.shapes[node.inputs[1]]
                work = math.prod(self.shapes[(at, 0)]) // self.images * math.prod(weight[1:])
                if work > _MOST_WORK:
                    self._refuse(f"{node.name!r} would take {work:.0e} multiplications an image")

    def _check_one_image(self) -> None:
        try:
            self.check_memory(1, training=False)
        except DeviceError as error:
            raise self._misfit(str(error)) from error

    def check_memory(self, batch_size: int, *, training: bool) -> None:
        """Raise DeviceError where one pass over ``batch_size`` images needs more memory than this machine has.

        A backward pass needs every layer's output. A forward pass alone needs at a time what is yet to be read.
        """
        needed, present = self.memory(batch_size, training=training), _memory()
        if needed > present:
            raise DeviceError(
                f"{'training' if training else 'a pass'} with {counted(batch_size, 'image')} at a time needs "
                f"{needed / 2**30:,.1f} GiB for parameters and layers' outputs; there are {present / 2**30:,.1f} GiB"
                + ("; reduce `batch_size`" if batch_size > 1 else "")
            )

    def check_batch(self, batch_size: int) -> None:
        """Raise ModelError where the network does not give each image of such a batch its own row of output."""
        batch = Network(self.symbol, self.data_shape, batch_size)
        for head in self.graph.heads:
            found, wanted = batch.shapes[head], (batch_size, *self.shapes[head][1:])
            if found != wanted:
                batch._refuse(f"its output would have the shape {found}, not {wanted}")

    def memory(self, batch_size: int, *, training: bool) -> int:
        """Return how many bytes parameters and layers' outputs take in a pass over ``batch_size`` images."""
        sizes = {entry: self._bytes(entry, batch_size) for entry in self.graph.entries}
        if training:
            return sum(sizes.values())
        fixed = sum(size for (at, _), size in sizes.items() if self.graph.nodes[at].op == "null")
        last_reader = {entry: at for at, node in enumerate(self.graph.nodes) for entry in node.inputs}
        heads = set(self.graph.heads)
        ending: dict[int, int] = {}
        live = most = 0
        outputs = ((entry, size) for entry, size in sizes.items() if self.graph.nodes[entry[0]].op != "null")
        position = -1
        for entry, size in sorted(outputs):
            # What the nodes before this one were the last to read is free by now.
            while position < entry[0]:
                live -= ending.pop(position, 0)
                position += 1
            live += size
            most = max(most, live)
            if entry not in heads:
                end = last_reader.get(entry, entry[0])
                ending[end] = ending.get(end, 0) + size
        return fixed + most

    def _bytes(self, entry: tuple[int, int], batch_size: int) -> int:
        shape = self.shapes[entry]
        images = batch_size if entry[0] in self._of_data else self.images
        return math.prod(shape) * _BYTES * images // self.images if shape else 0

    def _refuse(self, reason: str) -> NoReturn:
        raise self._misfit(reason)

    def _misfit(self, reason: str) -> ModelError:
        what = "images" if self.images == _IMAGES else f"batches of {counted(self.images, 'image')}"
        return ModelError(f"does not take {what} of shape {self.data_shape}: {reason}")

    def output(self, entry: tuple[int, int]) -> Symbol:
        """Return one of the network's outputs, inner ones too, as a symbol."""
        return self.graph.output(self.symbol, entry)

    def name(self, entry: tuple[int, int]) -> str:
        """Return the name of an output: its node's, or its own where the node has several."""
        node = self.graph.nodes[entry[0]]
        return self.output_names[entry] if (entry[0], 1) in self.shapes else node.name

    def parameter_shapes(self, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of those names that are parameters: neither the input nor the label."""
        positions = {node.name: at for at, node in enumerate(self.graph.nodes) if node.op == "null"}
        inputs = {DATA_NAME, classifier_end(self.graph).label_name}
        return {name: self.shapes[(positions[name], 0)] for name in names if name not in inputs}

    def feature_layer(self, entry: tuple[int, int]) -> FeatureLayer:
        """Describe an output as a layer to cut at. Raises ModelError where no head can sit on its shape."""
        shape = self.shapes[entry]
        if not _is_known(shape) or len(shape) not in (2, 4) or shape[0] != self.images:
            self.fail(f"layer {self.name(entry)!r} gives {shape} for two images; a head needs (2, C) or (2, C, H, W)")
        return FeatureLayer(self.name(entry), shape[1:])

    def find(self, layer: str | None) -> tuple[int, int]:
        """Return the entry of the feature layer, or of the one that ``layer`` names, with or without ``_output``.

        The feature layer is what the classifier works on: its last fully connected layer's input, or that of a last
        1x1 convolution; a network without a classifier is taken whole. Raises ModelError for an unknown name, listing
        the likely ones, and for a network without a recognisable classifier.
        """
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
        elif self.graph.nodes[entry[0]].is_end:
            raise ModelError(f"no fully connected layer or 1x1 convolution leads to its output {self.name(entry)!r}")
        while self.graph.nodes[entry[0]].op in PASSING:
            entry = self.graph.nodes[entry[0]].inputs[0]
        return entry

    def _head(self) -> tuple[int, int]:
        heads = self.graph.heads
        if len(heads) > 1:
            # A classifier beside other outputs, such as its features.
            heads = tuple(head for head in heads if self.graph.nodes[head[0]].is_end)
        if len(heads) != 1:
            names = [self.name(head) for head in self.graph.heads]
            raise ModelError(
                f"cannot tell which of its {len(names)} outputs is the classifier ({shown(names, _SHOWN_NAMES)})"
            )
        return heads[0]

    def likely_layers(self) -> list[FeatureLayer]:
        """List the layers that a head could sit on, the best first.

        They are the feature layer, or the output where there is no classifier, and from there back to the input, those
        that everything passes through.
        """
        try:
            sink = self._classifier_input()[0]
        except ModelError:
            sink = self.graph.heads[0][0]
        layers = []
        for position in find_bottlenecks(self.graph, self.data_position, sink):
            shape, node = self.shapes[(position, 0)], self.graph.nodes[position]
            alone = (position, 1) not in self.shapes and node.op not in PASSING | {"null"} and not node.is_end
            if alone and _is_known(shape) and len(shape) in (2, 4):
                layers.append(FeatureLayer(self.name((position, 0)), shape[1:]))
        return layers[:_SHOWN_LAYERS]

    def fail(self, reason: str) -> NoReturn:
        """Raise ModelError with what is wrong and the layers to choose from."""
        likely = ", ".join(str(layer) for layer in self.likely_layers())
        raise ModelError(f"{reason}; choose one with `layer`, likely: {likely or 'none'}")


def _memory() -> int:
    """Return how many bytes this process could have: the machine's memory, its container's, or its own limit."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    own, _ = resource.getrlimit(resource.RLIMIT_AS)
    if own != resource.RLIM_INFINITY:
        limits.append(own)
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        # A container without a limit says "max" in the first file.
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(file).read_text()))
    return min(limits)


def _is_known(shape: tuple[int, ...]) -> bool:
    return bool(shape) and all(size > 0 for size in shape)
