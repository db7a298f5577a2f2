"""``mxml evaluate``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mxml.cli.options import load_classifier, merged_thresholds, model_options, threshold_option
from mxml.cli.tables import table
from mxml.cli.types import Text
from mxml.cli.wording import with_options
from mxml.errors import SHOWN_FAULTS
from mxml.progress import ConsoleProgress
from mxml.text import counted, printable

if TYPE_CHECKING:
    from mxml.evaluation.evaluation import Evaluation
    from mxml.evaluation.label_errors import LabelError


@click.command(name="evaluate")
@model_options
@click.option(
    "--data", metavar="LST", help="The list, or .rec file, to evaluate on.  [default: the run's validation list]"
)
@click.option(
    "--root",
    metavar="DIR",
    help="Image folder of the list.  "
    "[default: the sidecar's, else as lists.json says, else images or the list's folder]",
)
@threshold_option
@click.option(
    "--allow-absolute",
    is_flag=True,
    help="Allow the list to name images by absolute paths or outside its image folder.",
)
@click.option(
    "--skip-bad",
    is_flag=True,
    help="Leave out images that cannot be read, and report them. Of the run's own list, as large a share as training "
    "allowed is left out without it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--html",
    type=Text("FILE"),
    help="Write a page with curves, confusions, pictures of mistakes and labels that are likely wrong in the list.",
)
def command(
    data: str | None,
    root: str | None,
    threshold: tuple[Any, ...],
    allow_absolute: bool,
    skip_bad: bool,
    as_json: bool,
    html: str | None,
    batch_size: int,
    decode_threads: int | None,
    **model: Any,
) -> None:
    """Evaluate a checkpoint on a list: mAP, F1, Hamming loss, ranking metrics and metrics per label.

    Of a checkpoint of single labels the accuracy is shown.
    """
    if html:
        from mxml.pages.page import require_page

        require_page(html)
    with ConsoleProgress(wording=with_options) as progress:
        evaluation = load_classifier(progress, **model).evaluate(
            data,
            root,
            threshold=merged_thresholds(threshold),
            batch_size=batch_size,
            threads=decode_threads,
            skip_bad=skip_bad,
            allow_absolute=allow_absolute,
            progress=progress,
        )
        for image in evaluation.bad[:SHOWN_FAULTS]:
            progress.note(f"left out, cannot be read: {image.path}: {image.reason}")
        if len(evaluation.bad) > SHOWN_FAULTS:
            progress.note(f"images left out because they cannot be read: {len(evaluation.bad):,}")
        if html:
            from mxml.evaluation.evaluation_page import write_page

            write_page(evaluation, html, progress)
    if as_json:
        click.echo(json.dumps(evaluation.to_dict()))
    else:
        _print(evaluation)
        click.echo("\n".join(["", *_closing_lines(evaluation.label_errors(), html)]))


_SHOWN = (
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
# The others are about labels that are decided one by one.
_SHOWN_SINGLE = (("accuracy", "accuracy"), ("mAP", "mAP"), ("CF1", "CF1"), ("lrap", "label ranking AP"), _SHOWN[-1])


def _print(evaluation: Evaluation) -> None:
    metrics = evaluation.to_dict()
    click.echo(f"{metrics['samples']:,} images")
    shown = _SHOWN if metrics["accuracy"] is None else _SHOWN_SINGLE
    overall = [(text, _number(metrics[name])) for name, text in shown]
    rows = [("label", "present", "predicted", "AP", "precision", "recall", "F1")]
    for entry in metrics["per_class"]:
        shares = (_number(entry[name]) for name in ("AP", "precision", "recall", "F1"))
        rows.append((entry["name"], f"{entry['positives']:,}", f"{entry['predicted']:,}", *shares))
    click.echo("\n".join([*table(overall), "", *table(rows)]))


def _closing_lines(errors: Sequence[LabelError], html: str | None) -> list[str]:
    """Say how many labels of the list may be wrong, and where they are to be seen."""
    if errors:
        images = counted(len({error.position for error in errors}), "image")
        where = "" if html else "; --html FILE shows them, --json lists them"
        lines = [f"{counted(len(errors), 'label')} of the list may be wrong, in {images}{where}"]
    else:
        lines = ["no label of the list looks wrong"]
    return [*lines, f"{printable(html)}: written"] if html else lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
