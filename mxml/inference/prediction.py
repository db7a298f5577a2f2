"""The prediction for one image: which labels it gets, as text, as JSON and drawn beside the image.

The JSON has the keys of PaddleX's multi-label pipeline, so that programs written for one read the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mxml import atomic
from mxml.errors import ImageError, StorageError
from mxml.images.drawing import draw_panel
from mxml.images.picture_file import SUFFIXES as PICTURES
from mxml.images.picture_file import encoded
from mxml.inference.prediction_html import prediction_html
from mxml.inference.prediction_rows import UNLIKE, prediction_rows
from mxml.text import as_word, printable

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_STEM_BYTES = 200
# Less is 0.00 with two decimals.
_SMALL = 0.005


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
class Prediction(Mapping[str, Any]):
    """The prediction for one image; also a mapping, with the keys and values of ``to_dict``.

    ``prediction["label_names"]`` has the labels that the image gets, and ``prediction.label_names`` all of the model.

    Parameters
    ----------
    path : str
        The image's file, or its video's; a URL, without user and password; ``image 3`` for the fourth input where that
        is in memory.
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
    frame : int, optional
        The number of the frame in its video, from 0; None for other images.
    seconds : float, optional
        The time of that frame in its video, or since a camera's first frame.
    distance : float, optional
        How far the image is from the training images; None where that is not known. Above 1 it is ``unlike`` them.
    is_dropped : bool, default False
        Give an image no labels where it is ``unlike`` the training images.
    """

    path: str
    label_names: tuple[str, ...]
    scores: np.ndarray
    thresholds: float | np.ndarray = 0.5
    top_k: int = 0
    always_top_k: bool = False
    error: ImageError | None = None
    pixels: np.ndarray | None = field(default=None, repr=False)
    frame: int | None = None
    seconds: float | None = None
    distance: float | None = None
    is_dropped: bool = False

    def __post_init__(self) -> None:
        if np.shape(self.scores) != (len(self.label_names),):
            raise ValueError(f"{np.shape(self.scores)} scores do not fit {len(self.label_names)} label names")
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}; 0 means every label over its threshold")

    @property
    def unlike(self) -> bool | None:
        """Whether the image is unlike the training images, so that its scores say little.

        Returns
        -------
        bool or None
            None where it is not known.
        """
        return None if self.distance is None else self.distance > 1

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels that the image gets, best first; of equal scores the lower class first.

        Returns
        -------
        tuple of Label
            Each with ``class_id`` (its column), ``name`` and ``score``. Those whose score is at least its threshold, or
            all with ``always_top_k``; of these the ``top_k`` best. None for an image that is dropped.
        """
        if self.error is not None or (self.is_dropped and self.unlike):
            return ()
        # A model may have thousands of labels, of which an image gets a few: only for these are there objects.
        if self.top_k and self.always_top_k:
            columns = np.arange(len(self.label_names))
        else:
            columns = np.flatnonzero(np.asarray(self.scores, dtype=np.float64) >= self.thresholds)
        return self._ranked(columns, self.top_k or None)

    @property
    def best(self) -> Label | None:
        """The label with the highest score, whatever its threshold; None for a model without labels."""
        return next(iter(self._ranked(np.arange(len(self.label_names)), 1)), None)

    @property
    def ranking(self) -> tuple[Label, ...]:
        """All C labels, whatever their thresholds, best first; of equal scores the lower class first."""
        return self._ranked(np.arange(len(self.label_names)), None)

    def _ranked(self, columns: np.ndarray, most: int | None) -> tuple[Label, ...]:
        """Return the labels of these ascending columns, best first, at most so many."""
        scores = np.asarray(self.scores, dtype=np.float64)[columns]
        order = np.argsort(-scores, kind="stable")[:most]
        return tuple(
            Label(column, self.label_names[column], score)
            for column, score in zip(columns[order].tolist(), scores[order].tolist())
        )

    def threshold_of(self, label: Label) -> float:
        """Return the lowest score at which an image gets this label."""
        return float(self.thresholds if np.ndim(self.thresholds) == 0 else np.asarray(self.thresholds)[label.class_id])

    def reaches(self, label: Label) -> bool:
        """Say whether the label's score is at least its threshold."""
        return label.score >= self.threshold_of(label)

    def __getitem__(self, key: str) -> Any:
        """Return one value of ``to_dict``."""
        return self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

    # A mapping would compare and not hash; two predictions with the same labels need not be the same.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def called(self) -> str:
        """What messages call the image: its path, and of a frame its number, such as ``clip.mp4#50``."""
        return self.path if self.frame is None else f"{self.path}#{self.frame}"

    def __str__(self) -> str:
        """Return one line: the path, then names and scores, best first. Names with a comma or a quote are quoted.

        Frame 50 of a video is called ``clip.mp4#50``.
        """
        name = printable(self.called)
        if self.error is not None:
            return printable(f"{name}: cannot be read: {self.error.reason}")
        if self.unlike and self.is_dropped:
            return f"{name}: {UNLIKE}"
        found = ", ".join(map(name_and_score, self.labels)) or self._nothing()
        return f"{name}: {found}{f'; {UNLIKE}' if self.unlike else ''}"

    def to_dict(self) -> dict[str, Any]:
        """Return PaddleX's record as JSON holds it.

        Returns
        -------
        dict
            ``input_path``, ``page_index`` (None), ``class_ids``, ``scores`` (rounded to 5 decimals) and
            ``label_names``, the last three in the same order, best first. Where it is known also ``unlike`` and
            ``distance`` (rounded to 5 decimals). An image that could not be read has empty lists, and ``error``,
            which says why. A frame of a video also has ``frame`` and ``seconds``.
        """
        source: dict[str, Any] = {"input_path": os.fsencode(self.path).decode("utf-8", "replace")}
        if self.frame is not None:
            source |= {"frame": self.frame, "seconds": self.seconds}
        labels = self.labels
        return {
            **source,
            "page_index": None,
            "class_ids": [label.class_id for label in labels],
            "scores": [round(label.score, 5) for label in labels],
            "label_names": [label.name for label in labels],
            **({} if self.distance is None else {"unlike": self.unlike, "distance": round(self.distance, 5)}),
            **({} if self.error is None else {"error": self.error.reason}),
        }

    @property
    def json(self) -> dict[str, Any]:
        """``to_dict`` as PaddleX 3 has it: the value of the one key ``res``."""
        return {"res": self.to_dict()}

    @property
    def img(self) -> dict[str, Image]:
        """What ``draw`` returns as PaddleX 3 has it: an image of Pillow, the value of the one key ``res``."""
        from PIL import Image

        return {"res": Image.fromarray(self.draw())}

    def print(self, format_json: bool = True, indent: int = 4, ensure_ascii: bool = False) -> None:
        """Print ``to_dict`` on stdout.

        Parameters
        ----------
        format_json : bool, default True
            As indented JSON; otherwise as Python shows a dict, in one line.
        indent : int, default 4
            Spaces per level of the JSON.
        ensure_ascii : bool, default False
            Escape all that is not ASCII. What could drive a terminal is always escaped, and so is what stdout's
            encoding lacks.
        """
        record = self.to_dict()
        if format_json:
            lines = json.dumps(record, ensure_ascii=ensure_ascii, indent=indent).split("\n")
            text = "\n".join("".join(map(_json_letter, line)) for line in lines)
        else:
            text = ascii(record) if ensure_ascii else repr(record)
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")

    def save_to_json(self, path: str | os.PathLike[str], indent: int = 4, ensure_ascii: bool = False) -> Path:
        """Write ``to_dict`` as JSON in UTF-8.

        Parameters
        ----------
        path : str or path-like
            The file if it ends in .json, else a folder, made where missing, that gets ``{name}_res.json``.
        indent : int, default 4
            Spaces per level.
        ensure_ascii : bool, default False
            Escape all that is not ASCII.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        target = self._target(Path(path), ".json", (".json",))
        content = json.dumps(self.to_dict(), ensure_ascii=ensure_ascii, indent=indent) + "\n"
        return _write(target, content.encode("utf-8"))

    def save_to_img(self, path: str | os.PathLike[str], image: np.ndarray | None = None) -> Path | None:
        """Write what ``draw`` returns as JPEG or PNG; nothing for an image that could not be read.

        Parameters
        ----------
        path : str or path-like
            The file if it ends in .jpg, .jpeg or .png, else a folder, made where missing, that gets ``{name}_res.png``
            for the image of a PNG file and ``{name}_res.jpg`` for any other.
        image : ndarray of shape (H, W, 3), optional
            As for ``draw``.

        Returns
        -------
        Path or None
            The file; None where the image could not be read, so that a loop over many goes on.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        if self.error is not None and image is None:
            return None
        own = Path(self.path).suffix.lower()
        target = self._target(Path(path), own if own in PICTURES else ".jpg", PICTURES)
        return _write(target, encoded(self.draw(image), target, drawing_mark(self.path, self.frame)))

    def draw(self, image: np.ndarray | None = None) -> np.ndarray:
        """Draw the image with a panel below it: a name, a score and a bar for each label, at most 20.

        A label has the same colour in every picture of the model. Labels below their threshold are grey; a white mark
        on each bar shows the threshold. An image whose longer side is below 480 pixels is enlarged to it, and one over
        1600 is reduced to it, so that the text is readable. A narrow one gets a panel 360 pixels wide.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), optional
            The image, uint8 in RGB order; by default ``pixels``, which ``Classifier.predict`` keeps if it is asked to.

        Returns
        -------
        ndarray of shape (H', W', 3)
            The drawing, uint8 in RGB order.

        Raises
        ------
        ImageError
            If the image could not be read.
        """
        if image is None:
            image = self.pixels
            if self.error is not None:
                raise self.error
        if image is None:
            raise ValueError("there is no image to draw on: give one as `image`, or call predict with keep_pixels=True")
        return draw_panel(image, prediction_rows(self))

    def _repr_html_(self) -> str:
        """Return the image, if it was kept or its file is still there, beside its labels, as notebooks show it."""
        return prediction_html(self)

    def _nothing(self) -> str:
        best = self.best
        return f"no label reaches its threshold (best: {name_and_score(best)})" if best else "no label"

    def _target(self, path: Path, own: str, suffixes: tuple[str, ...]) -> Path:
        if path.suffix.lower() in suffixes and not path.is_dir():
            return path
        if path.exists() and not path.is_dir():
            raise StorageError(f"{path}: is a file; should end in {' or '.join(suffixes)}, or be a folder")
        return path / result_name(self.path, own, frame=self.frame)


