"""Opening every image and finding duplicates: mxml's scan beside Pillow with imagehash.

Scans the photographs of miml-scene, in turn with mxml and with the usual script, in which Pillow opens and decodes each
file, imagehash.phash and hashlib hash it: one thread beside one process, and as many threads as mxml takes by itself
beside as many processes. Then searches a million hashes with
colours, random ones with planted near duplicates and crowds, for duplicates. Prints both as tables, and what was found
in miml-scene.

    python benchmarks/check_speed.py --rounds 5
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any, Callable

PLANTED_BITS = (5, 15, 30)
PLANTED = 1000
WARM_UP = 100  # images
A_TASK = 25  # images that a process of the peer is given at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hashes", type=int, default=1_000_000)
    parser.add_argument(
        "--measure", choices=MEASURES, help="measure this in this process and print the results as JSON"
    )
    parser.add_argument("--data", type=Path, help="the folder of miml-scene")
    parser.add_argument("--workers", type=int, help="threads or processes that scan; as many as mxml takes by itself")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(MEASURES[arguments.measure](arguments)))
        return
    import harness
    import peers

    from mxml.runtime.threads import physical_cores

    workers = arguments.workers or physical_cores()
    arguments.data = arguments.data or harness.SHARED / "data" / "miml-scene"
    rest = ["--data", str(arguments.data), "--hashes", str(arguments.hashes)]
    pythons = {"mxml": sys.executable, "pillow": peers.python()}
    commands, opponents = {}, {}
    for count in sorted({1, workers}):
        names = {
            "mxml": f"mxml, {count} thread{'s' * (count > 1)}",
            "pillow": f"Pillow, imagehash, hashlib, {count} process{'es' * (count > 1)}",
        }
        for scan, name in names.items():
            commands[name] = [pythons[scan], __file__, "--measure", scan, "--workers", str(count), *rest]
            opponents[name] = names["mxml"]
    scans = harness.alternate(commands, arguments.rounds)
    searching = {name: [sys.executable, __file__, "--measure", name, *rest] for name in SEARCHES}
    searches = harness.alternate(searching, min(3, arguments.rounds))

    rates, processor = (harness.median(scans, column) for column in ("images_per_second", "cpu_ms_an_image"))
    print(f"{harness.machine(list(pythons.values()))}\n")
    print(f"{next(iter(scans.values()))[0]['images']:,} photographs; {arguments.rounds} rounds.\n")
    rows = [[name, rate, processor[name], rates[opponents[name]] / rate] for name, rate in rates.items()]
    header = ["scan", "images/s", "CPU ms an image", "mxml with as many is times as fast"]
    print(harness.markdown_table(header, rows) + "\n")
    columns = ["seconds", "added_mb", "pairs", *(f"within_{bits}" for bits in PLANTED_BITS)]
    medians = [harness.median(searches, column) for column in columns]
    header = ["hashes", "seconds", "added memory, MB", "pairs"]
    header += [f"of planted at {bits} bits, found, %" for bits in PLANTED_BITS]
    print(f"Duplicates among {arguments.hashes:,} hashes.\n")
    print(harness.markdown_table(header, [[name, *(median[name] for median in medians)] for name in SEARCHES]))
    print(f"\nDuplicates in miml-scene:\n\n{found_in(arguments.data)}")
    print(f"\nRepeat with `{harness.repeat_with()}`.")


# ---- opening every image


def mxml_scan(arguments: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from mxml.data.image_list import ImageList
    from mxml.prepare.image_scan import scan_images

    paths = photographs(arguments.data)
    images = ImageList.from_rows([path.name for path in paths], np.ones((len(paths), 1)), paths[0].parent)
    scan_images(images.select(range(WARM_UP)), threads=arguments.workers)
    started, processor = time.perf_counter(), time.process_time()
    scan = scan_images(images, threads=arguments.workers)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    rates = {"images_per_second": len(scan) / seconds, "cpu_ms_an_image": processor / len(scan) * 1e3}
    return {"images": len(scan), "faults": len(scan.faults), **rates}


def pillow_scan(arguments: argparse.Namespace) -> dict[str, Any]:
    """Share the images out among processes that have started and imported before; with one, this is the process."""
    paths = photographs(arguments.data)
    if arguments.workers == 1:
        hash_all(paths[:WARM_UP])
        started = time.perf_counter()
        processor = hash_all(paths)
        seconds = time.perf_counter() - started
    else:
        parts = [paths[first : first + A_TASK] for first in range(0, len(paths), A_TASK)]
        with multiprocessing.Pool(arguments.workers) as pool:
            pool.map(hash_all, [paths[:WARM_UP]] * arguments.workers, chunksize=1)
            started = time.perf_counter()
            processor = sum(pool.imap_unordered(hash_all, parts))
            seconds = time.perf_counter() - started
    rates = {"images_per_second": len(paths) / seconds, "cpu_ms_an_image": processor / len(paths) * 1e3}
    return {"images": len(paths), **rates}


def hash_all(paths: list[Path]) -> float:
    """Open and hash images in this process; return the seconds of processor time that it took."""
    import hashlib
    import io

    import imagehash
    from PIL import Image

    began = time.process_time()
    for path in paths:
        content = path.read_bytes()
        hashlib.sha256(content).digest()
        image = Image.open(io.BytesIO(content))
        image.load()
        imagehash.phash(image)
    return time.process_time() - began


def photographs(data: Path) -> list[Path]:
    return sorted((data / "images").iterdir())


# ---- duplicates among very many


def search_random(arguments: argparse.Namespace) -> dict[str, Any]:
    return time_search(arguments.hashes, crowds=False)


def search_crowds(arguments: argparse.Namespace) -> dict[str, Any]:
    return time_search(arguments.hashes, crowds=True)


def time_search(count: int, crowds: bool) -> dict[str, Any]:
    """Time the search; crowds are hashes that differ from one by each bit with a probability, and equal files.

    Colours are random, but those of planted pairs are near, and a crowd has one, which takes most work.
    """
    import numpy as np

    from mxml.prepare.duplicates import find_duplicates
    from mxml.prepare.image_scan import ImageScan

    chance = np.random.default_rng(0)
    order = chance.permutation(count)
    planted = {
        bits: order[i * 2 * PLANTED : (i + 1) * 2 * PLANTED].reshape(-1, 2) for i, bits in enumerate(PLANTED_BITS)
    }
    hashes = chance.integers(0, 256, (count, 32), dtype=np.uint8)
    digest = chance.integers(0, 256, (count, 16), dtype=np.uint8)
    colours = chance.integers(0, 256, (count, 48), dtype=np.uint8)
    for bits, pairs in planted.items():
        for first, second in pairs:
            flips = np.zeros(256, np.uint8)
            flips[chance.choice(256, bits, replace=False)] = 1
            hashes[second] = hashes[first] ^ np.packbits(flips)
            colours[second] = colours[first] ^ 7
    if crowds:
        start = len(planted) * 2 * PLANTED
        for share, probability in ((0.1, 0.25), (0.1, 0.12), (0.05, 0.02)):
            crowd = order[start : start + int(share * count)]
            centre = chance.integers(0, 2, 256, dtype=np.uint8)
            hashes[crowd] = np.packbits(centre ^ (chance.random((len(crowd), 256)) < probability), axis=1)
            colours[crowd] = colours[crowd[0]]
            start += len(crowd)
        copies = order[start : start + count // 20]
        digest[copies], hashes[copies], colours[copies] = digest[copies[0]], hashes[copies[0]], colours[copies[0]]
    nothing = np.zeros(count, np.int64)
    same = nothing == 0
    scan = ImageScan((), (), same, nothing, nothing, nothing, ~same, digest, hashes, colours)
    find_duplicates(scan.select(range(1000)))  # what is imported at its first use is not part of the search
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    found = find_duplicates(scan)
    numbers = found.group_numbers(count)
    seconds = time.perf_counter() - started
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    shares = {
        f"within_{bits}": 100 * float((numbers[pairs[:, 0]] == numbers[pairs[:, 1]]).mean())
        for bits, pairs in planted.items()
    }
    return {"seconds": seconds, "added_mb": added, "pairs": len(found.pairs), **shares}


SCANS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "mxml": mxml_scan,
    "pillow": pillow_scan,
}
SEARCHES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "random": search_random,
    "three crowds and a placeholder": search_crowds,
}
MEASURES = {**SCANS, **SEARCHES}


def found_in(data: Path) -> str:
    """Say in a table which images of train.lst and val.lst are the same picture, and their labels."""
    import harness
    import numpy as np

    from mxml.data.image_list import ImageList
    from mxml.data.label_names import read_label_names
    from mxml.data.lst_file import read_lst
    from mxml.prepare.duplicates import find_duplicates
    from mxml.prepare.image_scan import scan_images

    lists = {name: read_lst(data / f"{name}.lst") for name in ("train", "val")}
    labels = np.concatenate([images.labels for images in lists.values()])
    listed = [name for name, images in lists.items() for _ in range(len(images))]
    names = [name for images in lists.values() for name in images.names()]
    images = ImageList.from_rows(names, labels, data / "images")
    scan = scan_images(images)
    label_names = read_label_names(data / "labels.txt")
    shown = [
        f"{name} ({where}: {', '.join(np.array(label_names)[row == 1])})"
        for name, where, row in zip(names, listed, labels)
    ]
    found = find_duplicates(scan)
    rows = [
        ["same bytes" if distance < 0 else f"{distance} bits", shown[first], shown[second]]
        for (first, second), distance in sorted(zip(found.pairs.tolist(), found.distance), key=lambda row: row[1])
    ]
    table = harness.markdown_table(["differ in", "image", "image"], rows)
    return f"{len(scan.faults)} unreadable images, {len(found.groups())} groups.\n\n{table}"


if __name__ == "__main__":
    main()
