"""A model behind the interface of PaddleX's pipelines: ``create_pipeline``, ``predict``, and results that save
themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mxml.errors import SettingError
from mxml.evaluation.thresholds import Threshold
from mxml.inference.classifier import Classifier
from mxml.inference.inputs import Inputs
from mxml.inference.limits import BATCH_SIZE
from mxml.inference.pipeline_config import load_pipeline_config
from mxml.inference.pipeline_names import PIPELINE_NAME
from mxml.inference.prediction import Prediction


class Pipeline:
    """A classifier with the settings of its configuration file; ``create_pipeline`` makes one.

    Attributes
    ----------
    classifier : Classifier
        What it predicts with.
    """

    def __init__(self, classifier: Classifier, batch_size: int = BATCH_SIZE, threshold: Threshold | None = None):
        self.classifier = classifier
        self._batch_size = batch_size
        self._threshold = threshold

    def predict(
        self,
        x: Inputs,
        *,
        threshold: Threshold | None = None,
        top_k: int = 0,
        batch_size: int | None = None,
        **settings: Any,
    ) -> Iterator[Prediction]:
        """Tag images, one after the other, when their results are asked for.

        Parameters
        ----------
        x
            What ``Classifier.predict`` takes. Arrays are RGB here; those of OpenCV and PaddleX are BGR: give
            ``array[..., ::-1]``.
        threshold, top_k
            As for ``Classifier.predict``; by default the configuration's.
        batch_size : int, optional
            By default the configuration's.
        **settings
            Other settings of ``Classifier.predict``.

        Returns
        -------
        iterator of Prediction
            With their ``pixels``, for ``save_to_img``.

        Raises
        ------
        SettingError, ModelError, DeviceError
            As for ``Classifier.predict``.
        """
        return self.classifier.predict(
            x,
            threshold=self._threshold if threshold is None else threshold,
            top_k=top_k,
            batch_size=self._batch_size if batch_size is None else batch_size,
            **{"keep_pixels": True, **settings},
        )

    __call__ = predict


def create_pipeline(
    pipeline: str | os.PathLike[str] = PIPELINE_NAME,
    *,
    device: str | None = None,
    batch_size: int | None = None,
    use_hpip: bool = False,
) -> Pipeline:
    """Load a model as PaddleX's ``create_pipeline`` does.

    Parameters
    ----------
    pipeline : str or path-like
        ``multi_label_image_classification``, for the configuration file of this name that ends in .yaml in the working
        directory; such a file; or a checkpoint's prefix.
    device : str, optional
        ``cpu``, ``gpu`` or ``gpu:0``; by default the file's, else a usable GPU, else the CPU.
    batch_size : int, optional
        By default the file's, else 32.
    use_hpip : bool, default False
        PaddleX's high-performance inference, which there is no counterpart of; has to be False.

    Returns
    -------
    Pipeline

    Raises
    ------
    MxmlError
        If there is no model, or it cannot be loaded; see ``Classifier.load``.
    SettingError
        If ``use_hpip`` is True.
    """
    if use_hpip:
        raise SettingError("use_hpip", use_hpip, "False; a model has one engine here")
    config = load_pipeline_config(pipeline)
    classifier = Classifier.load(config.model, device=device or config.device)
    size = config.batch_size if batch_size is None else batch_size
    return Pipeline(classifier, BATCH_SIZE if size is None else size, config.threshold)
