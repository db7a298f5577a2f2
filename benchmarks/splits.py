"""Splitting by labels: mxml beside random splitting, iterative-stratification and scikit-multilearn.

Splits miml-scene, the sample and a generated set with a long tail of rare labels into 80, 10 and 10 percent, with
several seeds, and prints how far the parts are from what they should hold; then the same for groups that stay together,
and the seconds that mxml takes for a million images.

    python benchmarks/splits.py --seeds 10
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

import numpy as np

SHARES = (0.8, 0.1, 0.1)

METRICS = {
    "largest": "label's share in a part, points off: largest",
    "mean": "mean",
    "unlabelled": "no label",
    "named_largest": "without no label: largest",
    "named_mean": "mean",
    "spread_largest": "part's share of a label, points off: largest",
    "spread_mean": "mean",
    "images": "images off",
    "images_worst": "worst seed",
    "seconds": "seconds",
}

EXPLANATION = """\
A label's share in a part is how many of the part's images have it; it is off by its distance from the label's share in
the whole set. A part's share of a label is how many of the label's images the part has; it is off by its distance from
the share that was asked for, and shows what happens to rare labels. Both in percentage points, over all labels and
parts. "No label" is a label too here; its own column is the largest that its share in a part is off by, and the two
columns after it leave it out, as the peers do. "Images off" is the largest distance of a part's size from what was
asked for. All but the worst seed are means over the seeds."""

Parts = Sequence[np.ndarray]
Splitter = Callable[[np.ndarray, int], Parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="of the splits of a million images")
    parser.add_argument("--splitter", choices=SPLITTERS, help="split --labels in this process, print metrics as JSON")
    parser.add_argument("--labels", type=Path, help="what --splitter splits: .npy of (N, C), groups in .groups.npy")
    parser.add_argument("--million", nargs=2, metavar=("WIDTH", "HOW"), help="time one split of a million images")
    arguments = parser.parse_args()
    if arguments.splitter:
        print(json.dumps(measure(arguments.splitter, arguments.labels, arguments.seeds)))
    elif arguments.million:
        print(json.dumps(time_a_million(int(arguments.million[0]), arguments.million[1])))
    else:
        compare(arguments.seeds, arguments.rounds)


def compare(seeds: int, rounds: int) -> None:
    import harness
    import peers

    pythons = {"mxml": sys.executable, "peers": peers.python()}

    def rows_for(name: str, labels: Path, splitters: Sequence[str]) -> list[list[object]]:
        rows: list[list[object]] = []
        for splitter in splitters:
            python = pythons["peers" if splitter in PEERS else "mxml"]
            command = [python, __file__, "--splitter", splitter, "--labels", str(labels), "--seeds", str(seeds)]
            result = harness.run(f"{name}, {splitter}", command)
            print(f"{name}, {splitter}: {harness.brief(result)}", file=sys.stderr, flush=True)
            rows.append([name, result["name"], *(result[metric] for metric in METRICS)])
        return rows

    rows, grouped_rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, labels in label_tables().items():
            path = Path(folder) / "labels.npy"
            np.save(path, labels)
            rows += rows_for(f"{name}, {len(labels):,} x {labels.shape[1]}", path, ["random", "mxml", *PEERS])
        for size in (2, 5, 20):
            path = Path(folder) / f"groups{size}.npy"
            labels, groups = grouped_labels(size)
            np.save(path, labels)
            np.save(path.with_suffix(".groups.npy"), groups)
            name = f"{groups.max() + 1:,} groups of up to {np.bincount(groups).max()}"
            grouped_rows += rows_for(name, path, ["random groups", "mxml with groups"])
    commands = {
        f"1,000,000 x {width}, {how}": [sys.executable, __file__, "--million", str(width), how]
        for width in (8, 80)
        for how in MILLION
    }
    results = harness.alternate(commands, rounds)
    seconds, memory = harness.median(results, "seconds"), harness.median(results, "added_mb")
    million_rows = [[name, seconds[name], memory[name]] for name in commands]
    header = ["set", "splitter", *METRICS.values()]
    print(f"{harness.machine(list(pythons.values()))}\n\n{EXPLANATION}\n")
    print(f"Shares {', '.join(map(str, SHARES))}; {seeds} seeds.\n\n{harness.markdown_table(header, rows)}\n")
    print(f"Groups that stay together, 20,000 images:\n\n{harness.markdown_table(header, grouped_rows)}\n")
    print(f"mxml on a million images; {rounds} rounds:\n")
    print(harness.markdown_table(["images x labels", "seconds", "added memory, MB"], million_rows))
    print(f"\nRepeat with `{harness.repeat_with()}`.")


def label_tables() -> dict[str, np.ndarray]:
    """Return the sets that are split, as (N, C) int8."""
    import harness

    sources = {
        "miml-scene": harness.SHARED / "data" / "miml-scene" / "labels.csv",
        "sample": harness.ROOT / "images" / "labels.csv",
    }
    tables = {}
    for name, path in sources.items():
        with open(path, newline="") as file:
            rows = list(csv.reader(file))[1:]
        tables[name] = np.array([row[1:] for row in rows]).astype(np.int8)
    tables["long tail"] = long_tail(20_000, 40, seed=0)
    return tables


def long_tail(count: int, width: int, seed: int) -> np.ndarray:
    """Return (count, width) labels, the r-th with frequency 0.4 / r^1.5 (0.16 percent at 40), independent."""
    frequencies = 0.4 / np.arange(1, width + 1) ** 1.5
    return (np.random.RandomState(seed).rand(count, width) < frequencies).astype(np.int8)


def grouped_labels(mean_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (20000, 40) labels and the groups (20000,): sizes are geometric, four of five labels the group's own."""
    chance = np.random.RandomState(mean_size)
    groups = np.repeat(np.arange(20_000), chance.geometric(1 / mean_size, 20_000))[:20_000]
    own, of_group = long_tail(20_000, 40, seed=1), long_tail(20_000, 40, seed=2)[groups]
    return np.where(chance.rand(20_000, 40) < 0.2, own, of_group), groups


