"""``mxml sort``: photographs into folders by their labels."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

import click

from mxml.cli.options import load_classifier, merged_thresholds, model_options, threshold_option
from mxml.cli.wording import with_options
from mxml.inference.limits import UNLIKE
from mxml.progress import ConsoleProgress
from mxml.text import counted, printable, shown


def _undo(context: click.Context, _: click.Parameter, folder: str | None) -> None:
    if folder is None or context.resilient_parsing:
        return
    from mxml.inference.sorting_record import undo

    count, left = undo(folder)
    for line in left:
        click.echo(printable(line), err=True)
    click.echo(f"{counted(count, 'file')} taken back, {len(left):,} left")
    context.exit()


@click.command(name="sort")
@click.argument("inputs", nargs=-1, required=True, metavar="IMAGE | FOLDER | PATTERN...")
@model_options
@click.option("--to", required=True, metavar="DIR", help="The folder in which each label's folder is made.")
@click.option("--copy", "action", flag_value="copy", help="Copy images into the folder of each label.  [default]")
@click.option("--link", "action", flag_value="link", help="The same with hard links, which take no space.")
@click.option("--move", "action", flag_value="move", help="Move each image into the folder of its best label.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option(
    "--undo",
    metavar="DIR",
    is_eager=True,
    expose_value=False,
    callback=_undo,
    help="Take back what DIR/sorted.csv says was sorted into DIR, and exit; no other option is needed.",
)
@click.option(
    "--top-k",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Best labels per image: of those over --threshold where it is given; 0 for all over the threshold.",
)
@threshold_option
@click.option(
    "--unlike",
    type=click.Choice(UNLIKE),
    help="Images unlike the training images: put them into DIR/_unlike and mark or drop their labels, or sort them by "
    "their labels (off).  [default: mark, where the checkpoint describes its training images]",
)
@click.option("--skip-bad", is_flag=True, help="Exit with 0 even if images cannot be sorted; they stay in any case.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line and image.")
def command(
    inputs: tuple[str, ...],
    to: str,
    action: str | None,
    dry_run: bool,
    top_k: int,
    threshold: tuple[Any, ...],
    unlike: str | None,
    skip_bad: bool,
    as_json: bool,
    batch_size: int,
    decode_threads: int | None,
    **model: Any,
) -> None:
    """Sort photographs into folders by their labels: DIR/LABEL/NAME, and DIR/_none/NAME without a label.

    Where the checkpoint describes its training images, images unlike them go to DIR/_unlike/NAME.
    No file is replaced: NAME becomes NAME_2 where another image has it, and an image that is there stays as it is.
    DIR/sorted.csv records what went where.
    """
    from mxml.inference.results.tally import Tally
    from mxml.inference.sorting import Sorter, require_files

    require_files(inputs)
    inside = 0
    sorted_into: Counter[str] = Counter()

    def skip(path: str) -> bool:
        nonlocal inside
        is_inside = sorter.is_inside(path)
        inside += is_inside
        return is_inside

    with ConsoleProgress(wording=with_options) as progress:
        classifier = load_classifier(progress, **model)
        tally = Tally()
        predictions = classifier.predict(
            inputs,
            threshold=merged_thresholds(threshold),
            top_k=top_k,
            unlike=unlike,
            batch_size=batch_size,
            threads=decode_threads,
            skip=skip,
            progress=progress,
        )
        sorter = Sorter(to, classifier.label_names, action or "copy", dry_run=dry_run)
        for prediction in predictions:
            fault = prediction.error.reason if prediction.error else sorter.refusal(prediction)
            tally.add(not fault)
            record = prediction.to_dict()
            if fault:
                progress.note(f"left where it is: {prediction.path}: {fault}")
                record["error"] = fault
            else:
                record["to"] = [target for target, _ in sorter.sort(prediction)]
                sorted_into.update(map(os.path.dirname, record["to"]))
            with progress.bar_hidden():
                if as_json:
                    click.echo(json.dumps(record, ensure_ascii=False))
                elif not fault:
                    targets = ", ".join(os.path.join(to, target) for target in record["to"])
                    click.echo(f"{printable(prediction.path)} -> {printable(targets)}")
        if inside:
            there = counted(inside, "image")
            progress.note(f"{there} in {to} already, and not sorted again; `to` names another folder")
        if sorted_into:
            folders = shown([f"{count:,} in {name}" for name, count in sorted_into.most_common()])
            verb = " would be sorted" if dry_run else " sorted"
            progress.note(f"{counted(tally.read, 'image')}{verb} into {to}: {folders}")
    tally.check(skip_bad)
