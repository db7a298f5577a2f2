"""Training runs that are kept once they are done, one JSON line each, for the tables that take hours or days.

A script that keeps its runs can be stopped at any time; started again, it goes on with what is missing. Copies with a
results file each work side by side on other rows or seeds, and one table is drawn from several files.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import ROOT, environment, machine, markdown_table, repeat_with

from mxml.model.sidecar import SURVIVED

KEPT = ROOT / "benchmarks" / ".data"
Key = tuple[Any, ...]
# What of a run is kept: ``mAP`` and ``CF1`` of its best epoch (None where it ended by diverging), both of each of its
# ``epochs`` and the seconds ``at`` which it was done, how often it ``diverged``, the ``seconds`` from start to end, and
# the ``commit`` that ran.
Run = dict[str, Any]


class KeptRuns(dict[Key, Run]):
    """The runs that are done, by what they were of: the values of ``fields``, such as a recipe and a seed.

    They are read from all files, where a later line replaces an earlier one, and new ones go to the first file.
    """

    def __init__(self, paths: Sequence[Path], *fields: str):
        super().__init__()
        self.path, self.fields = paths[0], fields
        for path in paths:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else (), 1):
                try:
                    run = json.loads(line)
                except json.JSONDecodeError:
                    # The script was killed while it wrote this one, or the disk was full.
                    print(f"{path}:{number}: is cut short; this run is left out", file=sys.stderr)
                    continue
                self[tuple(run[field] for field in fields)] = run

    def add(self, key: Key, run: Run | None, **more: str) -> None:
        """Keep a run at once; one that failed is not kept, so that it is tried again."""
        if run is None:
            return
        self[key] = {**dict(zip(self.fields, key)), **run, **more}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
            # Other copies of the script may write to the same file: nothing is removed, and each line is one write.
            after_a_cut = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * after_a_cut + json.dumps(self[key]).encode() + b"\n")
        reached = "diverged" if run["mAP"] is None else f"mAP {run['mAP']:.4f}"
        what = ", ".join(f"{field} {value}" for field, value in zip(self.fields, key) if value not in ("", None))
        print(f"{what}: {reached} ({run['seconds']:.0f} s)", file=sys.stderr, flush=True)


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Add ``--seeds``, ``--results`` (by default one file of this name) and ``--table``."""
    path = KEPT / f"{name}.jsonl"

    def numbers(text: str) -> list[int]:
        return list(dict.fromkeys(map(int, text.split(","))))

    what = f"file of the runs that are done (default: {path.relative_to(ROOT)}); of several, the first gets new ones"
    parser.add_argument("--seeds", type=numbers, default="0,1,2", help="separated by commas (default: 0,1,2)")
    parser.add_argument("--results", type=Path, action="append", help=what)
    parser.add_argument("--table", action="store_true", help="draw the table of the runs that are done; run nothing")
    parser.set_defaults(default_results=[path])


def open_runs(options: argparse.Namespace, *fields: str) -> KeptRuns:
    """Return the runs of the options' files. Being told to end (SIGTERM) ends the run that is under way, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    if options.table and options.results:
        missing = [str(path) for path in options.results if not path.exists()]
        if missing:
            sys.exit(f"{', '.join(missing)}: is not there")
    return KeptRuns(options.results or options.default_results, *fields)


def train(options: Sequence[str], prefix: Path) -> Run | None:
    """Run ``mxml train``, and return what of it is kept; None, and what it said on stderr, where it failed."""
    command = [sys.executable, "-m", "mxml", "train", *options, "--prefix", str(prefix), "--force"]
    begun_at, started, clock = commit(), time.perf_counter(), time.time()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    seconds = time.perf_counter() - started
    path = Path(f"{prefix}.json")
    sidecar = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    diverged = len(sidecar.get("diverged") or ())
    if done.returncode and diverged <= SURVIVED:
        print(f"failed (exit {done.returncode}): {shlex.join(command)}\n{done.stdout}{done.stderr}", file=sys.stderr)
        return None
    metrics = {epoch["epoch"]: epoch["metrics"] for epoch in sidecar["epochs"]}
    done_at = epochs_in_log(prefix.parent / "train.log", clock)
    best = None if done.returncode else metrics[sidecar["best_epoch"]]["val"]
    return {
        "mAP": best and best["mAP"],
        "CF1": best and best["CF1"],
        "epochs": [
            {"mAP": epoch["val"]["mAP"], "CF1": epoch["val"]["CF1"], "at": done_at.get(number)}
            for number, epoch in metrics.items()
        ],
        "diverged": diverged,
        "seconds": seconds,
        "commit": begun_at,
    }


def epochs_in_log(path: Path, since: float) -> dict[int, float]:
    """Return the seconds from ``since``, a clock's time, to the line of each epoch, which follows its validation."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        match = re.match(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) epoch (\d+)/\d+: loss", line)
        if match:
            seconds = datetime.datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").timestamp() - since
            # A run before may have used the same log, which has whole seconds.
            if seconds >= -1:
                found[int(match[2])] = max(0.0, seconds)
    return found


def commit() -> str:
    """Return this checkout's commit, with ``-dirty`` where tracked files differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def spread(values: Sequence[float], digits: str = ".4f") -> str:
    """Write a mean with the lowest and the highest value."""
    low, high = format(min(values), digits), format(max(values), digits)
    return format(statistics.mean(values), digits) + (f" ({low} to {high})" if len(values) > 1 else "")


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    shown: Iterable[Run],
    pythons: Sequence[str] = (sys.executable,),
) -> None:
    """Print the table, the commits of the runs that it shows and how many are of each, and this machine."""
    counts = collections.Counter(run["commit"] for run in shown)
    commits = ", ".join(f"{name} ({count})" for name, count in counts.items()) or "none"
    print(markdown_table(header, rows))
    print(f"\nRuns of each commit: {commits}. {machine(pythons)}\n")
    print(f"Repeat with: `{repeat_with().replace(' --table', '')}`")
