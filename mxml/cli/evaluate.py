"""``mxml evaluate``."""

from __future__ import annotations

import json
from typing import Any

import click

from mxml.cli.image_bar import open_bar
from mxml.cli.options import Threshold, load_classifier, model_options, unreadable_images_named
from mxml.errors import MxmlError
from mxml.text import printable


@click.command(name="evaluate")
@model_options
@click.option("--data", metavar="LST", help="The list to judge on.  [default: the run's validation list]")
@click.option("--root", metavar="DIR", help="Folder that its paths are under.  [default: the run's, for its own list]")
@click.option("--threshold", type=Threshold(), help="Threshold of every label.  [default: the checkpoint's]")
@click.option("--allow-absolute", is_flag=True, help="Let the list name images by absolute paths or outside its root.")
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read, and name them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    data: str | None,
    root: str | None,
    threshold: float | None,
    allow_absolute: bool,
    skip_bad: bool,
    as_json: bool,
    batch_size: int,
    decode_threads: int | None,
    **model: Any,
) -> None:
    """Judge a checkpoint on a list: mAP, F1s, Hamming, ranking figures and each label's own."""
    from mxml.data.lst_file import read_lst
    from mxml.inference.metrics import multilabel_metrics

    classifier = load_classifier(**model)
    sidecar = classifier.checkpoint.sidecar
    source = sidecar.data.get("val") if sidecar else None
    if data is None:
        if sidecar is None or source is None:
            raise click.UsageError("this checkpoint names no validation list; give --data LST --root DIR")
        data, root = source.path, root if root is not None else source.root
        allow_absolute = allow_absolute or sidecar.config.get("allow_absolute") is True
    elif root is None:
        raise click.UsageError("--data needs --root, the folder that the list's paths are under")
    images = read_lst(data, root or "", classifier.num_classes, allow_absolute=allow_absolute)
    with open_bar("evaluating", len(images)) as bar, unreadable_images_named():
        scores = classifier.scores(
            images, batch_size=batch_size, skip_bad=skip_bad, decode_threads=decode_threads, step=bar.update
        )
    for image in scores.bad:
        click.echo(printable(f"left out, cannot be read: {image.path}: {image.reason}"), err=True)
    readable = scores.readable
    if not readable.any():
        raise MxmlError(f"{data}: none of its images can be read")
    thresholds = classifier.thresholds if threshold is None else threshold
    judged = multilabel_metrics(
        scores.probabilities[readable], images.labels[readable], thresholds, logits=scores.logits[readable]
    ).to_dict()
    for figures in judged["per_class"]:
        figures["name"] = classifier.label_names[figures["index"]]
    if as_json:
        loaded = classifier.checkpoint
        click.echo(
            json.dumps({"prefix": loaded.prefix, "epoch": loaded.epoch, "data": data, "bad": len(scores.bad), **judged})
        )
        return
    _print(judged)


_FIGURES = (
    ("mAP", "mAP"),
    ("CF1", "CF1"),
    ("OF1", "OF1"),
    ("CP", "class precision"),
    ("CR", "class recall"),
    ("OP", "overall precision"),
    ("OR", "overall recall"),
    ("hamming", "Hamming loss"),
    ("element_accuracy", "element accuracy"),
    ("subset_accuracy", "subset accuracy"),
    ("ranking_loss", "ranking loss"),
    ("coverage", "coverage"),
    ("lrap", "label ranking AP"),
    ("loss", "cross-entropy"),
)


def _print(judged: dict[str, Any]) -> None:
    click.echo(f"{judged['samples']:,} images")
    for name, text in _FIGURES:
        click.echo(f"{text:18} {_number(judged[name])}")
    names = [printable(figures["name"]) for figures in judged["per_class"]]
    width = max(len("label"), *map(len, names))
    click.echo(f"\n{'label':{width}}  present  predicted      AP  precision  recall      F1")
    for name, figures in zip(names, judged["per_class"]):
        click.echo(
            f"{name:{width}}  {figures['positives']:7}  {figures['predicted']:9}"
            f"  {_number(figures['AP']):>6}  {_number(figures['precision']):>9}"
            f"  {_number(figures['recall']):>6}  {_number(figures['F1']):>6}"
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
