"""``mxml evaluate``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mxml.cli.options import load_classifier, merged_thresholds, model_options, threshold_option, tta_option
from mxml.cli.tables import cut_name, table
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
@tta_option
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
    tta: tuple[str, ...],
    allow_absolute: bool,
    skip_bad: bool,
    as_json: bool,
    html: str | None,
    batch_size: int,
    decode_threads: int | None,
    **model: Any,
) -> None:
    """Evaluate a checkpoint on a list: mAP, F1, Hamming loss, ranking metrics and metrics per label.

    Beside a metric stand its 95 % interval, which says how much it depends on the images that happen to be in the list,
    and the baseline: what giving every image the labels' frequencies would reach. Of a checkpoint of single labels the
    accuracy is shown. --json has more metrics.
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
            tta=tta,
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
        click.echo("\n".join([*report(evaluation), "", *_closing_lines(evaluation.label_errors(), html)]))


_SHOWN = (
    ("mAP", "mAP"),
    ("mAP_11point", "mAP, 11 points"),
    ("CF1", "CF1"),
    ("OF1", "OF1"),
    ("CP", "class precision"),
    ("CR", "class recall"),
    ("OP", "overall precision"),
    ("OR", "overall recall"),
    ("CF1_top3", "CF1, top 3"),
    ("OF1_top3", "OF1, top 3"),
    ("hamming", "Hamming loss"),
    ("element_accuracy", "element accuracy"),
    ("subset_accuracy", "exact match"),
    ("ranking_loss", "ranking loss"),
    ("coverage", "coverage"),
    ("one_error", "one-error"),
    ("lrap", "label ranking AP"),
    ("ECE", "calibration error"),
    ("loss", "cross-entropy"),
)
# The others are about labels that are decided one by one.
_SHOWN_SINGLE = (
    ("accuracy", "accuracy"), ("mAP", "mAP"), ("CF1", "CF1"), ("lrap", "label ranking AP"), *_SHOWN[-2:]
)  # fmt: skip
_TOP = 3
_SHOWN_LABELS = 30


def report(evaluation: Evaluation) -> list[str]:
    """Return the lines that are printed: the metrics, then the labels, of very many those of the lowest AP."""
    found = evaluation.to_dict()
    lines = [counted(found["samples"], "image")]
    resamples = found["intervals"]["resamples"]
    if resamples:
        lines[0] += f"; intervals from {resamples:,} resamples of them"
    return [*lines, "", *_metrics_table(found), "", *_label_table(found["per_class"])]


def _metrics_table(found: dict[str, Any]) -> list[str]:
    shown = _SHOWN if found["accuracy"] is None else _SHOWN_SINGLE
    # Of no more labels, all that are predicted are among the best.
    few = len(found["per_class"]) <= _TOP
    rows = [("metric", "value", "95 % interval", "baseline")]
    for name, text in shown:
        if few and name.endswith("_top3"):
            continue
        interval, baseline = found["intervals"].get(name), found["baseline"][name]
        rows.append((text, _number(found[name]), _interval(interval), _number(baseline)))
    return table(rows)


def _label_table(per_class: list[dict[str, Any]]) -> list[str]:
    shown = per_class
    hidden = len(per_class) - _SHOWN_LABELS
    if hidden > 0:
        shown = sorted(per_class, key=lambda entry: math.inf if entry["AP"] is None else entry["AP"])[:_SHOWN_LABELS]
    head = ("label", "present", "predicted", "AP", "95 % interval", "baseline", "precision", "recall", "F1", "ECE")
    rows: list[tuple[str, ...]] = [head]
    for entry in shown:
        APs = (_number(entry["AP"]), _interval(entry["AP_interval"]), _number(entry["AP_baseline"]))
        others = (_number(entry[name]) for name in ("precision", "recall", "F1", "ECE"))
        rows.append((cut_name(entry["name"]), f"{entry['positives']:,}", f"{entry['predicted']:,}", *APs, *others))
    lines = table(rows)
    if hidden > 0:
        lines.append(f"... and {counted(hidden, 'label')} of no lower AP; --json has all")
    return lines


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


def _interval(ends: list[float] | None) -> str:
    return "-" if ends is None else f"({ends[0]:.3f} to {ends[1]:.3f})"
