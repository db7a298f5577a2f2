"""Which images ``mxml predict`` marks as unlike the training images, by a run's own description of these.

python benchmarks/unlike.py runs/scenes runs/sample

Each row is a run, each column a set of images: the run's own validation images (5 % are marked by design), the drawn
shapes of this checkout, photographs of miml-scene, photographs of other things, noise, grey pictures, and text.
A run without a description gets one by ``mxml describe``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import numpy as np
from harness import ROOT, SHARED, machine, markdown_table, repeat_with
from PIL import Image, ImageDraw

from mxml import Classifier, read_lst

MADE = 40
SIDE = 256


def noise(seed: int) -> np.ndarray:
    """Return an image of independent pixels."""
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def grey(number: int) -> np.ndarray:
    """Return one shade of grey."""
    return np.full((SIDE, SIDE, 3), round(255 * number / (MADE - 1)), np.uint8)


def text(seed: int) -> np.ndarray:
    """Return a page of black words on white."""
    letters = np.random.default_rng(seed).choice(list("abcdefghijklmnopqrstuvwxyz    "), 1200)
    page = Image.new("RGB", (SIDE, SIDE), "white")
    lines = ["".join(letters[start : start + 40]) for start in range(0, len(letters), 40)]
    ImageDraw.Draw(page).multiline_text((8, 8), "\n".join(lines), fill="black")
    return np.asarray(page)


def sets() -> dict[str, Any]:
    """Return the sets of images by their names."""
    data = SHARED / "data"
    scenes = read_lst(data / "miml-scene" / "val.lst", data / "miml-scene" / "images")
    return {
        "drawn shapes": read_lst(ROOT / "lists" / "val.lst", ROOT / "images"),
        "scenes": scenes,
        "other photographs": str(data / "photos"),
        "noise": [noise(seed) for seed in range(MADE)],
        "grey": [grey(number) for number in range(MADE)],
        "text": [text(seed) for seed in range(MADE)],
    }


def share_marked(classifier: Classifier, images: Iterable[Any] | None) -> str:
    """Return the share of the images that are marked."""
    marked = [prediction.unlike for prediction in classifier.predict(images, unlike="mark")]
    return f"{np.mean(marked):.0%} of {len(marked)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefixes", nargs="+")
    images = sets()
    rows = []
    for prefix in parser.parse_args().prefixes:
        classifier = Classifier.load(prefix)
        rows.append(
            [prefix, share_marked(classifier, None), *(share_marked(classifier, one) for one in images.values())]
        )
    print(markdown_table(("run", "own validation", *images), rows), machine(), repeat_with(), sep="\n\n")


if __name__ == "__main__":
    main()
