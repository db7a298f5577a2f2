"""Predict a large set of images with the workers of a Dask cluster; docs/distributed-prediction.md explains it.

python examples/predict_with_dask.py --prefix runs/dress --out tags.jsonl photos              2 processes here
python examples/predict_with_dask.py --scheduler tcp://host:8786 ... /shared/photos           a cluster's workers

Given again after it was stopped, it goes on with what is missing.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict, deque
from pathlib import Path

from mxml import Classifier, MxmlError, atomic
from mxml.inference.inputs import InputStream
from mxml.inference.part import Part
from mxml.inference.results.layouts import layout, shown_path
from mxml.inference.results.made_with import MadeWith
from mxml.inference.results.result_file import ResultFile


def main() -> None:
    """Hand the parts to the cluster, then join what it wrote."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--prefix", required=True, help="the checkpoint")
    parser.add_argument("--out", required=True, help="the file of all predictions, one JSON object per line")
    parser.add_argument("--scheduler", help="the address of a cluster; without it one is started here")
    parser.add_argument("--workers", type=int, default=2, help="processes of the cluster that is started here")
    parser.add_argument("--parts", type=int, help="how many parts; 4 for each worker unless given")
    parser.add_argument("inputs", nargs="+", help="images, folders and patterns, as mxml predict takes them")
    given = parser.parse_args()
    try:
        predict(given.prefix, given.inputs, Path(given.out), given.scheduler, given.workers, given.parts)
    except MxmlError as error:
        parser.exit(1, f"{error}\n")


def predict(
    prefix: str, inputs: list[str], out: Path, scheduler: str | None, workers: int, part_count: int | None
) -> None:
    """Predict all images on a cluster, and write them to ``out`` in the order of ``inputs``."""
    from distributed import Client, as_completed

    here = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with Client(scheduler) if scheduler else Client(**here) as client:
        count = part_count or 4 * len(client.nthreads())
        parts = [Part(number, count) for number in range(1, count + 1)]
        files = [f"{out}.parts/{part.number}-of-{part.count}.jsonl" for part in parts]
        # A worker that dies, and has its part given to another, loses no image that it has written.
        tasks = client.map(predict_part, [prefix] * count, [inputs] * count, parts, files, pure=False)
        for done, task in enumerate(as_completed(tasks), 1):
            print(f"{done} of {count} parts, {task.result()} images")
    join(files, inputs, out)


def predict_part(prefix: str, inputs: list[str], part: Part, file: str) -> int:
    """Predict one part into its file, or the rest of it, and return how many images it has; runs in a worker."""
    classifier = Classifier.load(prefix)
    made_with = MadeWith.of(classifier, None, 0, part=str(part))
    with ResultFile(file, layout("jsonl", classifier.label_names), made_with, resume=True) as results:
        count = sum(results.held)
        for prediction in classifier.predict(inputs, skip=lambda path: not part.holds(path) or results.holds(path)):
            results.write(prediction)
            count += 1
    return count


def join(files: list[str], inputs: list[str], out: Path) -> None:
    """Write the lines of all parts into one file, in the order of the images."""
    rows = layout("jsonl", ())
    lines: dict[str, deque[str]] = defaultdict(deque)
    for file in files:
        # Not splitlines: a name may hold what Python takes for a line end, too.
        for line in Path(file).read_text(encoding="utf-8").split("\n")[:-1]:
            lines[rows.read_row(line).path].append(line)
    names: list[str] = []

    def noted(name: str) -> bool:
        names.append(shown_path(name))
        return True  # nothing is to be read

    for _ in InputStream(inputs, skip=noted):
        pass
    if Counter(names) - Counter({name: len(found) for name, found in lines.items()}):
        raise MxmlError(f"{out}: images were added after the parts were begun; give the command again")
    atomic.write_text(out, "".join(f"{lines[name].popleft()}\n" for name in names))


if __name__ == "__main__":
    main()
