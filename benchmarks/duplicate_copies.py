"""Near-duplicates of photographs: which copies of them mxml finds, and which recoloured ones it tells apart.

Makes a copy of every fourth photograph of miml-scene in several ways, and looks for duplicates among the copies and all
originals, as mxml check does. Found is a copy that is in one group with its original; false is one that is in a group
with another photograph, which was not there without the copies. Beside are the bits in which a copy's hash differs from
its original's, and by how much a cell of their colours differs at most; both decide what counts as near
(mxml/prepare/duplicates.py).

Then it names the nearest pairs of different pictures, of the photographs and of the sample, and measures what the
window of the hash (mxml/images/perceptual_hash.py) is worth: the same hashes without it.

    python benchmarks/duplicate_copies.py
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

import harness
import numpy as np
from PIL import Image, ImageEnhance

from mxml.data.image_list import ImageList
from mxml.images import perceptual_hash
from mxml.images.perceptual_hash import BITS, GRID_CELLS
from mxml.prepare.duplicates import find_duplicates
from mxml.prepare.image_scan import ImageScan, scan_images

COPIED = 4  # every which photograph
NEAREST = 5  # pairs that are shown
CROP = "2 % cropped off every side"

Change = Callable[[Image.Image], bytes]


def saved(image: Image.Image, format: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    # Packed lightly: what a PNG shows does not depend on it.
    image.save(file, format, **({"compress_level": 1} if format == "PNG" else options))
    return file.getvalue()


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize([max(1, round(side * factor)) for side in image.size], Image.Resampling.BICUBIC)


def cropped(image: Image.Image, left_top: float, right_bottom: float) -> Image.Image:
    (left, top), (right, bottom) = (
        [max(1, round(side * share)) if share else 0 for side in image.size] for share in (left_top, right_bottom)
    )
    return image.crop((left, top, image.width - right, image.height - bottom))


def lit(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def turned(image: Image.Image, degrees: int) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    hue = hue.point([(level + round(degrees * 256 / 360)) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


CHANGES: dict[str, Change] = {
    "PNG": saved,
    "JPEG, quality 40": lambda image: saved(image, "JPEG", quality=40),
    "JPEG, quality 10": lambda image: saved(image, "JPEG", quality=10),
    "WebP, quality 75": lambda image: saved(image, "WebP", quality=75),
    "half the size": lambda image: saved(scaled(image, 0.5)),
    "twice the size": lambda image: saved(scaled(image, 2)),
    "15 % brighter": lambda image: saved(lit(image, 1.15)),
    "15 % darker": lambda image: saved(lit(image, 0.85)),
    "30 % darker": lambda image: saved(lit(image, 0.7)),
    "1 % cropped off every side": lambda image: saved(cropped(image, 0.01, 0.01)),
    CROP: lambda image: saved(cropped(image, 0.02, 0.02)),
    "2 % cropped off the top and the left": lambda image: saved(cropped(image, 0.02, 0)),
    "2 % off every side, half, JPEG quality 40": lambda image: saved(
        scaled(cropped(image, 0.02, 0.02), 0.5), "JPEG", quality=40
    ),
    "grey": lambda image: saved(image.convert("L")),
    "mirrored": lambda image: saved(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "hue turned by 30 degrees": lambda image: saved(turned(image, 30)),
    "hue turned by 60 degrees": lambda image: saved(turned(image, 60)),
    "hue turned by 120 degrees": lambda image: saved(turned(image, 120)),
    "hue turned by 180 degrees": lambda image: saved(turned(image, 180)),
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    folder = harness.SHARED / "data" / "miml-scene" / "images"
    photographs = sorted(folder.iterdir(), key=lambda path: int(path.stem))
    originals = scan_of(photographs)
    rows = [row_of(title, change, photographs, originals) for title, change in CHANGES.items()]
    twice = find_duplicates(originals).pairs
    rows.append(["(what miml-scene itself holds twice)", "-", "-", *differences(originals, twice[:, 0], twice[:, 1])])
    print(f"{harness.machine()}\n")
    print(f"{len(photographs[::COPIED])} copies of each kind among {len(photographs):,} originals.\n")
    header = ["copy", "found, %", "false", "bits, median", "bits, 99 of 100 at most", "Y, most", "Cb and Cr, most"]
    print(harness.markdown_table(header, rows))

    sample = sorted((harness.ROOT / "images").rglob("*.jpg"))
    header = ["nearest pairs that are no duplicates", "bits"]
    for title, paths, scan in (("miml-scene", photographs, originals), ("the sample", sample, scan_of(sample))):
        print(f"\n{len(paths):,} pictures of {title}:\n")
        print(harness.markdown_table(header, nearest_pairs(paths, scan)))

    print("\nWithout the window:\n")
    perceptual_hash._WINDOW = np.ones_like(perceptual_hash._WINDOW)
    perceptual_hash._MEAN_WEIGHTS = perceptual_hash._WINDOW / perceptual_hash._WINDOW.sum()
    plain = scan_of(photographs)
    row = row_of(CROP, CHANGES[CROP], photographs, plain)
    print(harness.markdown_table(["copy", "bits, median", "bits, 99 of 100 at most"], [[row[0], *row[3:5]]]) + "\n")
    print(harness.markdown_table(header, nearest_pairs(photographs, plain)))
    print(f"\nRepeat with `{harness.repeat_with()}`.")


def row_of(title: str, change: Change, paths: Sequence[Path], originals: ImageScan) -> list[str | float]:
    """Copy some photographs and return the table's row: what is found, and how near the copies are."""
    chosen = np.arange(0, len(paths), COPIED)
    with tempfile.TemporaryDirectory() as folder:
        copies = []
        for position in chosen.tolist():
            copies.append(Path(folder) / f"{position}.img")
            with Image.open(paths[position]) as image:
                copies[-1].write_bytes(change(image.convert("RGB")))
        scan = scan_of([*paths, *copies])
    alone = find_duplicates(originals).group_numbers(len(paths))
    together = find_duplicates(scan).group_numbers(len(scan))
    ours, theirs = together[: len(paths)], together[len(paths) :]
    false = sum(
        bool(np.any(alone[np.flatnonzero(ours == group)] != alone[position]))
        for position, group in zip(chosen.tolist(), theirs.tolist())
    )
    copied = np.arange(len(paths), len(scan))
    found = 100 * float((theirs == ours[chosen]).mean())
    row: list[str | float] = [title, found, false, *differences(scan, chosen, copied)]
    print(*row, sep="  ", file=sys.stderr, flush=True)
    return row


