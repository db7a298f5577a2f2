"""Compares scaled JPEG decoding with full decoding on photographs of 4000 x 3000 pixels.

Both contestants are ImageIter with the same preprocessing; one is kept from asking the decoder for reduced images.
The photographs are enlarged from ../shared/data/photos into a temporary folder.
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

COUNT, BATCH, SIZE, WORKERS = 16, 8, 224, 2
PASSES = 6  # so that the batches that are loaded ahead, before the clock starts, hardly count
NEEDED = 2.5


def make_photographs(folder: Path) -> None:
    import cv2

    for path in sorted((SHARED / "data" / "photos").glob("*.jpg"))[:COUNT]:
        large = cv2.resize(cv2.imread(str(path)), (4000, 3000), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / path.name), large, [cv2.IMWRITE_JPEG_QUALITY, 92])


def measure(folder: Path, full: bool) -> dict[str, float]:
    """Time several passes over the photographs, after one batch to warm up."""
    import numpy as np

    from mxml.data.batches import Batches
    from mxml.data.image_list import ImageList
    from mxml.data.image_sources import ImageFiles
    from mxml.images import network_input
    from mxml.images.transforms import Augment, preset

    if full:
        network_input.largest_reduction = lambda scale: 1
    names = sorted(path.name for path in folder.glob("*.jpg"))
    images = ImageList.from_rows(names, np.zeros((len(names), 1)), str(folder))
    augment = Augment(rand_crop=True, rand_mirror=True)
    with Batches(
        ImageFiles(images), preset("original", SIZE), BATCH, labels=images.labels, augment=augment, threads=WORKERS
    ) as all_:
        all_.next()
        all_.reset()
        started, processor = time.perf_counter(), time.process_time()
        count = 0
        for _ in range(PASSES):
            count += sum(BATCH - batch.pad for batch in all_)
            all_.reset()
        processor = time.process_time() - processor
        return {
            "images_per_second": count / (time.perf_counter() - started),
            "cpu_ms_an_image": processor / count * 1e3,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("scaled", "full"), help="measure one contestant in this process")
    parser.add_argument("--folder", type=Path, help="where the photographs are, with --only")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.folder, options.only == "full")))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_photographs(Path(folder))
        commands = {name: [sys.executable, __file__, "--only", name, "--folder", folder] for name in ("scaled", "full")}
        results = alternate(commands, options.rounds)
    rates, processor = median(results, "images_per_second"), median(results, "cpu_ms_an_image")
    rows = [[f"{name} decoding", rates[name], processor[name], rates[name] / rates["full"]] for name in rates]
    header = ["4000 x 3000 JPEGs", "images/s", "CPU ms an image", f"against full (at least {NEEDED})"]
    print(markdown_table(header, rows))
    print(f"\n{machine()}\n\nRepeat with: `{repeat_with()}`")


if __name__ == "__main__":
    main()
