"""``mxml runs``."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Any

import click

from mxml.cli.tables import table
from mxml.errors import MxmlError, as_text
from mxml.text import cut, duration, printable
from mxml.training.runs import SORT_BY, RunSummary, find_runs, read_run, settings_that_differ, sort_runs

_METRICS = ("mAP", "CF1", "OF1", "loss")
# What the first table shows whole; the second has the other settings that differ.
_SHOWN = ("method", "lr", "optimizer", "batch_size", "image_shape", "num_epoch")
_HEAD = (
    "prefix", "state", "model", "method", "epochs", "best", *_METRICS, "lr", "optimizer", "batch", "shape", "training",
)  # fmt: skip


@click.command(name="runs")
@click.argument("places", nargs=-1, required=True, metavar="PREFIX...")
@click.option("--sort", "by", type=click.Choice(SORT_BY), help="Sort by this, the best first.  [default: as given]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(places: tuple[str, ...], by: str | None, as_json: bool) -> None:
    """Compare training runs in a table: their settings, best metrics and state.

    PREFIX is the prefix of a run, one of its files, a folder of runs or a pattern such as 'runs/*'. Only sidecars are
    read. A second table has the other settings in which the runs differ. Exits with 1 if a run cannot be described.
    """
    runs = [read_run(prefix) for prefix in find_runs(places)]
    if not runs:
        raise MxmlError(f"{places[0]}: has no run of mxml" + ("" if len(places) == 1 else ", nor have the others"))
    if by is not None:
        runs = sort_runs(runs, by)
    differing = settings_that_differ(runs)
    if as_json:
        entries = [dataclasses.asdict(run) for run in runs]
        click.echo(json.dumps({"runs": entries, "settings_that_differ": differing}, indent=1))
    else:
        _print(runs, [name for name in differing if name not in _SHOWN])
    for run in runs:
        if run.error:
            click.echo(f"mxml: {printable(run.error)}", err=True)
    if any(run.error for run in runs):
        sys.exit(1)


def _print(runs: list[RunSummary], differing: list[str]) -> None:
    for line in table([_HEAD, *map(_row, runs)]):
        click.echo(line)
    whole = [run for run in runs if not run.error]
    if differing:
        click.echo()
        rows = [(cut(run.prefix), *(_text(run.settings.get(name)) for name in differing)) for run in whole]
        for line in table([("prefix", *differing), *rows]):
            click.echo(line)
    if len({run.lists.get("val") for run in whole}) > 1:
        click.echo("\nThe runs were validated on different lists: their metrics cannot be compared.")


def _row(run: RunSummary) -> tuple[str, ...]:
    if run.error:
        return (cut(run.prefix), "broken", *[""] * (len(_HEAD) - 2))
    settings = run.settings
    return (
        cut(run.prefix),
        run.state,
        _text(settings.get("network") or os.path.basename(str(settings.get("model", "")))),
        _text(settings.get("method")),
        f"{run.epochs}/{_text(run.all_epochs)}",
        _text(run.best_epoch),
        *(_metric(run.metrics.get(name)) for name in _METRICS),
        *(_text(settings.get(name)) for name in ("lr", "optimizer", "batch_size")),
        _text(settings.get("image_shape")),
        duration(run.seconds),
    )


def _metric(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _text(value: Any) -> str:
    return "-" if value in (None, "", []) else cut(as_text(value))
