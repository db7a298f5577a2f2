"""``mxml explain``."""

from __future__ import annotations

import json
from typing import Any

import click

from mxml.cli.options import load_classifier, merged_thresholds, model_options, threshold_option
from mxml.cli.wording import with_options
from mxml.errors import MxmlError
from mxml.progress import ConsoleProgress
from mxml.text import counted, printable


@click.command(name="explain")
@click.argument("inputs", nargs=-1, required=True, metavar="(IMAGE | FOLDER | PATTERN)...")
@model_options
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME",
    help="A label to explain in every image; may be given several times.  [default: those that the image gets]",
)
@click.option(
    "--top-k",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Best labels per image: of those over --threshold where it is given; 0 for all over the threshold.",
)
@threshold_option
@click.option("--out", default="explained", show_default=True, metavar="DIR", help="Where NAME_explained.jpg goes.")
@click.option(
    "--skip-bad", is_flag=True, help="Exit with 0 even if images cannot be read; they are reported either way."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object per line, one per image: of each label where its map is largest, and its hottest part.",
)
def command(
    inputs: tuple[str, ...],
    labels: tuple[str, ...],
    top_k: int,
    threshold: tuple[Any, ...],
    out: str,
    skip_bad: bool,
    as_json: bool,
    batch_size: int,
    decode_threads: int | None,
    **model: Any,
) -> None:
    """Draw why images get their labels: how much each place of an image speaks for each label.

    One sheet per image: the image itself, then for each label a map over it, which is scaled by itself. Where the
    network's scores are sums over its last layers, as they are in networks that mxml has trained, these are class
    activation maps, and exact; otherwise Grad-CAM. What is dark grey the network did not see.
    """
    from mxml.inference.drawing_folder import DrawingFolder

    with ConsoleProgress(wording=with_options) as progress:
        classifier = load_classifier(progress, **model)
        explanations = classifier.explain(
            inputs,
            labels=labels or None,
            threshold=merged_thresholds(threshold),
            top_k=top_k,
            batch_size=batch_size,
            threads=decode_threads,
            progress=progress,
        )
        drawings = DrawingFolder(out, "explained")
        read = bad = 0
        for explanation in explanations:
            record = explanation.to_dict()
            if explanation.error is not None:
                bad += 1
                progress.note(f"left out, cannot be read: {explanation.path}: {explanation.error.reason}")
                line = ""
            else:
                read += 1
                file = explanation.save(drawings.location(explanation.path, explanation.prediction.frame))
                record["file"] = str(file)
                line = f"{explanation} -> {printable(str(file))}"
            with progress.bar_hidden():
                if as_json:
                    click.echo(json.dumps(record, ensure_ascii=False))
                elif line:
                    click.echo(line)
    if not read:
        raise MxmlError("no image could be read; the lines above say why")
    if bad and not skip_bad:
        raise MxmlError(
            f"{counted(bad, 'image')} of {read + bad:,} cannot be read; give --skip-bad for exit code 0 all the same"
        )
