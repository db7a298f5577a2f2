"""Reading COCO instances JSON: mxml's stream beside json.load.

Makes a file like COCO's instances_train2017.json, with its outlines of objects, and reads the labels of its images in
processes of their own, in turn: mxml reads the stream, the other loads all of it and goes through its dicts. Prints
seconds and the peak of resident memory as a table.

    python benchmarks/coco_json.py --megabytes 500
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

CATEGORIES = 80
ANNOTATIONS_PER_IMAGE = 7  # as in train2017: 860,001 of 118,287 images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reader", choices=READERS, help="read FILE in this process and print the results as JSON")
    parser.add_argument("--file", type=Path, help="what --reader reads")
    arguments = parser.parse_args()
    if arguments.reader:
        print(json.dumps(measure(READERS[arguments.reader](), arguments.file)))
        return
    import harness

    if shutil.disk_usage(tempfile.gettempdir()).free < 2e6 * arguments.megabytes:
        sys.exit(f"{tempfile.gettempdir()} has no room for {arguments.megabytes} MB; TMPDIR names another folder")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instances.json"
        images, annotations = write_instances(path, arguments.megabytes * 10**6)
        size = path.stat().st_size
        commands = {name: [sys.executable, __file__, "--reader", name, "--file", str(path)] for name in READERS}
        results = harness.alternate(commands, arguments.rounds)
    if len({run["labels"] for runs in results.values() for run in runs}) != 1:
        sys.exit("the readers did not find the same labels")
    seconds, peak = harness.median(results, "seconds"), harness.median(results, "peak_mb")
    print(f"{harness.machine()}\n")
    print(f"{images:,} images and {annotations:,} annotations, {size / 1e6:,.0f} MB; rounds: {arguments.rounds}.\n")
    header = ["reader", "seconds", "times mxml's", "peak memory, MB", "times mxml's memory"]
    rows = [
        [name, seconds[name], seconds[name] / seconds["mxml"], peak[name], peak[name] / peak["mxml"]]
        for name in commands
    ]
    print(harness.markdown_table(header, rows))
    print(f"\nRepeat with `{harness.repeat_with()}`.")


def write_instances(path: Path, size: int) -> tuple[int, int]:
    """Write about ``size`` bytes; return the number of images and of annotations."""
    chance = random.Random(0)
    outlines = [
        json.dumps([[round(chance.random() * 640, 2) for _ in range(2 * chance.randint(8, 50))]]) for _ in range(2000)
    ]
    # An annotation has about as many bytes as its outline and what is around it.
    images = size // (300 + ANNOTATIONS_PER_IMAGE * (sum(map(len, outlines)) // len(outlines) + 130))
    annotations = images * ANNOTATIONS_PER_IMAGE
    with open(path, "w") as file:
        file.write('{"info": {"description": "like COCO 2017"}, "licenses": [], "images": [')
        for i in range(images):
            file.write(
                f'{", " if i else ""}{{"license": 4, "file_name": "{i:012d}.jpg", '
                f'"coco_url": "http://images.cocodataset.org/train2017/{i:012d}.jpg", "height": 427, "width": 640, '
                f'"date_captured": "2013-11-14 17:02:52", "flickr_url": "http://farm7.staticflickr.com/{i}_z.jpg", '
                f'"id": {i}}}'
            )
        file.write('], "annotations": [')
        for i in range(annotations):
            file.write(
                f'{", " if i else ""}{{"segmentation": {chance.choice(outlines)}, "area": 702.1057, "iscrowd": 0, '
                f'"image_id": {chance.randrange(images)}, "bbox": [473.07, 395.93, 38.65, 28.67], '
                f'"category_id": {chance.randint(1, CATEGORIES)}, "id": {i + 1}}}'
            )
        categories = [{"supercategory": "thing", "id": i + 1, "name": f"thing {i}"} for i in range(CATEGORIES)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return images, annotations


def measure(read: Callable[[Path], int], path: Path) -> dict[str, float]:
    """Return how many labels were found, the seconds that took, and the peak of resident memory."""
    started = time.perf_counter()
    labels = read(path)
    seconds = time.perf_counter() - started
    return {
        "labels": labels,
        "seconds": seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def mxml_reader() -> Callable[[Path], int]:
    from mxml.data.formats import coco_instances
    from mxml.data.formats.options import FormatOptions

    return lambda path: int((coco_instances.read(path, path.parent, FormatOptions()).images.labels == 1).sum())


def json_reader() -> Callable[[Path], int]:
    def read(path: Path) -> int:
        with open(path) as file:
            instances = json.load(file)
        labels: dict[int, set[int]] = {image["id"]: set() for image in instances["images"]}
        for annotation in instances["annotations"]:
            labels[annotation["image_id"]].add(annotation["category_id"])
        return sum(map(len, labels.values()))

    return read


READERS = {"mxml": mxml_reader, "json.load": json_reader}

if __name__ == "__main__":
    main()
