"""``mxml predict``."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from mxml.cli.options import load_classifier, model_options

# Images scored before their results are printed: enough to keep the decoders busy, few enough to see results soon.
CHUNK = 1024


@click.command(name="predict")
@click.argument("inputs", nargs=-1, metavar="[IMAGE | FOLDER | PATTERN]...")
@model_options
@click.option(
    "--top-k",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Best labels an image; 0 for all over the threshold.",
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Threshold of every label.  [default: the checkpoint's]")
@click.option("--skip-bad", is_flag=True, help="Go on past images that cannot be read, and name them.")
@click.option("--save-img", metavar="DIR", help="Also draw each image with its labels into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, one an image.")
def command(
    inputs: tuple[str, ...],
    top_k: int,
    threshold: float | None,
    skip_bad: bool,
    save_img: str | None,
    as_json: bool,
    batch_size: int,
    threads: int | None,
    **model: Any,
) -> None:
    """Tag images with a checkpoint: by default the images of the run's validation list."""
    import numpy as np
    from tqdm import tqdm

    from mxml.errors import MxmlError
    from mxml.image_list import ImageList, read_lst
    from mxml.images import load
    from mxml.inputs import expand_inputs
    from mxml.results import ImagePrediction

    classifier = load_classifier(**model)
    if inputs:
        paths = expand_inputs(inputs)
    else:
        sidecar = classifier.checkpoint.sidecar
        source = sidecar.data.get("val") if sidecar else None
        if source is None:
            raise click.UsageError("this checkpoint names no validation list; name images, folders or patterns")
        listed = read_lst(source.list, source.root, classifier.num_classes, allow_absolute=True)
        paths = [listed.path(position) for position in range(len(listed))]
    if save_img is not None:
        try:
            os.makedirs(save_img, exist_ok=True)
        except OSError as error:
            raise MxmlError(f"{save_img}: cannot be made ({error.strerror})") from error
    thresholds = classifier.thresholds if threshold is None else threshold
    with tqdm(total=len(paths), desc="predicting", unit="img", leave=False, disable=None) as bar:
        for start in range(0, len(paths), CHUNK):
            chunk = paths[start : start + CHUNK]
            images = ImageList.from_rows(chunk, np.full((len(chunk), classifier.num_classes), -1, dtype=np.int8))
            scores = classifier.scores(
                images, batch_size=batch_size, skip_bad=skip_bad, decode_threads=threads, step=bar.update
            )
            unreadable = {image.position: image.reason for image in scores.bad}
            for position, path in enumerate(chunk):
                if position in unreadable:
                    tqdm.write(
                        f"left out, cannot be read: {path}: {unreadable[position]}",
                        file=click.get_text_stream("stderr"),
                    )
                    if as_json:
                        click.echo(json.dumps({"input_path": path, "error": unreadable[position]}))
                    continue
                prediction = ImagePrediction(path, classifier.labels, scores.probabilities[position], thresholds, top_k)
                with tqdm.external_write_mode():
                    click.echo(json.dumps(prediction.to_dict(), ensure_ascii=False) if as_json else str(prediction))
                if save_img is not None:
                    prediction.save_to_img(save_img, load(path))
