"""``mxml check``: what is wrong with lists and their images, and what their labels look like."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mxml.cli.image_bar import image_bar
from mxml.cli.options import Text
from mxml.errors import MxmlError
from mxml.text import printable

if TYPE_CHECKING:
    import numpy as np

    from mxml.prepare.check import CheckReport
    from mxml.prepare.label_statistics import LabelStatistics

_SHOWN_LABELS = 30
_SHOWN_COUNTS = 12
_SHOWN_EXAMPLES = 5
_LONGEST_LABEL = 40


@click.command("check")
@click.argument("lists", nargs=-1, required=True, metavar="LST...")
@click.option(
    "--root",
    "roots",
    default=("images",),
    multiple=True,
    metavar="DIR",
    help="Folder that the paths are under; once for all lists, or once for each, in their order.  [default: images]",
)
@click.option("--labels", metavar="FILE", help="Label names, one a line.  [default: labels.txt beside the first list]")
@click.option("--allow-absolute", is_flag=True, help="Let lists name images by absolute paths or outside the root.")
@click.option("--decode-threads", type=click.IntRange(1, 256), help="Decoding threads.  [default: physical cores]")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--html", type=Text("FILE"), help="Write a page with pictures: samples, duplicates, charts.")
@click.option(
    "--fix",
    "fixed",
    type=Text("OUT.lst"),
    multiple=True,
    help="Write the list without what is broken; once for each list, in their order.",
)
def command(
    lists: tuple[str, ...],
    roots: tuple[str, ...],
    labels: str | None,
    allow_absolute: bool,
    decode_threads: int | None,
    as_json: bool,
    html: str | None,
    fixed: tuple[str, ...],
) -> None:
    """Say what is wrong with lists and their images, and what their labels look like.

    Opens every image that the lists name. The first list is the one to train on; the others are compared with it.
    Exits with 1 where training would stop or do without images, for faulty lines and images that cannot be read, also
    when --fix writes lists without them; with 0 where there are at most warnings.
    """
    if len(roots) not in (1, len(lists)):
        raise click.UsageError(
            f"--root is given {_times(len(roots))} for {_counted(len(lists), 'list')}; give it once for all lists, "
            "or once for each"
        )
    _check_outputs([*lists, labels or _labels_beside(lists[0])], lists, fixed, html)

    from mxml.prepare.check import check_lists

    with image_bar("checking") as progress:
        report = check_lists(
            lists,
            roots if len(roots) > 1 else roots[0],
            labels,
            allow_absolute=allow_absolute,
            threads=decode_threads,
            progress=progress,
        )
    written = _write_fixed(report, fixed)
    if html:
        from mxml import atomic
        from mxml.prepare.check_page import format_page

        _make_folder_of(html)
        atomic.write_text(html, format_page(report))
    if as_json:
        click.echo(json.dumps({**report.to_dict(), "fixed": written, "html": html}, allow_nan=False))
    else:
        click.echo("\n".join(map(printable, _lines(report, written, html))))
    if report.errors:
        click.get_current_context().exit(1)


def _check_outputs(inputs: Sequence[str], lists: Sequence[str], fixed: Sequence[str], html: str | None) -> None:
    """Refuse, before images are opened, what could not be written in the end or would replace an input."""
    if fixed and len(fixed) != len(lists):
        raise click.UsageError(
            f"--fix is given {_times(len(fixed))} for {_counted(len(lists), 'list')}; give it once for each"
        )
    taken = {os.path.realpath(path): path for path in [*inputs, *map(_labels_beside, fixed)]}
    for out in [*fixed, *([html] if html else [])]:
        if os.path.realpath(out) in taken:
            raise click.UsageError(f"{out} would be written over {taken[os.path.realpath(out)]}; give it another name")
        taken[os.path.realpath(out)] = out
        if os.path.isdir(out):
            raise MxmlError(f"{out}: cannot be written: is a folder, should be a file")
        nearest = next(place for place in Path(out).absolute().parents if os.path.exists(place))
        if not nearest.is_dir():
            raise MxmlError(f"{out}: cannot be written: {nearest} is a file, should be a folder")


def _labels_beside(path: str) -> str:
    return os.path.join(os.path.dirname(path), "labels.txt")


def _write_fixed(report: CheckReport, fixed: Sequence[str]) -> list[dict[str, Any]]:
    """Write each list without what is broken, and the label names beside it where there are none; say what was done."""
    from mxml.data.label_names import write_label_names
    from mxml.data.lst_file import write_lst

    written = []
    for out, checked in zip(fixed, report.lists):
        images = checked.fixed()
        names = None
        if len(images):
            _make_folder_of(out)
            write_lst(out, images)
            if report.labels_file is not None:
                beside = _labels_beside(out)
                names = _state_of_names(beside, report.label_names)
                if names == "written":
                    write_label_names(beside, report.label_names)
        written.append(
            {
                "list": checked.path,
                "out": out,
                "images": len(images),
                "left_out": checked.broken_lines,
                "label_names": names,
            }
        )
    return written


def _state_of_names(path: str, label_names: Sequence[str]) -> str:
    """Say of a file of label names whether it has these (``there``), has others, or is still to be written."""
    from mxml.data.label_names import read_label_names

    if not os.path.lexists(path):
        return "written"
    try:
        return "there" if read_label_names(path) == list(label_names) else "others"
    except MxmlError:
        return "others"


def _make_folder_of(path: str) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MxmlError(f"{path}: cannot be written: {error.strerror or error}") from error


# ---- the report as text


def _lines(report: CheckReport, written: Sequence[dict[str, Any]], html: str | None) -> list[str]:
    heads = _short_names([checked.path for checked in report.lists])
    statistics = report.statistics
    lines = _table(
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
            f"{_counted(len(statistics.absent_pairs), 'pair')} of labels in no image together; --json names them"
        )
    lines += ["", *_guessing_table(statistics, heads)]
    for severity, findings in (("error", report.errors), ("warning", report.warnings)):
        for kind, same in itertools.groupby(findings, key=lambda finding: finding.kind):
            lines += ["", *_finding_lines(severity, kind, [finding.text for finding in same])]
    lines.append("")
    for fix in written:
        total = fix["images"] + fix["left_out"]
        if fix["images"]:
            lines.append(f"{fix['out']}: written without {fix['left_out']:,} of {_counted(total, 'line')}")
        else:
            lines.append(f"{fix['out']}: not written, none of the {_counted(total, 'line')} is good")
        beside = _labels_beside(fix["out"])
        if fix["label_names"] == "written":
            lines.append(f"{beside}: written, the label names of {report.labels_file}")
        elif fix["label_names"] == "others":
            lines.append(
                f"{beside}: has other label names; to train on {fix['out']}, give mxml train "
                f"--labels {report.labels_file}"
            )
    if html:
        lines.append(f"{html}: written")
    lines.append(_verdict(report, fixed=any(fix["images"] for fix in written)))
    return lines


def _label_table(statistics: LabelStatistics, heads: Sequence[str]) -> list[str]:
    order = list(range(len(statistics.label_names)))
    hidden = len(order) - _SHOWN_LABELS
    if hidden > 0:
        order = sorted(order, key=lambda column: -statistics.lists[0].present[column])[:_SHOWN_LABELS]
    unknown = any(counted.unknown.any() for counted in statistics.lists)
    rows = [["label", *itertools.chain(*([head, "share"] for head in heads)), "pos_weight"]]
    for column in order:
        row = [_cut(statistics.label_names[column])]
        for counted in statistics.lists:
            row += [f"{counted.present[column]:,}", _figure(counted.shares[column], ".1%")]
        rows.append([*row, _figure(statistics.pos_weight[column], ".2f")])
    lines = _table(rows)
    if hidden > 0:
        lines.append(f"... and {_counted(hidden, 'label')} that occur less often; --json has all")
    lines.append(
        f"pos_weight: images without the label for each with it in {heads[0]}, as PyTorch's BCEWithLogitsLoss takes it"
    )
    if unknown:
        lines.append(
            "unknown labels, counted nowhere: "
            + ", ".join(f"{head} {int(counted.unknown.sum()):,}" for head, counted in zip(heads, statistics.lists))
        )
    return lines


def _count_table(statistics: LabelStatistics, heads: Sequence[str]) -> list[str]:
    counts = [counted.label_counts.tolist() for counted in statistics.lists]
    longest = max(map(len, counts))
    rows = [["labels an image", *heads]]
    for labels in range(min(longest, _SHOWN_COUNTS)):
        rows.append([str(labels), *(f"{own[labels]:,}" if labels < len(own) else "0" for own in counts)])
    if longest > _SHOWN_COUNTS:
        rows.append([f"{_SHOWN_COUNTS} and more", *(f"{sum(own[_SHOWN_COUNTS:]):,}" for own in counts)])
    return _table(rows)


def _guessing_table(statistics: LabelStatistics, heads: Sequence[str]) -> list[str]:
    guesses = [counted.guessing for counted in statistics.lists]
    rows = [
        ["guessing by frequency", *heads],
        ["mAP", *(_figure(guess.mAP, ".3f") for guess in guesses)],
        ["Hamming loss", *(_figure(guess.hamming, ".3f") for guess in guesses)],
        ["element accuracy", *(_figure(guess.element_accuracy, ".3f") for guess in guesses)],
    ]
    # The list that a model is judged on, where there is one.
    head, guess = list(zip(heads, guesses))[:2][-1]
    lines = _table(rows)
    if guess.element_accuracy > guess.mAP:
        lines.append(
            f"guessing already has element accuracy {guess.element_accuracy:.3f} on {head}, but mAP {guess.mAP:.3f}: "
            "judge a model by mAP"
        )
    return lines


def _finding_lines(severity: str, kind: str, texts: Sequence[str]) -> list[str]:
    from mxml.prepare.findings import ERRORS, WARNINGS

    about = {**ERRORS, **WARNINGS}[kind]
    lines = [f"{severity}: {about} ({kind}, {len(texts):,})", *(f"  {text}" for text in texts[:_SHOWN_EXAMPLES])]
    if len(texts) > _SHOWN_EXAMPLES:
        lines.append(f"  ... and {len(texts) - _SHOWN_EXAMPLES:,} more; --json has all")
    return lines


def _verdict(report: CheckReport, fixed: bool) -> str:
    warnings = _counted(len(report.warnings), "warning")
    if report.errors:
        if fixed:
            remedy = "train on what --fix wrote"
        elif any(not checked.usable.any() for checked in report.lists):
            remedy = "mend them"
        else:
            remedy = "mend them, or let --fix OUT.lst write each list without them"
        return (
            f"{_counted(len(report.errors), 'error')}, {warnings}: training would stop at these or do without; {remedy}"
        )
    if report.warnings:
        return f"no errors, {warnings}: the lists can be trained on; look at the warnings first"
    return "no errors, no warnings: the lists can be trained on"


# ---- pieces of text


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows with their columns aligned, the first to the left and the others to the right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join([f"{row[0]:{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:]))]).rstrip()
        for row in rows
    ]


def _short_names(paths: Sequence[str]) -> list[str]:
    """Return the lists' file names, or their paths where two have the same."""
    names = [os.path.basename(path) for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def _cut(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 3]}..."


def _figure(value: float | np.floating[Any], form: str) -> str:
    return "-" if value != value else f"{value:{form}}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"
