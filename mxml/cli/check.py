"""``mxml check``: what is wrong with lists and their images, and what their labels look like."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mxml.cli.options import decode_threads_option
from mxml.cli.tables import cut_name, table
from mxml.cli.types import Text
from mxml.cli.wording import with_options
from mxml.progress import ConsoleProgress
from mxml.text import counted, printable

if TYPE_CHECKING:
    import numpy as np

    from mxml.prepare.check import CheckReport
    from mxml.prepare.fixed_lists import FixedList
    from mxml.prepare.label_statistics import LabelStatistics

_SHOWN_LABELS = 30
_SHOWN_COUNTS = 12
_SHOWN_EXAMPLES = 5
GUESSED_WELL = "compare models by mAP"
"""What is said where guessing has a high element accuracy."""


@click.command("check")
@click.argument("lists", nargs=-1, required=True, metavar="LST...")
@click.option(
    "--root",
    multiple=True,
    metavar="DIR",
    help="Image folder. Give it once for all lists, or once per list in the same order.  "
    "[default: as lists.json beside a list says, else images or the list's folder]",
)
@click.option(
    "--labels", metavar="FILE", help="Label names, one per line.  [default: labels.txt beside the first list]"
)
@click.option(
    "--allow-absolute", is_flag=True, help="Allow lists to name images by absolute paths or outside the image folder."
)
@decode_threads_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--html", type=Text("FILE"), help="Write a page with pictures: samples, duplicates, charts.")
@click.option(
    "--fix",
    "fixed",
    type=Text("OUT.lst"),
    multiple=True,
    help="Write the list without broken lines and images. Give it once per list, in the same order.",
)
def command(
    lists: tuple[str, ...],
    root: tuple[str, ...],
    labels: str | None,
    allow_absolute: bool,
    decode_threads: int | None,
    as_json: bool,
    html: str | None,
    fixed: tuple[str, ...],
) -> None:
    """Report what is wrong with lists and their images, and describe their labels.

    Opens every image that the lists name; a .rec file is checked in place, as a list of its records. The first list is
    the one to train on; the others are compared with it. Exits with 1 if there are errors, that is faulty lines and
    images that cannot be read, which training would skip or stop at; also when --fix writes lists without them. Exits
    with 0 if there are only warnings.
    """
    from mxml.prepare.check import check_lists
    from mxml.prepare.fixed_lists import require_outputs, write_fixed

    require_outputs(lists, labels, fixed, html)
    with ConsoleProgress(wording=with_options) as progress:
        report = check_lists(
            lists, root or None, labels, allow_absolute=allow_absolute, threads=decode_threads, progress=progress
        )
        written = write_fixed(report, fixed)
        if html:
            from mxml.prepare.check_page import write_page

            write_page(report, html, progress)
    if as_json:
        fixes = [fix.to_dict() for fix in written]
        click.echo(json.dumps({**report.to_dict(), "fixed": fixes, "html": html}, allow_nan=False))
    else:
        click.echo("\n".join(map(printable, _lines(report, written, html))))
    if report.errors:
        click.get_current_context().exit(1)


# ---- the report as text


def _lines(report: CheckReport, written: Sequence[FixedList], html: str | None) -> list[str]:
    heads = _short_names([checked.path for checked in report.lists])
    statistics = report.statistics
    lines = table(
        [
            ["list", "images", "faulty lines", "broken images"],
            *(
                [
                    checked.path,
                    f"{len(checked.images):,}",
                    f"{checked.line_fault_count:,}",
                    f"{int((~checked.usable).sum()):,}",
                ]
                for checked in report.lists
            ),
        ]
    )
    lines += ["", *_label_table(statistics, heads), "", *_count_table(statistics, heads)]
    if len(statistics.absent_pairs):
        lines.append(
            f"{counted(len(statistics.absent_pairs), 'pair')} of labels in no image together; --json lists them"
        )
    lines += ["", *_guessing_table(statistics, heads)]
    for severity, findings in (("error", report.errors), ("warning", report.warnings)):
        for kind, same in itertools.groupby(findings, key=lambda finding: finding.kind):
            lines += ["", *_finding_lines(severity, kind, [finding.text for finding in same])]
    lines.append("")
    for fix in written:
        lines += _fix_lines(fix, report.labels_file)
    if html:
        lines.append(f"{html}: written")
    lines.append(_verdict(report, fixed=any(fix.images for fix in written)))
    return lines


def _label_table(statistics: LabelStatistics, heads: Sequence[str]) -> list[str]:
    order = list(range(len(statistics.label_names)))
    hidden = len(order) - _SHOWN_LABELS
    if hidden > 0:
        order = sorted(order, key=lambda column: -statistics.lists[0].present[column])[:_SHOWN_LABELS]
    unknown = any(stats.unknown.any() for stats in statistics.lists)
    rows = [["label", *itertools.chain(*([head, "share"] for head in heads)), "pos_weight"]]
    for column in order:
        row = [cut_name(statistics.label_names[column])]
        for stats in statistics.lists:
            row += [f"{stats.present[column]:,}", _number(stats.shares[column], ".1%")]
        rows.append([*row, _number(statistics.pos_weight[column], ".2f")])
    lines = table(rows)
    if hidden > 0:
        lines.append(f"... and {counted(hidden, 'label')} that occur less often; --json has all")
    lines.append(
        f"pos_weight: images without the label for each with it in {heads[0]}, as PyTorch's BCEWithLogitsLoss takes it"
    )
    if unknown:
        lines.append(
            "unknown labels (not counted): "
            + ", ".join(f"{head} {int(stats.unknown.sum()):,}" for head, stats in zip(heads, statistics.lists))
        )
    return lines


def _count_table(statistics: LabelStatistics, heads: Sequence[str]) -> list[str]:
    counts = [stats.label_counts.tolist() for stats in statistics.lists]
    longest = max(map(len, counts))
    rows = [["labels per image", *heads]]
    for labels in range(min(longest, _SHOWN_COUNTS)):
        rows.append([str(labels), *(f"{column[labels]:,}" if labels < len(column) else "0" for column in counts)])
    if longest > _SHOWN_COUNTS:
        rows.append([f"{_SHOWN_COUNTS} and more", *(f"{sum(column[_SHOWN_COUNTS:]):,}" for column in counts)])
    return table(rows)


def _guessing_table(statistics: LabelStatistics, heads: Sequence[str]) -> list[str]:
    guesses = [stats.guessing for stats in statistics.lists]
    rows = [
        ["guessing by frequency", *heads],
        ["mAP", *(_number(guess.mAP, ".3f") for guess in guesses)],
        ["Hamming loss", *(_number(guess.hamming, ".3f") for guess in guesses)],
        ["element accuracy", *(_number(guess.element_accuracy, ".3f") for guess in guesses)],
    ]
    # The list that a model is evaluated on, where there is one.
    head, guess = list(zip(heads, guesses))[:2][-1]
    lines = table(rows)
    if guess.element_accuracy > guess.mAP:
        lines.append(
            f"guessing already has element accuracy {guess.element_accuracy:.3f} on {head}, but mAP {guess.mAP:.3f}: "
            + GUESSED_WELL
        )
    return lines


def _finding_lines(severity: str, kind: str, texts: Sequence[str]) -> list[str]:
    from mxml.prepare.findings import ERRORS, WARNINGS

    about = {**ERRORS, **WARNINGS}[kind]
    lines = [f"{severity}: {about} ({kind}, {len(texts):,})", *(f"  {text}" for text in texts[:_SHOWN_EXAMPLES])]
    if len(texts) > _SHOWN_EXAMPLES:
        lines.append(f"  ... and {len(texts) - _SHOWN_EXAMPLES:,} more; --json has all")
    return lines


def _fix_lines(fix: FixedList, labels_file: str | None) -> list[str]:
    from mxml.data.label_names import label_names_file
    from mxml.data.list_root import RECORD

    total = counted(fix.images + fix.left_out, "line")
    if not fix.images:
        return [f"{fix.out}: not written, no good line among the {total}"]
    lines = [f"{fix.out}: written without {fix.left_out:,} of {total}"]
    beside = label_names_file(fix.out)
    if fix.label_names == "written":
        lines.append(f"{beside}: written, the label names of {labels_file}")
    elif fix.label_names == "others":
        lines.append(f"{beside}: has other label names; to train on {fix.out}, give mxml train --labels {labels_file}")
    if fix.root_recorded:
        lines.append(f"{os.path.join(os.path.dirname(fix.out), RECORD)}: written, the image folder of {fix.path}")
    return lines


def _verdict(report: CheckReport, fixed: bool) -> str:
    warnings = counted(len(report.warnings), "warning")
    if report.errors:
        if fixed:
            remedy = "train on what --fix wrote"
        elif any(not checked.usable.any() for checked in report.lists):
            remedy = "correct them"
        else:
            remedy = "correct them, or let --fix OUT.lst write each list without them"
        return (
            f"{counted(len(report.errors), 'error')}, {warnings}: training would stop at these or skip them; {remedy}"
        )
    if report.warnings:
        return f"no errors, {warnings}: the lists can be trained on; look at the warnings first"
    return "no errors, no warnings: the lists can be trained on"


# ---- pieces of text


def _short_names(paths: Sequence[str]) -> list[str]:
    """Return the lists' file names, or their paths where two have the same."""
    names = [os.path.basename(path) for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def _number(value: float | np.floating[Any], spec: str) -> str:
    return "-" if value != value else f"{value:{spec}}"
