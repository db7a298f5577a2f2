"""Compares how fast photographs are tagged, from JPEG files to JSON: mxml, and a loop around ONNX Runtime.

The photographs of ../shared/data/photos are repeated to as many images as wanted. Beside the whole way of mxml stand
its two parts alone, each with all processors: decoding, and the network on images in memory. Where both use the same
processors, no program can be faster than one after the other would be: 1 / (1/d + 1/n).
The peer decodes with OpenCV in a thread pool, and computes batches of the same size in float32; see onnx_predict.py.
``--start`` measures the cold start of ``mxml predict`` on one image in place of that, and where the time goes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import peers
from harness import SHARED, Median, alternate, machine, markdown_table, median, repeat_with

HERE = Path(__file__).resolve().parent
PHOTOS = SHARED / "data" / "photos"
SIZE, BATCH = 224, 32
NETWORKS = {"squeezenet": "SqueezeNet v1.0", "resnet50": "ResNet-50"}
RATE = "images_per_second"
GOAL = 0.9
WARM_UP = 2 * BATCH


def export(network: str, folder: Path) -> str:
    """Write a classifier of 1,000 labels with random parameters, as Gluon exports it, and return its prefix."""
    from mxml.runtime.imports import load_mxnet

    mx = load_mxnet()
    zoo = mx.gluon.model_zoo.vision
    net = {"squeezenet": zoo.squeezenet1_0, "resnet50": zoo.resnet50_v1}[network]()
    net.initialize(mx.init.Xavier())
    net.hybridize()
    net(mx.nd.zeros((1, 3, SIZE, SIZE)))
    net.export(str(folder / network))
    return str(folder / network)


def classifier_of(prefix: str) -> Any:
    """Return the classifier, which decodes as the peer does: the short side to 224, its centre cropped."""
    from mxml import Classifier

    return Classifier.load(prefix, image_shape=(3, SIZE, SIZE), preset="original")


def to_json(prefix: str, paths: list[str]) -> float:
    """Return the images a second from files to JSON."""
    classifier = classifier_of(prefix)
    for _ in classifier.predict(paths[:WARM_UP], batch_size=BATCH):
        pass
    started = time.perf_counter()
    letters = sum(len(json.dumps(one.to_dict())) for one in classifier.predict(paths, batch_size=BATCH, top_k=5))
    assert letters > len(paths)
    return len(paths) / (time.perf_counter() - started)


def decoding(prefix: str, paths: list[str]) -> float:
    """Return the images a second that become network input."""
    from mxml.data.image_stream import StreamItem, stream_batches

    preprocess = classifier_of(prefix).preprocess
    started = time.perf_counter()
    images = sum(len(batch.items) for batch in stream_batches(map(StreamItem, paths), preprocess, BATCH))
    return images / (time.perf_counter() - started)


def network_alone(prefix: str, count: int) -> float:
    """Return the images a second that the network takes, the same batch again and again."""
    import numpy as np

    classifier = classifier_of(prefix)
    images = list(np.random.default_rng(0).integers(0, 256, (BATCH, SIZE, SIZE, 3)).astype(np.uint8))
    list(classifier.predict(images, batch_size=BATCH))
    backend = classifier._bound.backend(classifier.preprocess, BATCH)
    data = np.random.default_rng(1).normal(size=(BATCH, 3, SIZE, SIZE)).astype(np.float32)
    backend.logits(data)
    started = time.perf_counter()
    for _ in range(count // BATCH):
        backend.logits(data)
    return count // BATCH * BATCH / (time.perf_counter() - started)


def measure(what: str, network: str, prefix: str, count: int) -> None:
    """Print one contestant's rate as JSON."""
    paths = repeated(count)
    functions = {"json": to_json, "decode": decoding}
    rate = network_alone(prefix, count) if what == "network" else functions[what](prefix, paths)
    print(json.dumps({RATE: rate}))


def repeated(count: int) -> list[str]:
    """Return the JPEG photographs, one after the other, until there are so many."""
    files = sorted(map(str, PHOTOS.glob("*.jpg")))
    return [files[number % len(files)] for number in range(count)]


def compare(networks: list[str], count: int, rounds: int) -> None:
    """Measure all networks and print their table."""
    own, other = [sys.executable, str(HERE / "predict_speed.py")], peers.python()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for network in networks:
            prefix = export(network, Path(folder))
            commands = {
                what: [*own, "--measure", what, "--networks", network, "--prefix", prefix, "--images", str(count)]
                for what in ("json", "decode", "network")
            }
            script = str(HERE / "onnx_predict.py")
            commands["onnx"] = [other, script, network, str(PHOTOS), str(count), str(BATCH), str(SIZE), folder]
            found = median(alternate(commands, rounds), RATE)
            slower = min(found["decode"], found["network"])
            serial = 1 / (1 / found["decode"] + 1 / found["network"])
            rows.append(
                [
                    NETWORKS[network],
                    *(found[name] for name in ("json", "decode", "network")),
                    found["json"] / slower,
                    found["json"] / serial,
                    found["onnx"],
                    found["json"] / found["onnx"],
                ]
            )
    header = (
        *("network", "files to JSON", "decoding alone", "network alone", "of the slower", "of one after the other"),
        *("ONNX Runtime loop", "mxml to it"),
    )
    print(markdown_table(header, rows))
    print(f"\nImages a second, batches of {BATCH}, {count:,} photographs; goal: {GOAL} of the slower.")
    print(f"{machine([sys.executable, other])}\n\nRepeat with: `{repeat_with()}`")


PARTS = {
    "Python": "pass",
    "click and the command": "import mxml.cli.predict",
    "NumPy": "import numpy",
    "MXNet": "from mxml.runtime.imports import load_mxnet; load_mxnet()",
    "OpenCV": "from mxml.runtime.imports import load_cv2; load_cv2()",
    "mxml's modules": "import mxml.inference.classifier",
}


def cold_start(prefix: str, rounds: int) -> None:
    """Measure whole processes that do one thing more each, and the command on one image."""
    image = repeated(1)[0]
    done: dict[str, list[str]] = {}
    code = ""
    for name, step in PARTS.items():
        code += f"{step}\n"
        done[name] = [sys.executable, "-c", code]
    load = f"from mxml import Classifier\nclassifier = Classifier.load({prefix!r})\n"
    done["reading the checkpoint"] = [sys.executable, "-c", code + load]
    done["one image"] = [sys.executable, "-m", "mxml", "predict", "--prefix", prefix, image]
    seconds: dict[str, list[float]] = {name: [] for name in done}
    for _ in range(rounds):
        for name, command in done.items():
            seconds[name].append(wall_clock(command))
    medians = {name: Median.of(values) for name, values in seconds.items()}
    rows, before = [], 0.0
    for name, value in medians.items():
        rows.append([name, value, float(value) - before])
        before = float(value)
    print(markdown_table(("up to and with", "s", "of which new"), rows))
    print(f"\n{machine()}\n\nRepeat with: `{repeat_with()}`")


def wall_clock(command: list[str]) -> float:
    """Return the seconds that a process takes."""
    import subprocess

    from harness import environment

    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment())
    return time.perf_counter() - started


def main() -> None:
    """Compare, or be one of the processes that are compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--start", metavar="PREFIX", help="measure the cold start with this checkpoint")
    parser.add_argument("--measure", choices=["json", "decode", "network"], help=argparse.SUPPRESS)
    parser.add_argument("--prefix", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.networks, options.prefix, options.images)
    elif options.start:
        cold_start(options.start, options.rounds)
    else:
        compare(options.networks.split(","), options.images, options.rounds)


if __name__ == "__main__":
    main()
