"""Make README's pictures, docs/curves.png and docs/predictions.jpg, from a finished run.

sh run_train.sh
.venv/bin/python docs/make_pictures.py            of the run called model; another prefix may follow
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mxml import Classifier, read_lst
from mxml.curves import plot_history
from mxml.images import load
from mxml.results import ImagePrediction

DOCS = Path(__file__).resolve().parent
COLUMNS, ROWS = 3, 2
TILE_WIDTH = 320
GAP = 8


def draw_curves(prefix: str, best_epoch: int | None) -> None:
    """Draw the run's history."""
    with open(f"{prefix}-history.csv", encoding="utf-8", newline="") as file:
        plot_history(list(csv.DictReader(file)), DOCS / "curves.png", best_epoch)


def draw_predictions(classifier: Classifier) -> None:
    """Draw what the model says of the first images of its validation list."""
    sidecar = classifier.checkpoint.sidecar
    if sidecar is None:
        sys.exit(f"{classifier.checkpoint.prefix}.json: is not there; give the prefix of a run of mxml train")
    source = sidecar.data["val"]
    images = read_lst(source.list, source.root).select(range(COLUMNS * ROWS))
    scores = classifier.scores(images).probabilities
    tiles = [
        tile(ImagePrediction(images.name(i), classifier.labels, scores[i], classifier.thresholds), load(images.path(i)))
        for i in range(len(images))
    ]
    heights = [max(image.height for image in tiles[row * COLUMNS : (row + 1) * COLUMNS]) for row in range(ROWS)]
    size = (COLUMNS * (TILE_WIDTH + GAP) - GAP, sum(heights) + GAP * (ROWS - 1))
    grid = Image.new("RGB", size, "white")
    for number, image in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        grid.paste(image, (column * (TILE_WIDTH + GAP), sum(heights[:row]) + GAP * row))
    grid.save(DOCS / "predictions.jpg", quality=80, optimize=True)


def tile(prediction: ImagePrediction, image: np.ndarray) -> Image.Image:
    """Return the drawing of one prediction, as wide as a column, of its image's middle square."""
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    drawing = Image.fromarray(prediction.draw(image[top : top + side, left : left + side]))
    return drawing.resize((TILE_WIDTH, round(drawing.height * TILE_WIDTH / drawing.width)), Image.Resampling.LANCZOS)


def main() -> None:
    """Draw both."""
    classifier = Classifier.load(sys.argv[1] if len(sys.argv) > 1 else "model")
    draw_curves(classifier.checkpoint.prefix, classifier.checkpoint.epoch)
    draw_predictions(classifier)


if __name__ == "__main__":
    main()
