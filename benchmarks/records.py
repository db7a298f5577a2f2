"""Compares how fast training batches are made straight from a ``.rec`` and from the same images as files.

Both read the 1,400 photographs of miml-scene's train.lst, shuffled, bring the short side to 224 pixels, cut a random
224 x 224 crop and mirror half of them, in batches of 32. The first epoch is not timed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import SHARED, alternate, machine, markdown_table, median, repeat_with

DATA = SHARED / "data" / "miml-scene"
BATCH, SIZE = 32, 224
NAMES = {"files": "files", "records": "records of a .rec"}
RATE, OPENING = "images_per_second", "seconds_to_open"
WANTED = 1.0


def pack(folder: Path) -> Path:
    """Pack the photographs into a RecordIO file and return its path."""
    from mxml.data.formats import rec_file
    from mxml.data.formats.options import DEFAULTS
    from mxml.data.labelled_images import LabelledImages
    from mxml.data.lst_file import read_lst

    images = read_lst(DATA / "train.lst", DATA / "images")
    names = tuple((DATA / "labels.txt").read_text().split())
    rec_file.write(LabelledImages(images, names), folder / "train.rec", DEFAULTS)
    return folder / "train.rec"


def measure(source: str, rec: str, epochs: int) -> dict[str, float]:
    from mxml.data.batches import Batches
    from mxml.data.record_list import image_source, read_images
    from mxml.images.transforms import Augment, preset

    started = time.perf_counter()
    images, _ = read_images(rec if source == "records" else DATA / "train.lst", str(DATA / "images"))
    opened = time.perf_counter() - started
    augment = Augment(rand_crop=True, rand_mirror=True)
    preprocess, labels = preset("original", (SIZE, SIZE)), images.labels
    with Batches(image_source(images), preprocess, BATCH, labels=labels, augment=augment, shuffle=True) as batches:
        for epoch in range(epochs + 1):
            if epoch == 1:
                started = time.perf_counter()
            batches.set_epoch(epoch)
            for batch in batches:
                batch.data[0].wait_to_read()
    return {RATE: epochs * len(images) / (time.perf_counter() - started), OPENING: opened}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--source", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--rec", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.source:
        print(json.dumps(measure(arguments.source, arguments.rec, arguments.epochs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        own = ["--rec", str(pack(Path(folder))), "--epochs", str(arguments.epochs)]
        commands = {name: [sys.executable, __file__, "--source", name, *own] for name in NAMES}
        results = alternate(commands, arguments.rounds)
    rates, opening = median(results, RATE), median(results, OPENING)
    rows = [[title, rates[name], f"{rates[name] / rates['files']:.2f}", opening[name]] for name, title in NAMES.items()]
    print(markdown_table(["batches from", "images/s", "of files", "s to open"], rows))
    print(f"\nWanted: at least {WANTED:.2f} of files. {machine()}\n\n    {repeat_with()}")


if __name__ == "__main__":
    main()