def differences(scan: ImageScan, first: np.ndarray, second: np.ndarray) -> list[int]:
    """Return how pairs differ: the median of the bits, what 99 of 100 have at most, and the most of Y and of Cb, Cr."""
    bits = np.unpackbits(scan.phash[first] ^ scan.phash[second], axis=1).sum(axis=1)
    colours = np.abs(scan.colour[first].astype(int) - scan.colour[second])
    return [
        *(int(np.median(bits)), int(np.quantile(bits, 0.99, method="inverted_cdf"))),
        *(int(colours[:, :GRID_CELLS].max()), int(colours[:, GRID_CELLS:].max())),
    ]


def nearest_pairs(paths: Sequence[Path], scan: ImageScan) -> list[list[str | float]]:
    """Return the pairs of pictures in different groups whose hashes differ in fewest bits, whatever their colours."""
    signs = np.unpackbits(scan.phash, axis=1).astype(np.float32) * 2 - 1
    distance = (BITS - signs @ signs.T) / 2
    groups = find_duplicates(scan).group_numbers(len(scan))
    distance[(groups[:, None] == groups) | np.tri(len(scan), dtype=bool)] = np.inf
    nearest = np.argsort(distance, axis=None, kind="stable")[:NEAREST]
    pairs = zip(*np.unravel_index(nearest, distance.shape))
    return [[f"{paths[first].name} and {paths[second].name}", int(distance[first, second])] for first, second in pairs]


def scan_of(paths: Sequence[Path]) -> ImageScan:
    return scan_images(ImageList.from_rows(list(map(str, paths)), np.zeros((len(paths), 1), np.int8)))


if __name__ == "__main__":
    main()
