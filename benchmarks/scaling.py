"""Measures what a step and its messages cost on this machine, and works out on paper how several machines scale.

ResNet-50's step comes from its own forward and backward pass here. Its messages are measured over loopback: a worker
pushes as many numbers as the network has parameters, in arrays of the same shapes, to a server, and pulls the sums.
The model that the table is made with is in docs/several-machines.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import machine, markdown_table, repeat_with, run

HERE = Path(__file__).resolve()
SIZE = 224
# What TCP leaves of 10 GbE, in bytes per second.
WIRE = 0.94 * 10e9 / 8
WORKERS = (1, 2, 4, 8, 16, 32, 64)
# A backward pass costs about twice its forward pass, and messages can go while it runs.
BACKWARD = 2 / 3
FAST_STEP = 0.1


def resnet50() -> tuple[Any, dict[str, tuple[int, ...]]]:
    """Return ResNet-50 with a loss, and the shapes of its parameters."""
    from mxml.runtime.imports import load_mxnet

    mx = load_mxnet()
    network = mx.gluon.model_zoo.vision.resnet50_v1()
    symbol = mx.sym.SoftmaxOutput(network(mx.sym.Variable("data")), name="softmax")
    shapes, _, _ = symbol.infer_shape(data=(1, 3, SIZE, SIZE))
    known = dict(zip(symbol.list_arguments(), shapes))
    return symbol, {name: shape for name, shape in known.items() if name not in ("data", "softmax_label")}


def measure_step(batch: int, rounds: int) -> dict[str, float]:
    """Return the seconds of a forward and backward pass, the fastest: other programs only add to it."""
    from mxml.runtime.imports import load_mxnet

    mx = load_mxnet()
    symbol, shapes = resnet50()
    bound = symbol.simple_bind(mx.cpu(), data=(batch, 3, SIZE, SIZE), grad_req=dict.fromkeys(shapes, "write"))
    for array in bound.arg_dict.values():
        array[:] = mx.nd.random.normal(0, 0.01, array.shape)
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        bound.forward(is_train=True)
        bound.backward()
        mx.nd.waitall()
        seconds.append(time.perf_counter() - started)
    return {"seconds": min(seconds[1:]), "parameters": sum(map(volume, shapes.values()))}


def measure_messages(rounds: int) -> None:
    """As a worker: print the seconds in which all gradients go to the servers and their sums come back, and 161 zeros.

    Small arrays show what a message costs whatever it carries.
    """
    from mxml.runtime.imports import load_mxnet
    from mxml.training.workers import connected

    mx = load_mxnet()
    _, shapes = resnet50()
    with connected() as workers:
        store, found = workers.kvstore, {}
        for what, arrays in (
            ("large", [mx.nd.ones(shape) for shape in shapes.values()]),
            ("small", [mx.nd.ones(1) for _ in shapes]),
        ):
            names = [f"{what}{number}" for number in range(len(arrays))]
            store.init(names, arrays)
            seconds = []
            for _ in range(rounds + 1):
                workers.barrier()
                started = time.perf_counter()
                for priority, (name, array) in enumerate(zip(names, arrays)):
                    store.pushpull(name, array, priority=-priority)
                mx.nd.waitall()
                seconds.append(time.perf_counter() - started)
            found[what] = min(seconds[1:])
        if workers.is_first:
            print(json.dumps({**found, "arrays": len(shapes)}), flush=True)


def volume(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size


def table(step: float, batch: int, size: float, fixed: float, rate: float, name: str) -> list[list[Any]]:
    """Return the rows for a step of ``step`` seconds, ``size`` bytes each way, ``fixed`` seconds and a rate per server.

    With a server beside each worker each answers for an equal part; the last column has one server for all.
    """
    rows = []
    for workers in WORKERS:
        messages, single = (
            fixed + 2 * size * workers / servers / min(rate, WIRE) if workers > 1 else 0.0 for servers in (workers, 1)
        )
        after = step + messages
        hidden = step + max(0.0, messages - BACKWARD * step)
        rows.append(
            [
                name,
                workers,
                f"{messages:.2f}",
                f"{workers * batch / after:,.0f}",
                f"{step / after:.0%}",
                f"{workers * batch / hidden:,.0f}",
                f"{step / hidden:.0%}",
                f"{step / (step + single):.0%}",
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8, help="images per worker and step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fast-step", type=float, default=FAST_STEP, help="a GPU's step of 32 images, in seconds")
    parser.add_argument("--only", choices=("step", "messages"), help="measure one thing in this process")
    options = parser.parse_args()
    if options.only == "step":
        print(json.dumps(measure_step(options.batch, options.rounds)))
        return
    if options.only == "messages":
        measure_messages(options.rounds)
        return
    this = [sys.executable, str(HERE), "--rounds", str(options.rounds), "--batch", str(options.batch)]
    step = run("step", [*this, "--only", "step"])
    size = 4.0 * step["parameters"]
    rows, measured = [], {}
    for workers, servers in ((1, 1), (2, 1), (2, 2)):
        start = [sys.executable, "-m", "mxml", "launch", "--workers", str(workers), "--servers", str(servers)]
        found = run("messages", [*start, "--", *this, "--only", "messages"], {"OMP_NUM_THREADS": "1"})
        measured[workers, servers] = found
        rate = 2 * size / (found["large"] - found["small"])
        rows.append([workers, servers, f"{found['large']:.3f}", f"{found['small']:.3f}", f"{rate / 1e6:.0f}"])
    one = measured[1, 1]
    rate = 2 * size / (one["large"] - one["small"])
    print(f"ResNet-50: {step['parameters']:,} parameters, {size / 1e6:.0f} MB each way; ", end="")
    print(f"a step of {options.batch} images: {step['seconds']:.2f} s\n")
    print(markdown_table(["workers", "servers", "all gradients (s)", "as many small arrays (s)", "MB/s"], rows))
    head = ["step", "workers", "messages (s)", "img/s after", "efficiency", "img/s during", "efficiency", "one server"]
    paper = table(step["seconds"], options.batch, size, one["small"], rate, f"{step['seconds']:.2f} s, measured")
    paper += table(options.fast_step, 32, size, one["small"], rate, f"{options.fast_step:g} s, loopback's rate")
    paper += table(options.fast_step, 32, size, one["small"], WIRE, f"{options.fast_step:g} s, full wire")
    print(f"\n{markdown_table(head, paper)}")
    print(f"\n{machine([sys.executable])}\n\nRepeat with: `{repeat_with()}`")


if __name__ == "__main__":
    main()
