"""``mxml predict``."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mxml.cli.image_bar import open_bar
from mxml.cli.options import Threshold, load_classifier, model_options, unreadable_images_named
from mxml.errors import MxmlError
from mxml.text import printable

if TYPE_CHECKING:
    from mxml.inference.classifier import Classifier

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
@click.option("--threshold", type=Threshold(), help="Threshold of every label.  [default: the checkpoint's]")
@click.option("--skip-bad", is_flag=True, help="Go on past images that cannot be read, and name them.")
@click.option("--save-img", metavar="DIR", help="Also draw each image with its labels, as DIR/NAME_res.jpg.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, one an image.")
def command(
    inputs: tuple[str, ...],
    top_k: int,
    threshold: float | None,
    skip_bad: bool,
    save_img: str | None,
    as_json: bool,
    batch_size: int,
    decode_threads: int | None,
    **model: Any,
) -> None:
    """Tag images with a checkpoint: by default the images of the run's validation list."""
    import numpy as np
    from tqdm import tqdm

    from mxml.data.image_list import ImageList
    from mxml.images.decode import load
    from mxml.inference.inputs import expand_inputs
    from mxml.inference.results import ImagePrediction

    classifier = load_classifier(**model)
    paths = expand_inputs(inputs) if inputs else _validation_images(classifier)
    drawings = None if save_img is None else _Drawings(save_img)
    thresholds = classifier.thresholds if threshold is None else threshold
    read = 0
    with open_bar("predicting", len(paths)) as bar:
        for start in range(0, len(paths), CHUNK):
            chunk = paths[start : start + CHUNK]
            images = ImageList.from_rows(chunk, np.full((len(chunk), classifier.num_classes), -1, dtype=np.int8))
            with unreadable_images_named():
                scores = classifier.scores(
                    images, batch_size=batch_size, skip_bad=skip_bad, decode_threads=decode_threads, step=bar.update
                )
            read += int(scores.readable.sum())
            reasons = {image.position: image.reason for image in scores.bad}
            for position, path in enumerate(chunk):
                if position in reasons:
                    with tqdm.external_write_mode():
                        _report_bad(path, reasons[position], as_json)
                    continue
                prediction = ImagePrediction(
                    path, classifier.label_names, scores.probabilities[position], thresholds, top_k
                )
                with tqdm.external_write_mode():
                    click.echo(json.dumps(prediction.to_dict(), ensure_ascii=False) if as_json else str(prediction))
                if drawings is not None:
                    prediction.save_to_img(drawings.place(path), load(path))
    if not read:
        raise MxmlError("no image could be read; the lines above say why")


def _validation_images(classifier: Classifier) -> list[str]:
    from mxml.data.lst_file import read_lst

    sidecar = classifier.checkpoint.sidecar
    source = sidecar.data.get("val") if sidecar else None
    if sidecar is None or source is None:
        raise click.UsageError("this checkpoint names no validation list; name images, folders or patterns")
    allow_absolute = sidecar.config.get("allow_absolute") is True
    listed = read_lst(source.path, source.root, classifier.num_classes, allow_absolute=allow_absolute)
    return [listed.path(position) for position in range(len(listed))]


def _report_bad(path: str, reason: str, as_json: bool) -> None:
    click.echo(printable(f"left out, cannot be read: {path}: {reason}"), err=True)
    if as_json:
        name = os.fsencode(path).decode("utf-8", "replace")  # as ImagePrediction writes it
        click.echo(json.dumps({"input_path": name, "error": reason}, ensure_ascii=False))


class _Drawings:
    """The files in one folder that drawn images go to, one each: images in different folders may have the same name."""

    def __init__(self, folder: str):
        self._folder = folder
        self._names: Counter[str] = Counter()
        self._taken: set[str] = set()
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise MxmlError(f"{folder}: cannot be made ({error.strerror}); choose another --save-img") from error

    def place(self, path: str) -> str:
        """Return NAME_res.jpg in the folder; where an earlier image has it, NAME_2_res.jpg and so on."""
        stem = Path(path).stem or "image"
        name = ""
        while not name or name in self._taken:
            self._names[stem] += 1
            count = self._names[stem]
            name = f"{stem}_res.jpg" if count == 1 else f"{stem}_{count}_res.jpg"
        self._taken.add(name)
        return os.path.join(self._folder, name)
