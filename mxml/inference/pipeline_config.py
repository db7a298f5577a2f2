"""The configuration file of a pipeline, as PaddleX has it: which model, on which device, with which batch size."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mxml import atomic
from mxml.errors import MxmlError, StorageError
from mxml.evaluation.thresholds import Threshold
from mxml.inference.limits import BATCH_SIZE, MOST_BATCH_SIZE
from mxml.inference.pipeline_names import PIPELINE_NAME, PIPELINE_NAMES
from mxml.text import cut, quoted

_MOST_BYTES = 1 << 14
_MODULE = "ImageMultiLabelClassification"
# What PaddleX has in these places, whether it means anything here or not.
_TOP = {"Global", "Pipeline", "pipeline_name", "SubModules", "use_hpip", "hpi_config"}
_GLOBAL = {"pipeline_name", "input"}
_PIPELINE = {"model", "batch_size", "device", "threshold", "use_hpip"}
_SUB_MODULE = {"module_name", "model_name", "model_dir", "batch_size", "device", "threshold", "use_hpip", "hpi_config"}

_TEMPLATE = f"""\
# Which model a pipeline uses. "mxml predict" takes this file as its pipeline, and so does mxml.create_pipeline.
Global:
  pipeline_name: {PIPELINE_NAME}

Pipeline:
  # The prefix of a checkpoint, as given to mxml train; looked for from this file's folder, then from the working one.
  model: model
  batch_size: {BATCH_SIZE}
  # device: cpu          # cpu, gpu or gpu:0; by default a usable GPU, else the CPU
  # threshold: 0.5       # a number, one for each label, or NAME: NUMBER; by default the checkpoint's
"""


@dataclass(frozen=True)
class PipelineConfig:
    """What a pipeline is made of; None for what its file does not say.

    Parameters
    ----------
    model : str
        The checkpoint's prefix, or one of its files.
    batch_size : int, optional
        Images that the network computes at a time.
    device : str, optional
        ``cpu``, ``gpu`` or ``gpu:0``.
    threshold : float, sequence of float, or mapping of str to float, optional
        The lowest score at which an image gets a label.
    """

    model: str
    batch_size: int | None = None
    device: str | None = None
    threshold: Threshold | None = None


def load_pipeline_config(pipeline: str | os.PathLike[str]) -> PipelineConfig:
    """Return what a pipeline's name, its configuration file or a checkpoint's prefix stands for.

    Parameters
    ----------
    pipeline : str or path-like
        ``multi_label_image_classification``, for the file of this name that ends in .yaml in the working directory; a
        .yaml or .yml file in PaddleX's form, of version 3.0 or before; or a checkpoint's prefix.

    Returns
    -------
    PipelineConfig

    Raises
    ------
    MxmlError
        If the file is missing, is no YAML, or holds what no pipeline has; if its model does not exist.
    """
    name = os.fspath(pipeline)
    if name in PIPELINE_NAMES:
        found = [path for known in (name, *PIPELINE_NAMES) if os.path.isfile(path := f"{known}.yaml")]
        if not found:
            raise MxmlError(
                f"{name}: there is no {name}.yaml in this folder that says which model it has; "
                "mxml get-pipeline-config writes one, and the prefix of a checkpoint will do in place of the name"
            )
        name = found[0]
    if name.lower().endswith((".yaml", ".yml")):
        return _read(name)
    return PipelineConfig(name)


def save_pipeline_config(folder: str | os.PathLike[str] = ".", *, force: bool = False) -> Path:
    """Write a configuration file to start from.

    Parameters
    ----------
    folder : str or path-like, default "."
        Where ``multi_label_image_classification.yaml`` is written; made where missing.
    force : bool, default False
        Replace a file that is there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StorageError
        If the file exists, or cannot be written.
    """
    path = Path(folder) / f"{PIPELINE_NAME}.yaml"
    if path.exists() and not force:
        raise StorageError(f"{path}: exists; `force` replaces it")
    atomic.make_folder(path.parent)
    atomic.write_text(path, _TEMPLATE)
    return path


def _read(path: str) -> PipelineConfig:
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise MxmlError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > _MOST_BYTES:
        raise MxmlError(f"{path}: holds more than {_MOST_BYTES:,} bytes, so it is no pipeline's configuration")
    top = _mapping(path, _parsed(path, content), "the file", _TOP)
    given = _mapping(path, top.get("Global"), "Global", _GLOBAL)
    name = top.get("pipeline_name", given.get("pipeline_name", PIPELINE_NAME))
    if name not in PIPELINE_NAMES:
        raise MxmlError(f"{path}: is of the pipeline {quoted(str(name))}; mxml has {PIPELINE_NAME} only")
    if "SubModules" in top:
        modules = _mapping(path, top["SubModules"], "SubModules", {_MODULE})
        settings = _mapping(path, modules.get(_MODULE), _MODULE, _SUB_MODULE)
        model = settings.get("model_dir") or settings.get("model_name")
    else:
        settings = _mapping(path, top.get("Pipeline"), "Pipeline", _PIPELINE)
        model = settings.get("model")
    if not isinstance(model, str) or not model:
        raise MxmlError(f"{path}: names no model; its `model` should be the prefix of a checkpoint")
    return PipelineConfig(
        _located(path, model), _batch_size(path, settings), _device(path, settings), _threshold(path, settings)
    )


def _parsed(path: str, content: bytes) -> Any:
    import yaml

    try:
        return yaml.safe_load(content)
    except yaml.MarkedYAMLError as error:
        line = f"{error.problem_mark.line + 1}: " if error.problem_mark else " "
        raise MxmlError(f"{path}:{line}is no YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MxmlError(f"{path}: is no YAML: {cut(' '.join(str(error).split()))}") from None


def _mapping(path: str, value: Any, place: str, known: set[str]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MxmlError(f"{path}: {place} should hold keys with values")
    unknown = [key for key in value if key not in known]
    if unknown:
        listed = ", ".join(sorted(known))
        raise MxmlError(f"{path}: {place} has the unknown key {quoted(str(unknown[0]))}; it may have {listed}")
    return value


def _located(path: str, model: str) -> str:
    beside = os.path.join(os.path.dirname(path), model)
    for prefix in (beside, model):
        if glob.glob(f"{glob.escape(prefix)}*"):
            return prefix
    tried = beside if beside == model else f"{beside} nor at {model}"
    raise MxmlError(f"{path}: there is no checkpoint at {tried}; its model should be the prefix of one")


def _batch_size(path: str, settings: dict[str, Any]) -> int | None:
    value = settings.get("batch_size")
    if value is not None and (type(value) is not int or not 1 <= value <= MOST_BATCH_SIZE):
        raise MxmlError(f"{path}: batch_size {quoted(str(value))}: should be a number from 1 to {MOST_BATCH_SIZE}")
    return value


def _device(path: str, settings: dict[str, Any]) -> str | None:
    value = settings.get("device")
    if value is not None and not isinstance(value, str):
        raise MxmlError(f"{path}: device {quoted(str(value))}: should be cpu, gpu or gpu:0")
    return value


def _threshold(path: str, settings: dict[str, Any]) -> Threshold | None:
    value = settings.get("threshold")
    numbers = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    names = value if isinstance(value, dict) else {}
    if value is not None and not (all(map(_is_number, numbers)) and all(isinstance(name, str) for name in names)):
        raise MxmlError(f"{path}: threshold: should be a number, a list of numbers, or NAME: NUMBER")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
