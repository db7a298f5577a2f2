"""Make the documents' pictures from a finished run: docs/curves.png, predictions.jpg, augmentation.png and the pages'.

sh run_train.sh
.venv/bin/python docs/make_pictures.py            of the run called model; another prefix may follow

Those of the pages, check.png and evaluation.png, need Chromium, as tests/browser.py finds it.
"""

from __future__ import annotations

import csv
import itertools
import sys
import tempfile
from pathlib import Path

from PIL import Image

from mxml import Classifier, Prediction
from mxml.evaluation import evaluation_page
from mxml.model.run_files import RunFiles
from mxml.prepare import check_page
from mxml.prepare.check import check_lists
from mxml.training.augment_preview import augment_preview
from mxml.training.curves import plot_history

DOCS = Path(__file__).resolve().parent
sys.path.append(str(DOCS.parent / "tests"))

# The tests' folder has to be on the path before.
from browser import Browser, find_chromium  # noqa: E402

COLUMNS, ROWS = 3, 2
TILE_WIDTH = 320
GAP = 8
PAGE_WIDTH, PAGE_HEIGHT = 1100, 1500


def draw_curves(prefix: str, best_epoch: int | None) -> None:
    """Draw the run's history."""
    with open(RunFiles(prefix).history, encoding="utf-8", newline="") as file:
        plot_history(list(csv.DictReader(file)), DOCS / "curves.png", best_epoch)
    drawn = Image.open(DOCS / "curves.png").convert("RGB")
    drawn.quantize(96).save(DOCS / "curves.png", optimize=True)


def draw_predictions(classifier: Classifier) -> None:
    """Draw what the model says of the first images of its validation list."""
    tiles = [tile(prediction) for prediction in itertools.islice(classifier.predict(keep_pixels=True), COLUMNS * ROWS)]
    heights = [max(image.height for image in tiles[row * COLUMNS : (row + 1) * COLUMNS]) for row in range(ROWS)]
    size = (COLUMNS * (TILE_WIDTH + GAP) - GAP, sum(heights) + GAP * (ROWS - 1))
    grid = Image.new("RGB", size, "white")
    for number, image in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        grid.paste(image, (column * (TILE_WIDTH + GAP), sum(heights[:row]) + GAP * row))
    grid.save(DOCS / "predictions.jpg", quality=80, optimize=True)


def tile(prediction: Prediction) -> Image.Image:
    """Return the drawing of one prediction, as wide as a column, of its image's middle square."""
    image = prediction.pixels
    assert image is not None, prediction.error
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    drawing = Image.fromarray(prediction.draw(image[top : top + side, left : left + side]))
    return drawing.resize((TILE_WIDTH, round(drawing.height * TILE_WIDTH / drawing.width)), Image.Resampling.LANCZOS)


def draw_pages(classifier: Classifier) -> None:
    """Draw the upper parts of the pages that mxml check and mxml evaluate write of the sample."""
    lists = ("lists/train.lst", "lists/val.lst")
    evaluation = classifier.evaluate(lists[1], "images")
    draw_page(check_page.format_page(check_lists(lists, "images")), "check.png")
    draw_page(evaluation_page.format_page(evaluation), "evaluation.png")


def draw_page(text: str, name: str) -> None:
    """Draw the upper part of a page."""
    program = find_chromium()
    if program is None:
        sys.exit(f"docs/{name}: needs Chromium; install it with apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, Browser(program) as browser:
        page, picture = Path(folder) / "page.html", Path(folder) / "page.png"
        page.write_text(text, encoding="utf-8")
        browser.open(page, PAGE_WIDTH).screenshot(picture)
        shown = Image.open(picture).convert("RGB").crop((0, 0, PAGE_WIDTH, PAGE_HEIGHT))
    shown.quantize(64).save(DOCS / name, optimize=True)


def draw_augmentation() -> None:
    """Draw the sample as training varies it with the options that docs/augmentation.md shows."""
    settings = {"image_shape": (3, 96, 96), "rotate": 25, "zoom": 0.2, "rand_augment": (1, 5), "cutmix": 1.0}
    picture = augment_preview("lists/train.lst", "images", settings, images=3, copies=4)
    Image.fromarray(picture).quantize(192).save(DOCS / "augmentation.png", optimize=True)


def main() -> None:
    """Draw all of them."""
    classifier = Classifier.load(sys.argv[1] if len(sys.argv) > 1 else "model")
    draw_curves(classifier.checkpoint.prefix, classifier.checkpoint.epoch)
    draw_predictions(classifier)
    draw_augmentation()
    draw_pages(classifier)


if __name__ == "__main__":
    main()
