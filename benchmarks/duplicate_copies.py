"""Near-duplicates of photographs: which copies of them mxml finds, and which recoloured ones it tells apart.

Makes a copy of every fourth photograph of miml-scene in several ways, and looks for duplicates among the copies and all
originals, as mxml check does. Found is a copy that is in one group with its original; false is one that is in a group
with another photograph, which was not there without the copies.

    python benchmarks/duplicate_copies.py
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Callable

import harness
import numpy as np
from PIL import Image, ImageEnhance

from mxml.data.image_list import ImageList
from mxml.prepare.duplicates import find_duplicates
from mxml.prepare.image_scan import scan_images

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
    "2 % cropped off every side": lambda image: saved(cropped(image, 0.02, 0.02)),
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
    originals = harness.SHARED / "data" / "miml-scene" / "images"
    names = sorted(os.listdir(originals), key=lambda name: int(Path(name).stem))
    chosen = np.arange(0, len(names), 4)
    alone = groups_of([str(originals / name) for name in names])
    rows = []
    for title, change in CHANGES.items():
        with tempfile.TemporaryDirectory() as folder:
            copies = []
            for position in chosen.tolist():
                copies.append(os.path.join(folder, f"{position}.img"))
                with Image.open(originals / names[position]) as image:
                    Path(copies[-1]).write_bytes(change(image.convert("RGB")))
            together = groups_of([*(str(originals / name) for name in names), *copies])
        found = together[len(names) :] == together[chosen]
        false = sum(
            bool(np.any(alone[np.flatnonzero(together[: len(names)] == group)] != alone[position]))
            for position, group in zip(chosen.tolist(), together[len(names) :].tolist())
            if group in together[: len(names)]
        )
        rows.append([title, 100 * float(found.mean()), false])
        print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    print(f"{harness.machine()}\n")
    print(f"{len(chosen)} copies of each kind among {len(names):,} originals.\n")
    print(harness.markdown_table(["copy", "found, %", "false"], rows))
    print("\nRepeat with `python benchmarks/duplicate_copies.py`.")


def groups_of(paths: list[str]) -> np.ndarray:
    """Return the number of each image's group of duplicates."""
    images = ImageList.from_rows(paths, np.zeros((len(paths), 1), np.int8))
    return find_duplicates(scan_images(images)).group_numbers(len(paths))


if __name__ == "__main__":
    main()
