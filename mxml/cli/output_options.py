"""The options that say how predictions are written, and where."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, Union

import click

from mxml.progress import ConsoleProgress

if TYPE_CHECKING:
    from mxml.inference.classifier import Classifier
    from mxml.inference.results.result_file import ResultFile
    from mxml.inference.results.rows import LineStream, RowStream

    Output = Union[ResultFile, RowStream, LineStream]

Command = TypeVar("Command", bound=Callable[..., Any])


def output_options(command: Command) -> Command:
    """Add the options whose values ``OutputOptions`` takes."""
    options = (
        click.option("--json", "--jsonl", "as_json", is_flag=True, help="Print one JSON object per line and image."),
        click.option(
            "--csv",
            "as_csv",
            is_flag=True,
            help="Print a table: path, labels, error, scores of all labels.",
        ),
        click.option(
            "--scores", is_flag=True, help="Give the scores of all labels, also of those that an image does not get."
        ),
        click.option(
            "--out",
            metavar="FILE",
            help="Write to FILE instead: .jsonl for one JSON object per line, .json for one array, or .csv.",
        ),
        click.option(
            "--resume", is_flag=True, help="Continue the file of --out: predict only the images that it does not hold."
        ),
        click.option(
            "--force",
            is_flag=True,
            help="Replace --out, --contact-sheet, --save-video and NAME_%i.jpg if they exist.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class OutputOptions:
    """The values of ``output_options``. Raises UsageError where they do not fit each other."""

    as_json: bool
    as_csv: bool
    scores: bool
    out: str | None
    resume: bool
    force: bool

    def __post_init__(self) -> None:
        if self.as_json and self.as_csv:
            raise click.UsageError("--json and --csv: give only one of them")
        if self.resume and self.force:
            raise click.UsageError("--resume continues a file and --force replaces it; give only one of them")
        if self.resume and not self.out:
            raise click.UsageError("--resume is about the file of --out, which is missing")

    def open(
        self,
        classifier: Classifier,
        given: Mapping[str, Any],
        part: str | None,
        batch_size: int,
        progress: ConsoleProgress,
    ) -> Output:
        """Return what predictions are written to; ``given`` are the settings that change them."""
        from mxml.inference.results.layouts import layout
        from mxml.inference.results.rows import LineStream, RowStream
        from mxml.inference.results.terminal import AlignedLines

        def write(text: str) -> None:
            with progress.bar_hidden():
                click.echo(text, nl=False)

        if self.out:
            return self._open_file(self.out, classifier, given, part, progress)
        if self.as_json or self.as_csv:
            kind = "csv" if self.as_csv else "jsonl"
            marks = classifier.tells_unlike(given.get("unlike"))
            return RowStream(write, layout(kind, classifier.label_names, self.scores, marks))
        aligned = AlignedLines(classifier.label_names) if sys.stdout.isatty() else None
        return LineStream(write, aligned=aligned, batch_size=batch_size, with_scores=self.scores)

    def _open_file(
        self,
        out: str,
        classifier: Classifier,
        given: Mapping[str, Any],
        part: str | None,
        progress: ConsoleProgress,
    ) -> ResultFile:
        from mxml.inference.results.layouts import layout
        from mxml.inference.results.made_with import MadeWith
        from mxml.inference.results.result_file import ResultFile, layout_name

        kind = layout_name(out)
        if (self.as_json and kind == "csv") or (self.as_csv and kind != "csv"):
            raise click.UsageError(f"--out {out} is {kind.upper()}, as its ending says; leave out the other format")
        made_with = MadeWith.of(classifier, **given, layout=kind, scores=self.scores, part=part)
        rows = layout(kind, classifier.label_names, self.scores, classifier.tells_unlike(given.get("unlike")))
        return ResultFile(out, rows, made_with, resume=self.resume, replace=self.force, progress=progress)
