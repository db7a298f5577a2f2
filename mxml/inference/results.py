"""One image's prediction: which labels, as text, as JSON and drawn beside the image.

The JSON has the keys of PaddleX's multi-label pipeline, so that programs written for one read the other.
"""

from __future__ import annotations

import functools
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mxml import atomic
from mxml.errors import MxmlError
from mxml.text import printable

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

# A drawn image's longer side: enlarged up to the first, so that the text has room; reduced down to the second.
SHORTEST_DRAWING = 480
LONGEST_DRAWING = 1600
NARROWEST_PANEL = 360
MOST_ROWS = 20

_PANEL = (31, 41, 55)
_REACHED = (15, 118, 110)
_MISSED = (75, 85, 99)
_THRESHOLD = (251, 191, 36)
_INK = (255, 255, 255)


class Label(NamedTuple):
    """A label given to an image."""

    class_id: int
    name: str
    score: float


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """What the model says of one image.

    ``scores`` (C,) probabilities and ``label_names`` C names, in the model's order; ``thresholds`` one number or (C,).
    With ``top_k`` 0 the image gets every label whose score is at least its threshold, as many as there are; with
    ``top_k`` k it gets the k best, whatever their scores.
    """

    path: str
    label_names: tuple[str, ...]
    scores: np.ndarray
    thresholds: float | np.ndarray = 0.5
    top_k: int = 0

    def __post_init__(self) -> None:
        if np.shape(self.scores) != (len(self.label_names),):
            raise ValueError(f"{np.shape(self.scores)} scores do not fit {len(self.label_names)} label names")
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}; 0 means every label over its threshold")

    @property
    def labels(self) -> tuple[Label, ...]:
        """Return the labels that the image gets, best first; of equal scores the lower class first."""
        ranking = self._ranking()
        return tuple(ranking[: self.top_k] if self.top_k else (label for label in ranking if self._reached(label)))

    def __str__(self) -> str:
        """Return one line: the path, then names and scores, best first."""
        return f"{printable(self.path)}: {', '.join(map(_name_and_score, self.labels)) or self._nothing()}"

    def to_dict(self) -> dict[str, Any]:
        """Return PaddleX's record: input_path, page_index (None), class_ids, scores (5 decimals), label_names."""
        labels = self.labels
        return {
            "input_path": os.fsencode(self.path).decode("utf-8", "replace"),
            "page_index": None,
            "class_ids": [label.class_id for label in labels],
            "scores": [round(label.score, 5) for label in labels],
            "label_names": [label.name for label in labels],
        }

    def save_to_json(self, path: str | os.PathLike[str]) -> Path:
        """Write ``to_dict`` as indented UTF-8 JSON and return the file's path.

        ``path`` is the file if it ends in .json, else a folder, made where missing, that gets ``{name}_res.json``.
        """
        target = self._target(Path(path), (".json",))
        content = json.dumps(self.to_dict(), ensure_ascii=False, indent=4) + "\n"
        return _write(target, content.encode("utf-8"))

    def save_to_img(self, path: str | os.PathLike[str], image: np.ndarray) -> Path:
        """Write ``draw(image)`` as JPEG or PNG and return the file's path.

        ``path`` is the file if it ends in .jpg, .jpeg or .png, else a folder that gets ``{name}_res.jpg``.
        """
        from PIL import Image

        target = self._target(Path(path), (".jpg", ".jpeg", ".png"))
        content = io.BytesIO()
        drawing = Image.fromarray(self.draw(image))
        if target.suffix.lower() == ".png":
            drawing.save(content, "PNG")
        else:
            drawing.save(content, "JPEG", quality=92)
        return _write(target, content.getvalue())

    def draw(self, image: np.ndarray) -> np.ndarray:
        """Return ``image``, (H, W, 3) uint8 RGB, with a panel below it: a bar, a name and a score for each label.

        Bars below their threshold are grey; a mark on each bar shows the threshold. A small image is enlarged and a
        large one reduced, so that the text is readable; at most 20 labels are shown. Returns (H', W', 3) uint8 RGB.
        """
        from PIL import Image, ImageDraw

        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected an (H, W, 3) uint8 image, got {image.shape} {image.dtype}")
        picture = Image.fromarray(image)
        scale = min(max(1.0, SHORTEST_DRAWING / max(picture.size)), LONGEST_DRAWING / max(picture.size))
        if scale != 1:
            width, height = (max(1, round(side * scale)) for side in picture.size)
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        width = max(picture.width, NARROWEST_PANEL)
        rows = self._rows()
        font_size = min(max(width // 30, 15), 40)
        row_height = round(font_size * 1.8)
        canvas = Image.new("RGB", (width, picture.height + row_height * len(rows)), _PANEL)
        canvas.paste(picture, ((width - picture.width) // 2, 0))
        pen = ImageDraw.Draw(canvas)
        for number, row in enumerate(rows):
            row.draw(pen, picture.height + number * row_height, width, row_height, font_size)
        return np.asarray(canvas)

    def _rows(self) -> list[_Row]:
        labels = self.labels
        rows = [self._row(label) for label in labels[:MOST_ROWS]]
        if len(labels) > MOST_ROWS:
            rows.append(_Row(f"… and {len(labels) - MOST_ROWS:,} more"))
        if not labels:
            rows.append(_Row("no label reaches its threshold"))
            rows.extend(self._row(label) for label in self._ranking()[:1])
        return rows

    def _row(self, label: Label) -> _Row:
        return _Row(label.name, label.class_id, label.score, self._threshold(label), self._reached(label))

    def _ranking(self) -> list[Label]:
        order = np.argsort(-np.asarray(self.scores, dtype=np.float64), kind="stable")
        return [Label(int(index), self.label_names[index], float(self.scores[index])) for index in order]

    def _threshold(self, label: Label) -> float:
        return float(np.broadcast_to(self.thresholds, np.shape(self.scores))[label.class_id])

    def _reached(self, label: Label) -> bool:
        return label.score >= self._threshold(label)

    def _nothing(self) -> str:
        best = self._ranking()[:1]
        return f"no label reaches its threshold (best: {_name_and_score(best[0])})" if best else "no label"

    def _target(self, path: Path, suffixes: tuple[str, ...]) -> Path:
        if path.suffix.lower() in suffixes and not path.is_dir():
            return path
        return path / f"{Path(self.path).stem or 'image'}_res{suffixes[0]}"


@dataclass(frozen=True)
class _Row:
    """One line of the panel: a bar from the left edge (score 0) to the right edge (score 1), with text over it."""

    name: str
    class_id: int | None = None
    score: float | None = None
    threshold: float = 0.0
    reached: bool = False

    def draw(self, pen: ImageDraw.ImageDraw, top: int, width: int, height: int, font_size: int) -> None:
        padding = font_size // 2
        room = width - 2 * padding
        bottom = top + height - 3
        if self.score is not None:
            colour = _REACHED if self.reached else _MISSED
            pen.rectangle((0, top, max(2, round(width * self.score)), bottom), fill=colour)
            if 0 < self.threshold < 1:
                mark = round(width * self.threshold)
                pen.line((mark, top, mark, bottom), fill=_THRESHOLD, width=max(1, font_size // 12))
            figure = f"{self.score:.2f}"
            font = _font(figure, font_size)
            pen.text((width - padding, (top + bottom) // 2), figure, fill=_INK, font=font, anchor="rm")
            room -= round(font.getlength(figure)) + padding
        name = printable(self.name)
        found = _font(name, font_size)
        if found is None:
            # Boxes or question marks in place of a name would say nothing; its number can be looked up.
            name = f"class {self.class_id}"
        font = found or _font(name, font_size)
        pen.text((padding, (top + bottom) // 2), _shortened(name, font, room), fill=_INK, font=font, anchor="lm")


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"


def _font(text: str, size: int) -> Any:
    """Return a font that has every character of ``text``, or None if this machine has none."""
    from PIL import ImageFont

    path = _font_file(frozenset(text))
    return None if path is None else ImageFont.truetype(path, size)


@functools.lru_cache(maxsize=1024)
def _font_file(characters: frozenset[str]) -> str | None:
    """Look in matplotlib's own DejaVu Sans, which is always there, then in the machine's upright sans-serif fonts."""
    import matplotlib
    from matplotlib import font_manager

    own = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    if characters <= _coverage(own):
        return own
    entries = font_manager.fontManager.ttflist
    for entry in sorted(entries, key=lambda e: ("sans" not in e.name.lower(), e.style != "normal", str(e.weight))):
        # Last Resort has a box, the same for every letter of a script, where a glyph should be.
        if not entry.name.startswith("Last Resort") and characters <= _coverage(entry.fname):
            return str(entry.fname)
    return None


@functools.lru_cache(maxsize=256)
def _coverage(font_path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font
    from PIL import ImageFont

    try:
        ImageFont.truetype(font_path, 20)  # a bitmap font, of emoji for instance, has only sizes of its own
        return frozenset(map(chr, FT2Font(font_path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()


def _name_and_score(label: Label) -> str:
    return f"{printable(label.name)} {label.score:.2f}"


def _write(target: Path, content: bytes) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MxmlError(f"{target}: cannot be written: {error.strerror or error}") from error
    atomic.write_bytes(target, content)
    return target
