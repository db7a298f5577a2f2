"""Predictions written to a stream: rows of a layout, or lines for a person.

``write`` of each class takes a prediction; as context managers they write what they still hold.
"""

from __future__ import annotations

from types import TracebackType
from typing import Callable

from mxml.inference.prediction import Prediction
from mxml.inference.results.layouts import Layout
from mxml.inference.results.terminal import AlignedLines, line_with_scores


class _Stream:
    """What was written before, as a ``ResultFile`` has it: nothing."""

    held = (0, 0)

    def holds(self, path: str) -> bool:
        return False


Write = Callable[[str], None]
"""Writes a text that ends with a line end."""


class RowStream(_Stream):
    """Writes the rows of a layout, each as its prediction comes."""

    def __init__(self, write: Write, layout: Layout):
        self._write = write
        self._layout = layout
        self._first = True

    def write(self, prediction: Prediction) -> None:
        """Write the row of one image."""
        self._write(self._layout.row(prediction, self._first))
        self._first = False

    def __enter__(self) -> RowStream:
        if self._layout.head:
            self._write(self._layout.head)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._layout.tail and error is None:
            self._write(self._layout.tail)


class LineStream(_Stream):
    """Writes one line per image that could be read, each as its prediction comes.

    With ``with_scores`` a line has the scores of all labels. With ``aligned`` the lines of ``batch_size`` images are
    written together, with their columns below each other: predictions come in batches, so that nobody waits for it.
    """

    def __init__(
        self, write: Write, *, aligned: AlignedLines | None = None, batch_size: int = 1, with_scores: bool = False
    ):
        self._write = write
        self._aligned = aligned
        self._batch_size = batch_size
        self._with_scores = with_scores
        self._held: list[Prediction] = []

    def write(self, prediction: Prediction) -> None:
        """Write the line of one image, or keep it until its batch is complete."""
        if self._aligned is not None and not self._with_scores:
            self._held.append(prediction)
            if len(self._held) >= self._batch_size:
                self._write_held(self._aligned)
        elif prediction.error is None:
            self._write(f"{line_with_scores(prediction) if self._with_scores else prediction}\n")

    def __enter__(self) -> LineStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._aligned is not None:
            self._write_held(self._aligned)

    def _write_held(self, aligned: AlignedLines) -> None:
        held, self._held = self._held, []
        text = "".join(f"{line}\n" for line in aligned.lines(held))
        if text:
            self._write(text)
