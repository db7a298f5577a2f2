"""Why one image gets its labels: a map for each, over the picture, as values, as JSON and drawn."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mxml import atomic
from mxml.errors import ImageError, SettingError
from mxml.images.drawing import LONGEST_DRAWING, Row, resized
from mxml.images.heat_map import Panel, colour, draw_sheet, panel_size
from mxml.images.label_colours import label_colours
from mxml.images.network_input import Shown
from mxml.images.picture_file import SUFFIXES as PICTURES
from mxml.images.picture_file import encoded
from mxml.inference.explain.placement import on_picture, to_picture
from mxml.inference.prediction import Label, Prediction, drawing_mark, name_and_score
from mxml.inference.prediction_rows import UNLIKE
from mxml.text import printable

MOST_PANELS = 19
_HAIR = 1e-6
HOTTEST = 0.1
"""The share of an image that counts as the hottest part of a map."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why one image gets its labels.

    ``Classifier.explain`` makes one for each image.

    Parameters
    ----------
    prediction : Prediction
        The image's prediction, with its ``pixels``.
    labels : tuple of Label
        The L labels that are explained; none where the image could not be read.
    maps : ndarray of shape (L, h, w)
        For each of them how much each pixel of the network's input speaks for it, float32. With ``method`` "cam" in
        units of the calibrated logit: a map's sum and the label's constant are that logit, and what is negative speaks
        against the label. With "grad-cam" 0 or more, of no unit.
    constants : ndarray of shape (L,)
        What each logit has beside the sum of its map, float32; NaN with "grad-cam".
    method : {"cam", "grad-cam"}
        Class activation maps (Zhou et al., CVPR 2016) where the logits are sums over layers with an area, such as under
        the heads that mxml trains, else Grad-CAM (Selvaraju et al., ICCV 2017).
    shown : Shown, optional
        Which part of the image the network saw, and where in its input.
    """

    prediction: Prediction
    labels: tuple[Label, ...]
    maps: np.ndarray
    constants: np.ndarray
    method: str
    shown: Shown | None = None

    def __post_init__(self) -> None:
        if len(self.maps) != len(self.labels) or np.ndim(self.maps) != 3:
            raise ValueError(f"maps {np.shape(self.maps)} do not fit {len(self.labels)} labels")

    @property
    def path(self) -> str:
        """The image's file, or what it is called."""
        return self.prediction.path

    @property
    def error(self) -> ImageError | None:
        """Why the image could not be read, or None."""
        return self.prediction.error

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image in pixels, upright."""
        height, width = self._pixels().shape[:2]
        return width, height

    def heat(self, label: str | Label) -> np.ndarray:
        """Return how strongly each pixel of the network's input speaks for a label, from 0 to 1.

        Parameters
        ----------
        label : str or Label
            One of ``labels``.

        Returns
        -------
        ndarray of shape (h, w)
            float32: the map and an even share of its constant, without what is negative, divided by the largest value
            where the input shows the image. 0 everywhere if nothing speaks for the label.

        Raises
        ------
        SettingError
            If the label is not among ``labels``.
        """
        row = self._row_of(label)
        values = self.maps[row]
        if self.method == "cam":
            # The logit then is the sum of all: a label that is found has places that speak for it.
            values = values + self.constants[row] / values.size
        values = np.maximum(values, 0)
        largest = values[self._box()].max()
        heat: np.ndarray = np.clip(values / largest, 0, 1).astype(np.float32) if largest > 0 else np.zeros_like(values)
        return heat

    def picture_heat(self, label: str | Label, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return ``heat`` over the image itself.

        Parameters
        ----------
        label : str or Label
            One of ``labels``.
        size : (int, int), optional
            Width and height of the image as it is to be drawn; by default its own.

        Returns
        -------
        ndarray of shape (height, width)
            float32, from 0 to 1; NaN where the network saw nothing of the image, as outside of a crop.

        Raises
        ------
        SettingError
            If the label is not among ``labels``.
        """
        assert self.shown is not None
        return on_picture(self.heat(label), self.shown, size or self.size)

    def peak(self, label: str | Label) -> tuple[int, int]:
        """Return the place where the map of a label is largest.

        Parameters
        ----------
        label : str or Label
            One of ``labels``.

        Returns
        -------
        (int, int)
            x and y of a pixel of the image.

        Raises
        ------
        SettingError
            If the label is not among ``labels``.
        """
        rows, columns = self._box()
        values = self.maps[self._row_of(label)][rows, columns]
        y, x = np.unravel_index(int(values.argmax()), values.shape)
        return self._pixel(columns.start + float(x) + 0.5, rows.start + float(y) + 0.5)

    def hottest(self, label: str | Label) -> tuple[int, int, int, int]:
        """Return the box around the tenth of what the network saw of the image that speaks most for a label.

        Parameters
        ----------
        label : str or Label
            One of ``labels``.

        Returns
        -------
        (int, int, int, int)
            left, top, right and bottom in pixels of the image; the last two are the first ones outside of the box.

        Raises
        ------
        SettingError
            If the label is not among ``labels``.
        """
        rows, columns = self._box()
        values = self.maps[self._row_of(label)][rows, columns]
        chosen = values >= np.quantile(values, 1 - HOTTEST)
        y, x = (np.flatnonzero(chosen.any(axis=axis)) for axis in (1, 0))
        left, top = self._pixel(columns.start + float(x[0]) + 0.5, rows.start + float(y[0]) + 0.5)
        right, bottom = self._pixel(columns.start + float(x[-1]) + 0.5, rows.start + float(y[-1]) + 0.5)
        return left, top, right + 1, bottom + 1

    def __str__(self) -> str:
        """Return one line, as the prediction's; where labels were chosen, with these."""
        if self.error is not None or not self._are_chosen():
            return str(self.prediction)
        return f"{printable(self.prediction.called)}: {', '.join(map(name_and_score, self.labels))}"

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of the image and its labels as JSON holds it.

        Returns
        -------
        dict
            ``input_path``; ``width`` and ``height`` of the image; ``method``; ``seen``, the part that the network saw;
            ``labels``, each with ``class_id``, ``label_name``, ``score``, ``found`` (whether the image gets the label),
            ``peak`` and ``hottest``. Boxes are [left, top, right, bottom], places [x, y], in pixels of the image. Where
            it is known also ``unlike`` and ``distance``, as a prediction has them. For an image that could not be read
            only ``input_path`` and ``error``. A frame of a video also has ``frame`` and ``seconds``.
        """
        record = self.prediction.to_dict()
        kept = ("input_path", "frame", "seconds", "error")
        source: dict[str, Any] = {key: record[key] for key in kept if key in record}
        if self.error is not None:
            return source
        width, height = self.size
        known: dict[str, Any] = {key: record[key] for key in ("unlike", "distance") if key in record}
        found = {label.class_id for label in self.prediction.labels}
        return {
            **source,
            "width": width,
            "height": height,
            "method": self.method,
            "seen": list(self.seen),
            "labels": [
                {
                    "class_id": label.class_id,
                    "label_name": label.name,
                    "score": round(label.score, 5),
                    "found": label.class_id in found,
                    "peak": list(self.peak(label)),
                    "hottest": list(self.hottest(label)),
                }
                for label in self.labels
            ],
            **known,
        }

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """The part of the image that the network saw: left, top, right and bottom in pixels."""
        assert self.shown is not None
        left, top, across, down = self.shown.region
        width, height = self.size
        # Pixels of which a part was seen; a share may be a hair off a whole pixel.
        right, bottom = (left + across) * width, (top + down) * height
        return (
            math.floor(left * width + _HAIR),
            math.floor(top * height + _HAIR),
            math.ceil(right - _HAIR),
            math.ceil(bottom - _HAIR),
        )

    def draw(self, label: str | Label | None = None) -> np.ndarray:
        """Draw the heat over the image: of one label, or of all of them side by side, the image itself first.

        Parameters
        ----------
        label : str or Label, optional
            One of ``labels``; without it a sheet of at most 19 of them.

        Returns
        -------
        ndarray of shape (H, W, 3)
            uint8 in RGB order. What the network did not see is grey. One label's drawing has the image's size, but at
            most 1600 pixels a side. In a sheet small images are enlarged and large ones reduced, so that the names
            below them are readable.

        Raises
        ------
        SettingError
            If the label is not among ``labels``.
        ImageError
            If the image could not be read.
        """
        pixels = self._pixels()
        if label is not None:
            scale = min(1.0, LONGEST_DRAWING / max(self.size))
            width, height = (max(1, round(side * scale)) for side in self.size)
            return self._drawn(label, resized(pixels, (width, height)))
        picture = resized(pixels, panel_size(self.size))
        panels = [Panel(picture, Row(Path(self.prediction.called).name or self.prediction.called, "image"))]
        found = {label.class_id for label in self.prediction.labels}
        panels += [
            Panel(self._drawn(one, picture), self._row(one, one.class_id in found)) for one in self.labels[:MOST_PANELS]
        ]
        more = len(self.labels) - MOST_PANELS
        remarks = [f"and {more:,} more labels"] if more > 0 else []
        left, top, right, bottom = self.seen
        if (right - left) * (bottom - top) < self.size[0] * self.size[1]:
            remarks.append("dark grey: not seen by the network")
        if self.prediction.unlike:
            remarks.append(UNLIKE)
        return draw_sheet(panels, remarks)

    def save(self, path: str | os.PathLike[str], label: str | Label | None = None) -> Path:
        """Write what ``draw`` returns as JPEG or PNG.

        Parameters
        ----------
        path : str or path-like
            The file, whose name ends in .jpg, .jpeg or .png. Its folder is made where missing.
        label : str or Label, optional
            As for ``draw``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        SettingError
            If the name ends in something else, or the label is not among ``labels``.
        ImageError
            If the image could not be read.
        StorageError
            If the file cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() not in PICTURES:
            raise SettingError("path", str(path), "a file that ends in .jpg, .jpeg or .png")
        content = encoded(self.draw(label), target, drawing_mark(self.path, self.prediction.frame))
        atomic.make_folder(target.parent)
        atomic.write_bytes(target, content)
        return target

    def _drawn(self, label: str | Label, picture: np.ndarray) -> np.ndarray:
        return colour(picture, self.picture_heat(label, (picture.shape[1], picture.shape[0])))

    def _row(self, label: Label, is_found: bool) -> Row:
        threshold = self.prediction.threshold_of(label)
        colour = label_colours(self.prediction.label_names)[label.class_id]
        return Row(label.name, f"class {label.class_id}", label.score, threshold, is_found, colour)

    def _are_chosen(self) -> bool:
        return bool(self.labels) and self.labels != explained_labels(self.prediction, None)

    def _row_of(self, label: str | Label) -> int:
        name = label if isinstance(label, str) else label.name
        names = [one.name for one in self.labels]
        if name not in names:
            raise SettingError("label", name, f"one that is explained: {', '.join(names) or 'none is'}")
        return names.index(name)

    def _box(self) -> tuple[slice, slice]:
        """Return the rows and columns of the input that show the image."""
        if self.shown is None:
            raise self._unread()
        left, top, width, height = self.shown.box
        return slice(top, top + height), slice(left, left + width)

    def _pixel(self, x: float, y: float) -> tuple[int, int]:
        assert self.shown is not None
        width, height = self.size
        at_x, at_y = to_picture(x, y, self.shown, (width, height))
        return min(int(at_x), width - 1), min(int(at_y), height - 1)

    def _pixels(self) -> np.ndarray:
        if self.prediction.pixels is None:
            raise self._unread()
        return self.prediction.pixels

    def _unread(self) -> ImageError:
        return self.error or ImageError("its pixels were not kept", self.path)


def explained_labels(prediction: Prediction, names: Sequence[str] | None) -> tuple[Label, ...]:
    """Return the labels of ``names``, or those that the image gets, or where it gets none the best one."""
    if prediction.error is not None:
        return ()
    if names is None:
        if prediction.labels:
            return prediction.labels
        names = [prediction.label_names[int(np.argmax(prediction.scores))]]
    numbers = [prediction.label_names.index(name) for name in names]
    return tuple(Label(number, name, float(prediction.scores[number])) for number, name in zip(numbers, names))