def measure(splitter: str, path: Path, seeds: int) -> dict[str, object]:
    """Split with each seed and return the means of the metrics."""
    labels = np.load(path)
    groups = np.load(path.with_suffix(".groups.npy")) if "groups" in splitter else None
    name, split = SPLITTERS[splitter](groups)
    split(labels[:100] if groups is None else labels, 0)  # what is imported or compiled at first is not the splitting
    results = []
    for seed in range(seeds):
        started = time.perf_counter()
        parts = split(labels, seed)
        results.append({"seconds": time.perf_counter() - started, **deviations(labels, parts)})
    means = {metric: statistics.mean(result[metric] for result in results) for metric in results[0]}
    return {"name": name, **means, "images_worst": max(result["images"] for result in results)}


def deviations(labels: np.ndarray, parts: Parts) -> dict[str, float]:
    """Return how far the parts are from what they should hold: the metrics that EXPLANATION defines."""
    if sorted(np.concatenate(parts).tolist()) != list(range(len(labels))):
        sys.exit("the parts do not hold every image once")
    labels = np.column_stack([labels, ~labels.any(axis=1)])
    totals = labels.sum(axis=0, dtype=np.int64)
    counts = np.array([labels[part].sum(axis=0, dtype=np.int64) for part in parts])
    sizes, shares = np.array([[len(part)] for part in parts]), np.array(SHARES)[:, None]
    share_off = 100 * np.abs(counts / sizes - totals / len(labels))
    unlabelled, named = share_off[:, -1].max(), share_off[:, :-1]
    if not totals[-1]:  # then it is no label
        counts, totals, share_off = counts[:, :-1], totals[:-1], share_off[:, :-1]
    spread_off = 100 * np.abs(counts / totals - shares)
    return {
        "largest": share_off.max(),
        "mean": share_off.mean(),
        "unlabelled": unlabelled,
        "named_largest": named.max(),
        "named_mean": named.mean(),
        "spread_largest": spread_off.max(),
        "spread_mean": spread_off.mean(),
        "images": float(np.abs(sizes - shares * len(labels)).max()),
    }


def random_splitter(groups: np.ndarray | None) -> tuple[str, Splitter]:
    def split(labels: np.ndarray, seed: int) -> Parts:
        order = np.random.RandomState(seed).permutation(len(labels))
        return np.split(order, np.rint(np.cumsum(SHARES)[:-1] * len(labels)).astype(int))

    return "random", split


