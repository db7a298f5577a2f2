"""``mxml tune``."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mxml import atomic
from mxml.cli.options import chosen_device, computing_options, list_options
from mxml.cli.tables import table
from mxml.cli.wording import with_options
from mxml.progress import ConsoleProgress
from mxml.text import printable

if TYPE_CHECKING:
    from mxml.inference.tuning import TuningResult
    from mxml.model.tuning_record import TuningRecord

_OF_RESET = ("prefix", "reset", "dry_run", "as_json")


@click.command(name="tune")
@click.option(
    "--prefix", required=True, metavar="PREFIX", help="The checkpoint, as given to mxml train, or a file of it."
)
@click.option("--epoch", type=click.IntRange(min=0), help="The epoch that is tuned.  [default: the best]")
@list_options("the run's validation list")
@click.option(
    "--objective",
    default="f1",
    show_default=True,
    metavar="f1|f-beta=B|precision=P|recall=R",
    help="What thresholds are chosen for: the highest F1 or F-beta, the highest recall with at least that precision, "
    "or the highest precision with at least that recall.",
)
@click.option(
    "--calibrate",
    type=click.Choice(["temperature", "platt"]),
    help="Calibrate the scores, too: by one temperature, or by a slope and an intercept per label. Left out where it "
    "helps on no other images.",
)
@click.option(
    "--min-support",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="A label that fewer images have, or lack, takes the threshold that is best for all labels.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--reset", is_flag=True, help="Remove what an earlier tuning has written.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@computing_options
@click.pass_context
def command(
    context: click.Context,
    prefix: str,
    epoch: int | None,
    data: str | None,
    root: str | None,
    objective: str,
    calibrate: str | None,
    min_support: int,
    dry_run: bool,
    reset: bool,
    as_json: bool,
    allow_absolute: bool,
    skip_bad: bool,
    batch_size: int,
    decode_threads: int | None,
    device: str | None,
    gpus: str | None,
) -> None:
    """Choose one threshold per label on held-out images, and keep them beside the checkpoint.

    A label gets a threshold of its own only as far as cross-validation supports it. What is gained is told for images
    on which nothing was chosen (cross-fitting). mxml predict and mxml evaluate then use the thresholds for the epoch
    that was tuned; --threshold still wins.
    """
    if reset:
        _reset(context, prefix, dry_run, as_json)
        return
    from mxml.inference.classifier import Classifier
    from mxml.inference.tuning_remarks import described, remarks
    from mxml.model.run_files import RunFiles
    from mxml.model.saved_tuning import require_sidecar

    with ConsoleProgress(wording=with_options) as progress:
        classifier = Classifier.load(prefix, epoch, device=chosen_device(device, gpus))
        if not dry_run:
            require_sidecar(classifier.checkpoint.prefix, classifier.checkpoint.sidecar)
            atomic.require_place(RunFiles(classifier.checkpoint.prefix).sidecar)
        result = classifier.tune(
            data,
            root,
            objective=objective,
            calibrate=calibrate,
            min_support=min_support,
            batch_size=batch_size,
            threads=decode_threads,
            skip_bad=skip_bad,
            allow_absolute=allow_absolute,
            progress=progress,
        )
        sidecar = classifier.checkpoint.sidecar
        saved = not dry_run and not result.changes_nothing
        if not saved:
            replaced = None if sidecar is None else sidecar.tuning
        else:
            replaced = classifier.save_tuning(result, progress)
    if as_json:
        click.echo(json.dumps({**result.to_dict(), "saved": saved, "replaced": _as_dict(replaced)}))
        return
    lines = [*_tables(result), "", *map(with_options, remarks(result)), ""]
    path = RunFiles(classifier.checkpoint.prefix).sidecar
    if result.changes_nothing:
        done = f"Nothing was written: {path} has these thresholds"
    else:
        done = "Nothing was written (--dry-run)" if dry_run else f"Thresholds written to {path}"
    if replaced is not None:
        done += f", {'in place of' if saved else 'and has'} {described(replaced)}"
    click.echo("\n".join([*map(printable, lines), printable(f"{done}.")]))


def _reset(context: click.Context, prefix: str, dry_run: bool, as_json: bool) -> None:
    from mxml.inference.tuning_remarks import described
    from mxml.model.run_files import RunFiles
    from mxml.model.saved_tuning import read_tuning, remove_tuning

    for name in context.params:
        if name not in _OF_RESET and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(with_options(f"`{name}` has no meaning with --reset"))
    with ConsoleProgress(wording=with_options) as progress:
        removed = read_tuning(prefix) if dry_run else remove_tuning(prefix, progress)
    if as_json:
        click.echo(json.dumps({"removed": _as_dict(removed), "saved": not dry_run}))
        return
    path = RunFiles(RunFiles.parse(prefix)[0].prefix).sidecar
    if removed is None:
        click.echo(printable(f"{path}: has no tuned thresholds"))
    else:
        click.echo(printable(f"{path}: {'would lose' if dry_run else 'has lost'} {described(removed)}"))


def _as_dict(record: TuningRecord | None) -> dict[str, Any] | None:
    return None if record is None else dataclasses.asdict(record)


_OVERALL = (
    ("F", "mean F"),
    ("CF1", "CF1"),
    ("OF1", "OF1"),
    ("CP", "class precision"),
    ("CR", "class recall"),
    ("OP", "overall precision"),
    ("OR", "overall recall"),
    ("loss", "cross-entropy"),
)


def _tables(result: TuningResult) -> list[str]:
    found = result.to_dict()
    objective = result.tuning.objective
    judged = objective.kind if objective.is_target else "F1"
    labels = [
        (
            "label",
            "present",
            "threshold",
            "precision",
            "after",
            "recall",
            "after",
            "F1",
            "after",
            f"cross-fitted {judged}",
        )
    ]
    for entry in found["per_label"]:
        shares = [_number(entry[when][name]) for name in ("precision", "recall", "F1") for when in ("before", "after")]
        last = _number(entry["cross_fitted"][judged])
        labels.append((entry["name"], f"{entry['positives']:,}", f"{entry['threshold']:.4f}", *shares, last))
    overall: list[tuple[str, ...]] = [("", "before", "after", "cross-fitted", "gain", "95 % interval")]
    for name, text in _OVERALL:
        gain = found["gain"].get(name)
        told = ("", "")
        if gain is not None:
            told = (f"{gain['value']:+.4f}", f"{_number(gain['low'], '+')} to {_number(gain['high'], '+')}")
        overall.append((text, *(_number(found[when].get(name)) for when in ("before", "after", "cross_fitted")), *told))
    head = f"{found['images']:,} images of {found['data']}, epoch {found['epoch']}, for {found['objective']}"
    return [head, "", *table(labels), "", *table(overall)]


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.4f}"
