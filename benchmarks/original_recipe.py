"""Compares a whole epoch of mxml with the original script's recipe, run as MXNet runs it when nothing is set.

The recipe: SqueezeNet's pooled scores (flatten0), a fully connected layer, a sigmoid and the CrossEntropyLoss operator
in its two-input form; mx.image.ImageIter with CreateAugmenter (short side 224, random crop, mirror, mean and std);
Module.fit with SGD and momentum, accuracy taken every batch; threads left to MXNet, which takes half the processors.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import alternate, machine, markdown_table, median, repeat_with
from train_speed import BATCH, DATA, RATE, SIZE, SQUEEZENET, mxml_command, write_list

CLASSES = 5
AT_LEAST = 1.6


def measure(list_path: str, epochs: int) -> dict[str, float]:
    """Fit for one epoch to warm up and ``epochs`` more, and return the images a second of these."""
    # mxml would otherwise choose; this is MXNet's own choice.
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // 2))
    from mxml.model import losses
    from mxml.runtime.imports import load_mxnet

    mx = load_mxnet()
    pretrained, arg_params, aux_params = mx.model.load_checkpoint(str(SQUEEZENET), 0)
    features = pretrained.get_internals()["flatten0_output"]
    logits = mx.sym.FullyConnected(features, num_hidden=CLASSES, name="fc")
    probabilities = mx.sym.sigmoid(logits, name="sig")
    symbol = mx.sym.Custom(probabilities, op_type=losses.BINARY_CROSS_ENTROPY.op_type, name="softmax")

    augmenters = mx.image.CreateAugmenter(
        (3, SIZE, SIZE), resize=SIZE, rand_crop=True, rand_mirror=True, mean=True, std=True
    )
    batches = mx.image.ImageIter(
        BATCH,
        (3, SIZE, SIZE),
        CLASSES,
        path_imglist=list_path,
        path_root=str(DATA / "images"),
        shuffle=True,
        aug_list=augmenters,
    )

    def accuracy(label, probability):
        return float(((probability > 0.5) == (label > 0.5)).mean())

    finished: list[float] = []
    module = mx.mod.Module(symbol, context=mx.cpu(), label_names=["softmax_label"])
    module.fit(
        batches,
        num_epoch=epochs + 1,
        eval_metric=mx.metric.np(accuracy),
        optimizer="sgd",
        optimizer_params={"learning_rate": 0.001, "momentum": 0.9, "wd": 0.0001},
        kvstore="device",
        initializer=mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2),
        arg_params=arg_params,
        aux_params=aux_params,
        allow_missing=True,
        epoch_end_callback=lambda *_: finished.append(time.perf_counter()),
    )
    images = len(Path(list_path).read_text().splitlines())
    return {RATE: images * epochs / (finished[-1] - finished[0])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=320, help="images an epoch")
    parser.add_argument("--epochs", type=int, default=1, help="measured epochs a round, after one to warm up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", metavar="LIST", help="measure the recipe on this list in this process")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.epochs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        list_path = write_list(folder, options.images)
        commands = {
            "mxml": mxml_command("squeezenet", "files", list_path, options.epochs),
            "the original recipe": [
                sys.executable,
                __file__,
                "--only",
                str(list_path),
                "--epochs",
                str(options.epochs),
            ],
        }
        rates = median(alternate(commands, options.rounds), RATE)
    ours, theirs = rates["mxml"], rates["the original recipe"]
    rows = [
        ["SqueezeNet v1.0", "whole epoch", ours, "the original recipe", theirs, f"{ours / theirs:.2f}", str(AT_LEAST)]
    ]
    print(markdown_table(["network", "what", "mxml img/s", "against", "img/s", "ratio", "at least"], rows))
    print(f"\n{machine()}\n\nRepeat with: `{repeat_with()}`")


if __name__ == "__main__":
    main()
