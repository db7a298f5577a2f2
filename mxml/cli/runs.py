"""``mxml runs``."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import click

from mxml.cli.tables import table
from mxml.errors import MxmlError, as_text
from mxml.model.run_files import RunFiles
from mxml.text import common_folder, counted, cut, cut_path, duration, printable, shown
from mxml.training.config import train_settings
from mxml.training.runs import (
    SORT_BY,
    RunSummary,
    find_runs,
    folders_with_runs,
    read_run,
    settings_that_differ,
    sort_runs,
)

_METRICS = ("mAP", "CF1", "OF1", "loss")
# What the first table shows whole; the second has the other settings that differ.
_SHOWN = ("method", "lr", "optimizer", "batch_size", "image_shape", "num_epoch")
_HEAD = (
    "prefix", "state", "model", "method", "epochs", "best", *_METRICS, "lr", "optimizer", "batch", "shape", "training",
)  # fmt: skip


@click.command(name="runs")
@click.argument("places", nargs=-1, metavar="[PREFIX]...")
@click.option("--sort", "by", type=click.Choice(SORT_BY), help="Sort by this, the best first.  [default: as given]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(places: tuple[str, ...], by: str | None, as_json: bool) -> None:
    """Compare training runs in a table: their settings, best metrics and state.

    PREFIX is the prefix of a run, one of its files, a folder of runs or a pattern such as 'runs/*'; by default the
    working directory. Only sidecars are read. Where prefixes are long, the folder of all is shown once, above them. A
    run that diverged has two learning rates: the one it was given, and the lower one it went on with. A second table
    has the other settings in which the runs differ. Exits with 1 if a run cannot be described.
    """
    places = tuple(place or "." for place in places) or (".",)
    runs = [read_run(prefix) for prefix in find_runs(places)]
    if not runs:
        raise MxmlError(_without_runs(places))
    if by is not None:
        runs = sort_runs(runs, by)
    differing = settings_that_differ(runs)
    if as_json:
        entries = [dataclasses.asdict(run) for run in runs]
        click.echo(json.dumps({"runs": entries, "settings_that_differ": differing}, indent=1))
    elif there := [run for run in runs if not run.error or os.path.lexists(RunFiles(run.prefix).sidecar)]:
        _print(there, [name for name in differing if name not in _SHOWN])
    for run in runs:
        if run.error:
            click.echo(f"mxml: {printable(run.error)}", err=True)
    if any(run.error for run in runs):
        sys.exit(1)


def _without_runs(places: Sequence[str]) -> str:
    others = "" if len(places) == 1 else ", nor have the others"
    below = folders_with_runs(places[0]) if len(places) == 1 else {}
    if below:
        shown_folders = shown([f"{folder} ({counted(runs, 'run')})" for folder, runs in below.items()], 5)
        return f"{places[0]}: has no run of mxml itself, but {shown_folders}: mxml runs {shlex.join(below)}"
    hint = "; name its prefix or its folder, or a pattern such as 'runs/*'" if places == (".",) else ""
    return f"{places[0]}: has no run of mxml{others}{hint}"


def _print(runs: list[RunSummary], differing: list[str]) -> None:
    folder = common_folder([run.prefix for run in runs])
    if folder:
        click.echo(f"{printable(folder)}:")
    for line in table([_HEAD, *(_row(run, folder) for run in runs)]):
        click.echo(line)
    whole = [run for run in runs if not run.error]
    if differing:
        click.echo()
        columns = [_column(name, [run.settings.get(name) for run in whole]) for name in differing]
        rows = zip(*([_name(run, folder) for run in whole], *columns))
        for line in table([("prefix", *differing), *rows]):
            click.echo(line)
    if len({run.lists.get("val") for run in whole}) > 1:
        click.echo("\nThe runs were validated on different lists: their metrics cannot be compared.")


def _name(run: RunSummary, folder: str) -> str:
    return cut_path(os.path.relpath(run.prefix, folder) if folder else run.prefix)


def _column(name: str, values: Sequence[Any]) -> list[str]:
    """Return a setting of each run; of long paths without the folder that they have in common."""
    known = train_settings().get(name)
    if known is None or not known.path:
        return [_text(value) for value in values]
    paths = [value for value in values if isinstance(value, str)]
    folder = common_folder(paths)
    return [
        cut_path(f".../{os.path.relpath(value, folder)}" if folder else value)
        if isinstance(value, str)
        else _text(value)
        for value in values
    ]


def _row(run: RunSummary, folder: str) -> tuple[str, ...]:
    if run.error:
        return (_name(run, folder), "broken", *[""] * (len(_HEAD) - 2))
    settings = run.settings
    return (
        _name(run, folder),
        run.state,
        _text(settings.get("network") or os.path.basename(str(settings.get("model", "")))),
        _text(settings.get("method")),
        f"{run.epochs}/{_text(run.all_epochs)}",
        _text(run.best_epoch),
        *(_metric(run.metrics.get(name)) for name in _METRICS),
        ", then ".join(map(_text, run.rates)) or "-",
        *(_text(settings.get(name)) for name in ("optimizer", "batch_size")),
        _text(settings.get("image_shape")),
        duration(run.seconds),
    )


def _metric(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _text(value: Any) -> str:
    return "-" if value in (None, "", []) else cut(as_text(value))
