"""Runs commands side by side, alternating, and sets their medians in a table.

A figure taken in one long run says as much about the machine's other work as about the program. Here every contestant
is a command of its own (own process, own threads, own libraries) that prints one JSON object as its last line; each
round runs all of them in turn, so that what disturbs the machine disturbs all alike, and the medians are compared.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

PACKAGES = ("mxnet", "numpy", "opencv-python-headless", "torch", "onnxruntime")


def alternate(
    commands: Mapping[str, Sequence[str]], rounds: int, env: Mapping[str, str] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Run each command once a round, one after another, and return the JSON objects that each printed.

    ``env`` is added to the environment of every command; ``PYTHONPATH`` begins with the checkout. A command that
    fails, or whose last line is no JSON object, ends the program with what it wrote to stderr.
    """
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    for this_round in range(1, rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            result = run(name, command, env)
            results[name].append(result)
            seconds = time.perf_counter() - started
            print(
                f"round {this_round}/{rounds}  {name}: {brief(result)}  ({seconds:.0f} s)", file=sys.stderr, flush=True
            )
    return results


def run(name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run one command and return the JSON object in its last line of output."""
    done = subprocess.run(list(command), env={**environment(), **(env or {})}, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    try:
        result = json.loads(lines[-1]) if lines and done.returncode == 0 else None
    except ValueError:
        result = None
    if not isinstance(result, dict):
        sys.exit(f"{name} failed (exit {done.returncode}): {shlex.join(command)}\n{done.stdout}{done.stderr}")
    return result


def environment() -> dict[str, str]:
    """Return this process's environment with the checkout at the beginning of ``PYTHONPATH``."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def brief(result: Mapping[str, Any]) -> str:
    """Return the numbers of one result in one line."""
    return ", ".join(f"{key} {number(value)}" for key, value in result.items() if isinstance(value, (int, float)))


class Median(float):
    """The median of some rounds, which tables show with the lowest and the highest of them."""

    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Median:
        """Return the median of ``values``."""
        made = cls(statistics.median(values))
        made.lowest, made.highest = min(values), max(values)
        return made


def median(results: Mapping[str, Sequence[Mapping[str, Any]]], key: str) -> dict[str, Median]:
    """Return each contestant's median of ``key``; contestants without it are left out."""
    return {
        name: Median.of([float(run[key]) for run in runs])
        for name, runs in results.items()
        if runs and all(key in run for run in runs)
    }


def number(value: float) -> str:
    """Write a figure with about three significant digits, and thousands with a comma; a median with its spread."""
    if isinstance(value, Median) and value.lowest != value.highest:
        return f"{number(float(value))} ({number(value.lowest)} to {number(value.highest)})"
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table; numbers are written by :func:`number` and set to the right."""
    texts = [[number(cell) if isinstance(cell, (int, float)) else str(cell) for cell in row] for row in rows]
    numeric = [bool(rows) and all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(header))]
    widths = [max(3, *(len(row[i]) for row in [list(header), *texts])) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, numeric))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if right else "-") for w, right in zip(widths, numeric)) + "|"
    return "\n".join([line(list(header)), rule, *map(line, texts)])


def machine(pythons: Sequence[str] = (sys.executable,)) -> str:
    """Describe this machine and the libraries of the given Pythons, in one paragraph."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions: dict[str, str] = {}
    for python in pythons:
        for package, version in _versions(python).items():
            versions.setdefault(package, version)
    libraries = ", ".join(f"{package} {version}" for package, version in versions.items())
    return f"{_cpu_model()}, {cores} processors; Python {platform.python_version()}, {libraries}."


def repeat_with() -> str:
    """Return the command line that repeats this benchmark, typed from the checkout's root."""
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(ROOT) if ROOT in script.parents else script
    return shlex.join(["python", str(name), *sys.argv[1:]])


def _versions(python: str) -> dict[str, str]:
    if python == sys.executable:
        return {p: v for p in PACKAGES if (v := _installed(p))}
    code = (
        "import importlib.metadata as m, json\n"
        f"names = {PACKAGES!r}\n"
        "found = {d.metadata['Name']: d.version for d in m.distributions()}\n"
        "print(json.dumps({n: found[n] for n in names if n in found}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
