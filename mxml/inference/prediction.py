"""The prediction for one image: which labels it gets, as text, as JSON and drawn beside the image.

The JSON has the keys of PaddleX's multi-label pipeline, so that programs written for one read the other.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mxml import atomic
from mxml.errors import ImageError, StorageError
from mxml.images.drawing import Row, draw_panel
from mxml.text import printable

MOST_ROWS = 20


class Label(NamedTuple):
    """A label given to an image.

    Attributes
    ----------
    class_id : int
        Its column, from 0.
    name : str
        Its name.
    score : float
        Its probability, from 0 to 1.
    """

    class_id: int
    name: str
    score: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction for one image.

    Parameters
    ----------
    path : str
        The image's file; ``image 3`` for the fourth input where that is in memory.
    label_names : tuple of str
        The C names, in the model's order.
    scores : ndarray of shape (C,)
        Probabilities in [0, 1], float32. NaN where the image could not be read.
    thresholds : float or ndarray of shape (C,), default 0.5
        The lowest score at which an image gets a label.
    top_k : int, default 0
        The largest number of labels per image, the best ones; 0 for no limit.
    always_top_k : bool, default False
        Give the ``top_k`` best labels whatever their score. It has no effect where ``top_k`` is 0.
    error : ImageError, optional
        Why the image could not be read. It then has no labels.
    pixels : ndarray of shape (H, W, 3), optional
        The image as it was decoded, upright, uint8 in RGB order, where it was kept.
    """

    path: str
    label_names: tuple[str, ...]
    scores: np.ndarray
    thresholds: float | np.ndarray = 0.5
    top_k: int = 0
    always_top_k: bool = False
    error: ImageError | None = None
    pixels: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if np.shape(self.scores) != (len(self.label_names),):
            raise ValueError(f"{np.shape(self.scores)} scores do not fit {len(self.label_names)} label names")
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}; 0 means every label over its threshold")

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels that the image gets, best first; of equal scores the lower class first.

        Returns
        -------
        tuple of Label
            Each with ``class_id`` (its column), ``name`` and ``score``. Those whose score is at least its threshold, or
            all with ``always_top_k``; of these the ``top_k`` best.
        """
        if self.error is not None:
            return ()
        ranking = self._ranking()
        if not (self.top_k and self.always_top_k):
            ranking = [label for label in ranking if self._reached(label)]
        return tuple(ranking[: self.top_k] if self.top_k else ranking)

    def __str__(self) -> str:
        """Return one line: the path, then names and scores, best first. Names with a comma or a quote are quoted."""
        if self.error is not None:
            return printable(f"{self.path}: cannot be read: {self.error.reason}")
        return f"{printable(self.path)}: {', '.join(map(name_and_score, self.labels)) or self._nothing()}"

    def to_dict(self) -> dict[str, Any]:
        """Return PaddleX's record as JSON holds it.

        Returns
        -------
        dict
            ``input_path``, ``page_index`` (None), ``class_ids``, ``scores`` (rounded to 5 decimals) and
            ``label_names``, the last three in the same order, best first. For an image that could not be read only
            ``input_path`` and ``error``, which says why.
        """
        path = os.fsencode(self.path).decode("utf-8", "replace")
        if self.error is not None:
            return {"input_path": path, "error": self.error.reason}
        labels = self.labels
        return {
            "input_path": path,
            "page_index": None,
            "class_ids": [label.class_id for label in labels],
            "scores": [round(label.score, 5) for label in labels],
            "label_names": [label.name for label in labels],
        }

    def save_to_json(self, path: str | os.PathLike[str]) -> Path:
        """Write ``to_dict`` as indented UTF-8 JSON.

        Parameters
        ----------
        path : str or path-like
            The file if it ends in .json, else a folder, made where missing, that gets ``{name}_res.json``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        target = self._target(Path(path), (".json",))
        content = json.dumps(self.to_dict(), ensure_ascii=False, indent=4) + "\n"
        return _write(target, content.encode("utf-8"))

    def save_to_img(self, path: str | os.PathLike[str], image: np.ndarray | None = None) -> Path:
        """Write what ``draw`` returns as JPEG or PNG.

        Parameters
        ----------
        path : str or path-like
            The file if it ends in .jpg, .jpeg or .png, else a folder that gets ``{name}_res.jpg``.
        image : ndarray of shape (H, W, 3), optional
            As for ``draw``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        StorageError
            If it cannot be written.
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

    def draw(self, image: np.ndarray | None = None) -> np.ndarray:
        """Draw the image with a panel below it: a bar, a name and a score for each label, at most 20.

        Bars below their threshold are grey; a mark on each bar shows the threshold. A small image is enlarged and a
        large one reduced, so that the text is readable.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), optional
            The image, uint8 in RGB order; by default ``pixels``, which ``Classifier.predict`` keeps if it is asked to.

        Returns
        -------
        ndarray of shape (H', W', 3)
            The drawing, uint8 in RGB order.
        """
        if image is None:
            image = self.pixels
        if image is None:
            raise ValueError("there is no image to draw on: give one as `image`, or call predict with keep_pixels=True")
        return draw_panel(image, self._rows())

    def _rows(self) -> list[Row]:
        labels = self.labels
        rows = [self._row(label) for label in labels[:MOST_ROWS]]
        if len(labels) > MOST_ROWS:
            rows.append(Row(f"… and {len(labels) - MOST_ROWS:,} more"))
        if not labels:
            rows.append(Row("no label reaches its threshold"))
            rows.extend(self._row(label) for label in self._ranking()[:1])
        return rows

    def _row(self, label: Label) -> Row:
        # A name that no font has is replaced by its number, which can be looked up.
        threshold = self._threshold(label)
        return Row(label.name, f"class {label.class_id}", label.score, threshold, self._reached(label))

    def _ranking(self) -> list[Label]:
        order = np.argsort(-np.asarray(self.scores, dtype=np.float64), kind="stable")
        return [Label(int(index), self.label_names[index], float(self.scores[index])) for index in order]

    def _threshold(self, label: Label) -> float:
        return float(np.broadcast_to(self.thresholds, np.shape(self.scores))[label.class_id])

    def _reached(self, label: Label) -> bool:
        return label.score >= self._threshold(label)

    def _nothing(self) -> str:
        best = self._ranking()[:1]
        return f"no label reaches its threshold (best: {name_and_score(best[0])})" if best else "no label"

    def _target(self, path: Path, suffixes: tuple[str, ...]) -> Path:
        if path.suffix.lower() in suffixes and not path.is_dir():
            return path
        if path.exists() and not path.is_dir():
            raise StorageError(f"{path}: is a file; should end in {' or '.join(suffixes)}, or be a folder")
        return path / result_name(self.path, suffixes[0])


def result_name(path: str, suffix: str, number: int = 1, kind: str = "res") -> str:
    """Return what a file about the image at ``path`` is called: NAME_res.jpg, and from the second on NAME_2_res.jpg.

    ``kind`` says what it is.
    """
    stem = Path(path).stem or "image"
    return f"{stem}_{kind}{suffix}" if number == 1 else f"{stem}_{number}_{kind}{suffix}"


def name_and_score(label: Label) -> str:
    """Return a label as one word of a line, and its score."""
    # A comma in a name would look like the one between two labels.
    name = json.dumps(label.name, ensure_ascii=False) if "," in label.name or '"' in label.name else label.name
    return f"{printable(name)} {label.score:.2f}"


def _write(target: Path, content: bytes) -> Path:
    atomic.make_folder(target.parent)
    atomic.write_bytes(target, content)
    return target