def result_name(path: str, suffix: str, number: int = 1, frame: int | None = None, kind: str = "res") -> str:
    """Return what a file about the image at ``path`` is called: NAME_res.jpg, and from the second on NAME_2_res.jpg.

    For a frame of a video it is NAME_frame50_res.jpg. ``kind`` says what it is. The end of a long name is cut off.
    """
    stem = os.fsdecode(os.fsencode(Path(path).stem)[:_MOST_STEM_BYTES]) or "image"
    if frame is not None:
        stem += f"_frame{frame}"
    return f"{stem}_{kind}{suffix}" if number == 1 else f"{stem}_{number}_{kind}{suffix}"


def drawing_mark(path: str, frame: int | None = None) -> str:
    """Return the mark that a drawing of an image has; it tells no one where the image is."""
    name = f"{os.path.abspath(path)}\0{'' if frame is None else frame}"
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def name_and_score(label: Label) -> str:
    """Return a label as one word of a line, and its score."""
    return f"{printable(as_word(label.name))} {score_text(label.score)}"


def score_text(score: float) -> str:
    """Return a score as lines for a person have it: two decimals, or two digits where these would all be 0."""
    return f"{score:.2f}" if score >= _SMALL or score == 0 else f"{score:.2g}"


def _json_letter(letter: str) -> str:
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]


def _write(target: Path, content: bytes) -> Path:
    atomic.make_folder(target.parent)
    atomic.write_bytes(target, content)
    return target
