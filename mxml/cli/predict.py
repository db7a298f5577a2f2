"""``mxml predict``."""

from __future__ import annotations

import json
from typing import Any

import click

from mxml.cli.options import load_classifier, merged_thresholds, model_options, threshold_option
from mxml.cli.wording import with_options
from mxml.errors import MxmlError
from mxml.inference.limits import UNLIKE
from mxml.progress import ConsoleProgress
from mxml.text import counted


@click.command(name="predict")
@click.argument("inputs", nargs=-1, metavar="[IMAGE | FOLDER | PATTERN]...")
@model_options
@click.option(
    "--top-k",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Best labels per image: of those over --threshold where it is given; 0 for all over the threshold.",
)
@threshold_option
@click.option(
    "--skip-bad", is_flag=True, help="Exit with 0 even if images cannot be read; they are reported either way."
)
@click.option(
    "--unlike",
    type=click.Choice(UNLIKE),
    help="Images unlike the training images: mark them, drop their labels, or do not look for them.  "
    "[default: mark, where the checkpoint describes its training images]",
)
@click.option("--save-img", metavar="DIR", help="Also draw each image with its labels into DIR/NAME_res.jpg.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, one per image.")
def command(
    inputs: tuple[str, ...],
    top_k: int,
    threshold: tuple[Any, ...],
    skip_bad: bool,
    unlike: str | None,
    save_img: str | None,
    as_json: bool,
    batch_size: int,
    decode_threads: int | None,
    **model: Any,
) -> None:
    """Tag images with a checkpoint: by default the images of the run's validation list."""
    from mxml.inference.drawing_folder import DrawingFolder

    with ConsoleProgress(wording=with_options) as progress:
        classifier = load_classifier(progress, **model)
        predictions = classifier.predict(
            inputs or None,
            threshold=merged_thresholds(threshold),
            top_k=top_k,
            batch_size=batch_size,
            threads=decode_threads,
            keep_pixels=save_img is not None,
            unlike=unlike,
            progress=progress,
        )
        drawings = None if save_img is None else DrawingFolder(save_img)
        read = bad = 0
        for prediction in predictions:
            if prediction.error is not None:
                bad += 1
                progress.note(f"left out, cannot be read: {prediction.path}: {prediction.error.reason}")
            else:
                read += 1
            with progress.bar_hidden():
                if as_json:
                    click.echo(json.dumps(prediction.to_dict(), ensure_ascii=False))
                elif prediction.error is None:
                    click.echo(str(prediction))
            if drawings is not None and prediction.error is None:
                prediction.save_to_img(drawings.location(prediction.path))
    if not read:
        raise MxmlError("no image could be read; the lines above say why")
    if bad and not skip_bad:
        raise MxmlError(
            f"{counted(bad, 'image')} of {read + bad:,} cannot be read; give --skip-bad for exit code 0 all the same"
        )
