"""Reading a list: mxml's reader beside mx.image.ImageIter's own.

Makes a list of many lines and 8 labels, and reads it in processes of their own, in turn: mxml reads and checks it,
ImageIter reads it while it is constructed. Prints seconds and added memory as a table.

    python benchmarks/read_lists.py --lines 1000000 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

CLASSES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reader", choices=READERS, help="read LIST in this process and print the results as JSON")
    parser.add_argument("--list", type=Path, help="what --reader reads")
    arguments = parser.parse_args()
    if arguments.reader:
        print(json.dumps(measure(READERS[arguments.reader](), str(arguments.list))))
        return
    import harness

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.lst"
        write_list(path, arguments.lines)
        size = path.stat().st_size
        commands = {name: [sys.executable, __file__, "--reader", name, "--list", str(path)] for name in READERS}
        results = harness.alternate(commands, arguments.rounds)
    seconds, memory = harness.median(results, "seconds"), harness.median(results, "added_mb")
    print(f"{harness.machine()}\n")
    print(
        f"A list of {arguments.lines:,} lines and {CLASSES} labels, {size / 1e6:,.0f} MB; {arguments.rounds} rounds.\n"
    )
    header = ["reader", "seconds", "times mxml's", "added memory, MB", "times mxml's memory"]
    rows = [
        [name, seconds[name], seconds[name] / seconds["mxml"], memory[name], memory[name] / memory["mxml"]]
        for name in commands
    ]
    print(harness.markdown_table(header, rows))
    print(f"\nRepeat with `{harness.repeat_with()}`.")


def write_list(path: Path, lines: int) -> None:
    chance = random.Random(0)
    with open(path, "w") as file:
        for index in range(lines):
            labels = "".join(f"{chance.random() < 0.2:f}\t" for _ in range(CLASSES))
            file.write(f"{index}\t{labels}photos/{index % 1000:03d}/{index:08d}.jpg\n")


def measure(read: Callable[[str], int], path: str) -> dict[str, float]:
    """Return the seconds that reading took, and by how much it raised the peak of resident memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    lines = read(path)
    seconds = time.perf_counter() - started
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"lines": lines, "seconds": seconds, "added_mb": added / 1024}


def mxml_reader() -> Callable[[str], int]:
    from mxml.data.lst_file import read_lst

    return lambda path: len(read_lst(path, "photos", CLASSES))


def mxnet_reader() -> Callable[[str], int]:
    from mxml.runtime.imports import load_mxnet

    mx = load_mxnet()
    mx.nd.array([1.0])  # what MXNet loads at its first array is not part of the reading

    def read(path: str) -> int:
        iterator = mx.image.ImageIter(
            1, (3, 224, 224), label_width=CLASSES, path_imglist=path, path_root="photos", aug_list=[]
        )
        return len(iterator.imglist)

    return read


READERS = {"mxml": mxml_reader, "mx.image.ImageIter": mxnet_reader}

if __name__ == "__main__":
    main()
