"""``mxml compare``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mxml.cli.options import chosen_device, computing_options, list_options
from mxml.cli.tables import table
from mxml.cli.wording import with_options
from mxml.errors import SHOWN_FAULTS
from mxml.progress import ConsoleProgress
from mxml.text import cut, cut_path, printable

if TYPE_CHECKING:
    from mxml.inference.comparing import CheckpointComparison


@click.command(name="compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@list_options("the validation list of A's run")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with all images whose tags differ.")
@computing_options
def command(
    first: str,
    second: str,
    data: str | None,
    root: str | None,
    allow_absolute: bool,
    skip_bad: bool,
    as_json: bool,
    batch_size: int,
    decode_threads: int | None,
    device: str | None,
    gpus: str | None,
) -> None:
    """Compare two checkpoints on a list: is the difference more than noise?

    A and B are prefixes, or parameter files of one, such as runs/a-0003.params, which name an epoch. Each has its own
    preprocessing and thresholds; their labels have the same names. The 95 % intervals are of a paired bootstrap: both
    are judged on the same draws of images.
    """
    from mxml.inference.classifier import Classifier
    from mxml.inference.comparing import compare_checkpoints

    with ConsoleProgress(wording=with_options) as progress:
        models = []
        for name, prefix in (("A", first), ("B", second)):
            models.append(Classifier.load(prefix, device=chosen_device(device, gpus)))
            for note in models[-1].notes:
                progress.note(f"note: {name}: {note}")
        found = compare_checkpoints(
            models[0],
            models[1],
            data,
            root,
            batch_size=batch_size,
            threads=decode_threads,
            skip_bad=skip_bad,
            allow_absolute=allow_absolute,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    else:
        click.echo("\n".join(map(printable, _lines(found))))


def _lines(found: CheckpointComparison) -> list[str]:
    plain = found.to_dict()
    both = [f"{name}: {plain[name]['prefix']}, epoch {plain[name]['epoch']}" for name in "AB"]
    overall = [("", "A", "B", "B - A", "95 % interval")]
    overall += [(name, *_values(values)) for name, values in plain["metrics"].items()]
    labels = [("AP of label", "present", "A", "B", "B - A", "95 % interval")]
    labels += [(entry["name"], f"{entry['positives']:,}", *_values(entry["AP"])) for entry in plain["per_label"]]
    lines = [
        *both,
        f"{plain['images']:,} images of {plain['data']}",
        "",
        *table(overall),
        "",
        *table(labels),
        "",
        *found.remarks(),
    ]
    changed = plain["changed"]
    if changed:
        rows: list[tuple[str, ...]] = [("image", "only A", "only B", "labels", "right")]
        rows += [
            (
                cut_path(entry["path"]),
                *(cut(", ".join(entry[key])) or "-" for key in ("only_A", "only_B", "labels")),
                entry["right"] or "-",
            )
            for entry in changed[:SHOWN_FAULTS]
        ]
        lines += ["", *table(rows)]
    if len(changed) > SHOWN_FAULTS:
        lines.append(f"... and {len(changed) - SHOWN_FAULTS:,} more, which --json has")
    return lines


def _values(compared: dict[str, Any]) -> tuple[str, str, str, str]:
    difference = compared["difference"]
    interval = f"{_number(difference['low'], '+')} to {_number(difference['high'], '+')}"
    return _number(compared["A"]), _number(compared["B"]), _number(difference["value"], "+"), interval


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.4f}"
