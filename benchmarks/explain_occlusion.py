"""Whether the maps of `mxml explain` lie where a network looks: on photographs by covering it up, on drawn shapes.

Photographs: the hottest tenth of what the network saw of an image is painted over with the image's mean colour, and the
label's logit falls; by how much, against the same number of pixels painted over as a random rectangle of the picture's
shape, the mean of several. Images are those of a validation list that get at least one label. Painting over scattered
pixels disturbs a picture more than painting over one rectangle; so the hottest tenth is also compared with itself at
another place: its mask, turned over (left to right, top to bottom, both).

Drawn shapes: the generator of the sample says where it drew each figure. Of the labels that an image has and gets, the
share is shown for which the map's peak is on a figure with the label, or at most some pixels beside it; and what a
random place would give, the share of the area.

    python benchmarks/explain_occlusion.py --prefix runs/miml --list val.lst --root images
    python benchmarks/explain_occlusion.py --shapes --prefix runs/sample
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "models")]

# The checkout has to be on the path before.
from mxml import Classifier, Explanation, read_lst  # noqa: E402

RANDOM_PLACES = 8
NEAR = 4  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--list", default="lists/val.lst")
    parser.add_argument("--root", default="images")
    parser.add_argument("--images", type=int, default=50, help="images at most")
    parser.add_argument("--shapes", action="store_true", help="the drawn shapes of the sample, in place of covering up")
    options = parser.parse_args()
    classifier = Classifier.load(options.prefix)
    images = read_lst(options.list, options.root, num_classes=classifier.num_classes)
    if options.shapes:
        paths = [images.path(position) for position in range(len(images))][: options.images]
        print_shapes(shapes_hit(classifier, paths))
    else:
        paths = [images.path(position) for position in range(len(images))]
        print_drops(*score_drops(classifier, paths, options.images))


def score_drops(classifier: Classifier, paths: list[str], count: int) -> tuple[np.ndarray, int]:
    """Return the falls of the logit (L, 3): hottest tenth, random tenth, turned mask; and how many images gave them."""
    generator = np.random.default_rng(1)
    falls, used = [], 0
    for explanation in classifier.explain(paths):
        if not explanation.prediction.labels:
            continue
        used += 1
        for label in explanation.labels:
            falls.append(falls_of(classifier, explanation, label.name, generator))
        if used == count:
            break
    return np.array(falls), used


def falls_of(classifier: Classifier, explanation: Explanation, label: str, generator: Any) -> list[float]:
    """Return by how much a logit falls with the hottest tenth, a random one and the turned mask painted over."""
    pixels = explanation.prediction.pixels
    heat = explanation.picture_heat(label)
    left, top, right, bottom = explanation.seen
    seen = np.nan_to_num(heat[top:bottom, left:right], nan=-1)
    # Equal values, such as 0, in no order of places.
    order = np.lexsort((generator.random(seen.size), -seen.ravel()))
    hottest = np.zeros(seen.size, bool)
    hottest[order[: seen.size // 10]] = True
    hottest = hottest.reshape(seen.shape)
    turned = [hottest[:, ::-1], hottest[::-1], hottest[::-1, ::-1]]
    masks = [hottest, *(random_tenth(seen.shape, generator) for _ in range(RANDOM_PLACES)), *turned]
    covered = [pixels, *(painted(pixels, mask, (left, top)) for mask in masks)]
    number = classifier.label_names.index(label)
    scores = np.array([one.scores[number] for one in classifier.predict(covered)], np.float64)
    logits = np.log(scores / (1 - scores + 1e-7))
    fall = logits[0] - logits[1:]
    return [fall[0], fall[1 : 1 + RANDOM_PLACES].mean(), fall[1 + RANDOM_PLACES :].mean()]


def random_tenth(shape: tuple[int, ...], generator: Any) -> np.ndarray:
    """Return the mask of a rectangle of the shape of the picture, and a tenth of its area, at a random place."""
    height, width = (max(1, round(side * 0.1**0.5)) for side in shape)
    top, left = (generator.integers(0, side - own + 1) for side, own in zip(shape, (height, width)))
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def painted(pixels: np.ndarray, mask: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """Return the picture with the pixels of the mask, whose corner is given, in the picture's mean colour."""
    changed = pixels.copy()
    left, top = corner
    part = changed[top : top + mask.shape[0], left : left + mask.shape[1]]
    part[mask] = pixels.reshape(-1, 3).mean(axis=0)
    return changed


def print_drops(falls: np.ndarray, images: int) -> None:
    """Print what the falls are on average, and how often the hottest tenth's is the largest."""
    hottest, random, turned = falls.mean(axis=0)
    print(f"{len(falls)} labels of {images} images; mean fall of the logit:")
    print(f"  hottest tenth {hottest:.2f}, random tenth {random:.2f}, the same mask turned over {turned:.2f}")
    print(f"  hottest above random for {np.mean(falls[:, 0] > falls[:, 1]):.0%} of the labels")
    print(f"  hottest above turned for {np.mean(falls[:, 0] > falls[:, 2]):.0%} of the labels")


def shapes_hit(classifier: Classifier, paths: list[str]) -> dict[str, list[tuple[bool, bool, float]]]:
    """Return by label, for each image that has it and gets it: on a figure, near one, the share of the area."""
    from mxml.runtime.imports import load_cv2

    cv2 = load_cv2()
    hits = defaultdict(list)
    for path, explanation in zip(paths, classifier.explain(paths)):
        figures = drawn_figures(int(Path(path).stem))
        for label in explanation.prediction.labels:
            masks = [mask for traits, mask in figures if label.name in traits]
            if masks:
                mask = np.any(masks, axis=0)
                distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
                x, y = explanation.peak(label)
                hits[label.name].append((bool(mask[y, x]), bool(distance[y, x] <= NEAR), float(mask.mean())))
    return hits


def drawn_figures(position: int) -> list[tuple[set[str], np.ndarray]]:
    """Draw an image of the sample again, and return each figure's traits with where it is, (H, W) bool."""
    import figures
    import make_sample

    found = []
    draw = figures._draw_figure

    def noted(canvas: np.ndarray, rng: Any, figure: figures.Figure, x: int, y: int, radius: int) -> None:
        before = canvas.copy()
        draw(canvas, rng, figure, x, y, radius)
        changed = (canvas != before).any(axis=2)
        scale = figures._SCALE
        found.append((figure.traits, changed[scale // 2 :: scale, scale // 2 :: scale]))

    figures._draw_figure = noted
    try:
        make_sample.sample_image(position)
    finally:
        figures._draw_figure = draw
    return found


def print_shapes(hits: dict[str, list[tuple[bool, bool, float]]]) -> None:
    """Print the shares by label and of all."""
    rows = {**hits, "all": [hit for of_label in hits.values() for hit in of_label]}
    for name, found in rows.items():
        on, near, area = np.mean(found, axis=0)
        print(f"{name:10} {len(found):4} times: on {on:.1%}, within {NEAR} pixels {near:.1%}, of the area {area:.1%}")


if __name__ == "__main__":
    main()