def random_group_splitter(groups: np.ndarray | None) -> tuple[str, Splitter]:
    """Deal out whole groups in random order: a part ends with the group that brings it to its size."""

    def split(labels: np.ndarray, seed: int) -> Parts:
        assert groups is not None
        sizes = np.bincount(groups)
        order = np.random.RandomState(seed).permutation(len(sizes))
        part_of = np.empty(len(sizes), int)
        middles = np.cumsum(sizes[order]) - sizes[order] / 2
        part_of[order] = np.searchsorted(np.cumsum(SHARES)[:-1] * len(labels), middles)
        return [np.flatnonzero(part_of[groups] == part) for part in range(len(SHARES))]

    return "random groups", split


def mxml_splitter(groups: np.ndarray | None) -> tuple[str, Splitter]:
    from mxml.prepare.splits import stratified_split

    name = "mxml" if groups is None else "mxml, groups"
    return name, lambda labels, seed: stratified_split(labels, SHARES, seed, groups)


def shuffle_splitter(groups: np.ndarray | None) -> tuple[str, Splitter]:
    """Split off the two small parts together, then one from the other: the class knows two parts only."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    def halve(labels: np.ndarray, share: float, seed: int) -> Parts:
        splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
        return next(splitter.split(np.zeros(len(labels)), labels))

    def split(labels: np.ndarray, seed: int) -> Parts:
        train, others = halve(labels, SHARES[1] + SHARES[2], seed)
        val, test = halve(labels[others], SHARES[2] / (SHARES[1] + SHARES[2]), seed)
        return [train, others[val], others[test]]

    version = importlib.metadata.version("iterative-stratification")
    return f"iterative-stratification {version}, ShuffleSplit in two steps", split


def skmultilearn_folds(groups: np.ndarray | None) -> tuple[str, Splitter]:
    """Order 1 is the paper's algorithm. Its random_state is refused by scikit-learn, so NumPy's own is seeded."""
    from skmultilearn.model_selection import IterativeStratification

    def split(labels: np.ndarray, seed: int) -> Parts:
        np.random.seed(seed)
        splitter = IterativeStratification(n_splits=3, order=1, sample_distribution_per_fold=list(SHARES))
        return [part for _, part in splitter.split(np.zeros((len(labels), 1)), labels)]

    return f"scikit-multilearn {_skmultilearn_version()}, IterativeStratification of order 1", split


def skmultilearn_train_test(groups: np.ndarray | None) -> tuple[str, Splitter]:
    from skmultilearn.model_selection import iterative_train_test_split

    def split(labels: np.ndarray, seed: int) -> Parts:
        np.random.seed(seed)
        positions = np.arange(len(labels))[:, None]
        train, _, others, their_labels = iterative_train_test_split(positions, labels, SHARES[1] + SHARES[2])
        val, _, test, _ = iterative_train_test_split(others, their_labels, SHARES[2] / (SHARES[1] + SHARES[2]))
        return [train[:, 0], val[:, 0], test[:, 0]]

    return f"scikit-multilearn {_skmultilearn_version()}, iterative_train_test_split in two steps", split


def _skmultilearn_version() -> str:
    return importlib.metadata.version("scikit-multilearn")


def time_a_million(width: int, how: str) -> dict[str, float]:
    """Time one split of 1,000,000 images: alone, in groups, or with nine tenths of them kept."""
    from mxml.prepare.splits import stratified_split

    count, chance = 1_000_000, np.random.RandomState(0)
    frequencies = 0.5 / np.arange(1, width + 1)
    labels = np.empty((count, width), np.int8)
    for first in range(0, count, 10_000):
        labels[first : first + 10_000] = chance.rand(10_000, width) < frequencies
    groups = kept = None
    if "groups" in how:
        groups = chance.permutation(np.repeat(np.arange(count), chance.geometric(0.4, count))[:count])
    if "kept" in how:
        kept = chance.choice(len(SHARES), count, p=SHARES)
        kept[chance.permutation(count)[: count // 10]] = -1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    stratified_split(labels, SHARES, 0, groups, kept)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "added_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


PEERS = {
    "iterative-stratification": shuffle_splitter,
    "scikit-multilearn folds": skmultilearn_folds,
    "scikit-multilearn train_test": skmultilearn_train_test,
}
SPLITTERS = {
    "random": random_splitter,
    "mxml": mxml_splitter,
    "random groups": random_group_splitter,
    "mxml with groups": mxml_splitter,
    **PEERS,
}
MILLION = ("alone", "in 400,000 groups", "900,000 kept", "in 400,000 groups, 900,000 kept")

if __name__ == "__main__":
    main()
