"""A network that needs no training: its scores are how much red, green and blue there is, and a checkpoint of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mxml.images.transforms import Preprocess
from mxml.model import checkpoint
from mxml.model.checkpoint import Checkpoint
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Epoch, Sidecar
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()
NAMES = ("red", "green", "blue")


def red_green_blue(preprocess: Preprocess) -> Checkpoint:
    """Return a checkpoint whose layer has cells of 4 x 4 pixels, one channel a colour: what is more than the others."""
    data = mx.sym.Variable("data")
    net = mx.sym.Convolution(data, num_filter=3, kernel=(4, 4), stride=(4, 4), name="conv")
    net = mx.sym.Activation(net, act_type="relu", name="relu")
    net = mx.sym.Pooling(net, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool")
    net = mx.sym.FullyConnected(mx.sym.Flatten(net), num_hidden=3, name="fc")
    colours = np.full((3, 3), -1.0) + 2 * np.eye(3)
    args = {
        "conv_weight": mx.nd.array(np.tile(colours[:, :, None, None] / 16, (1, 1, 4, 4))),
        "conv_bias": mx.nd.array([-0.5] * 3),
        "fc_weight": mx.nd.array(60 * np.eye(3)),
        "fc_bias": mx.nd.array([-0.5] * 3),
    }
    sidecar = Sidecar(NAMES, preprocess, (0.5, 0.5, 0.5), {}, {}, {})
    return Checkpoint("colours", 1, mx.sym.sigmoid(net, name="sig"), args, {}, sidecar)


def write(prefix: Path, preprocess: Preprocess) -> None:
    """Write that checkpoint as a run would."""
    model, files = red_green_blue(preprocess), RunFiles(str(prefix))
    stamp = checkpoint.save_symbol(str(prefix), model.symbol)
    saved = checkpoint.save_arrays(files.params(1), files.states(1), model.arg_params, {}, {})
    sidecar = Sidecar(NAMES, preprocess, (0.5,) * 3, {}, {}, {}, stamp, best_epoch=1, epochs=(Epoch(1, 1, {}, saved),))
    checkpoint.save_sidecar(str(prefix), sidecar)


def spotted(width: int, height: int, x: int, y: int, radius: int = 6, channel: int = 0) -> np.ndarray:
    """Return a grey picture (H, W, 3) with a square spot of one colour around a place."""
    picture = np.full((height, width, 3), 100, np.uint8)
    spot = np.zeros(3, np.uint8)
    spot[channel] = 255
    picture[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = spot
    return picture
