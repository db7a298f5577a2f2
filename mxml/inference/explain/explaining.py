"""From predictions that keep their images to explanations, one image after the other."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mxml.errors import CheckpointError, ModelError, SettingError
from mxml.evaluation.calibration import Calibration
from mxml.images.network_input import prepare, shown_part
from mxml.images.transforms import Preprocess
from mxml.inference.explain.explainer import Explainer
from mxml.inference.explain.explanation import Explanation, explained_labels
from mxml.inference.prediction import Prediction
from mxml.model import symbols
from mxml.model.checkpoint import Checkpoint
from mxml.model.run_files import RunFiles
from mxml.progress import Progress
from mxml.runtime.types import Context
from mxml.text import quoted, shown_labels


def explainer_of(model: Checkpoint, device: Context, preprocess: Preprocess) -> Explainer:
    """Return what explains a checkpoint's network. Raises CheckpointError for one that cannot be explained."""
    try:
        return Explainer(
            symbols.logits_output(model.symbol), model.arg_params, model.aux_params, device, preprocess.data_shape
        )
    except ModelError as error:
        raise CheckpointError(f"{RunFiles(model.prefix).symbol}: cannot be explained: {error}") from error


def explanations(
    predictions: Iterable[Prediction],
    explainer: Explainer,
    preprocess: Preprocess,
    names: Sequence[str] | None,
    calibration: Calibration | None,
    progress: Progress,
) -> Iterator[Explanation]:
    """Yield an explanation for each prediction, in their order; ``names`` are the labels that are explained."""
    method = "cam" if explainer.exact else "grad-cam"
    for prediction in predictions:
        labels = explained_labels(prediction, names)
        if prediction.pixels is None:
            nothing = np.zeros((0, *preprocess.size), np.float32)
            yield Explanation(prediction, (), nothing, np.zeros(0, np.float32), method)
        else:
            height, width = prediction.pixels.shape[:2]
            data = prepare(prediction.pixels, preprocess)
            classes = [label.class_id for label in labels]
            found = explainer.evidence(data, classes)
            if calibration is not None and explainer.exact:
                found = found.calibrated(calibration, classes)
            part = shown_part(preprocess, width, height)
            yield Explanation(prediction, labels, found.maps, found.constants, method, part)
        progress.advance(1)


def check_names(names: Sequence[str] | None, label_names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the names, each once. Raises SettingError for one that is no label."""
    if names is None:
        return None
    for name in names:
        if name not in label_names:
            in_lower_case = {known.lower(): known for known in label_names}
            near = difflib.get_close_matches(str(name).lower(), in_lower_case, 1)
            such = f", such as {quoted(in_lower_case[near[0]])}" if near else ""
            raise SettingError("labels", name, f"the name of a label{such}; labels are {shown_labels(label_names)}")
    return tuple(dict.fromkeys(names))


class Explaining:
    """The progress of explaining images that are predicted in batches: counted where they are explained."""

    def __init__(self, progress: Progress):
        self._progress = progress

    def start(self, total: int, what: str, done: int = 0) -> None:
        """Begin with ``total`` images."""
        self._progress.start(total, "explaining", done)

    def advance(self, count: int = 1, detail: str = "") -> None:
        """Take no notice: the images of a batch are yet to be explained."""

    def note(self, text: str) -> None:
        """Pass a line on."""
        self._progress.note(text)
