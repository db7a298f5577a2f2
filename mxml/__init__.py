"""Multi-label image classification on Apache MXNet: fine-tune, evaluate and predict.

The public names load on first use, so that ``import mxml`` is fast and does not load MXNet until it is needed.
A program's own ``import mxnet`` works after it, with the threads that mxml would set.
"""

from __future__ import annotations

import importlib
from typing import Any

from mxml.runtime.import_hook import prepare_when_mxnet_is_imported

__version__ = "0.1.0"

_HOMES = {
    "Augment": "images.transforms",
    "Batches": "data.batches",
    "Camera": "inference.input_names",
    "Classifier": "inference.classifier",
    "Evaluation": "evaluation.evaluation",
    "Explanation": "inference.explain.explanation",
    "ImageFiles": "data.image_sources",
    "ImageIter": "data.image_iter",
    "ImageList": "data.image_list",
    "Mixing": "data.label_mixing",
    "MxmlError": "errors",
    "Prediction": "inference.prediction",
    "Preprocess": "images.transforms",
    "SimilarIndex": "inference.similar",
    "TrainConfig": "training.config",
    "create_pipeline": "inference.pipeline",
    "fit": "training.fit",
    "read_lst": "data.lst_file",
    "resume": "training.fit",
    "write_lst": "data.lst_file",
}

__all__ = sorted([*_HOMES, "__version__"])


prepare_when_mxnet_is_imported()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mxml' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mxml.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
