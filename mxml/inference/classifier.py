"""From a checkpoint and images to scores: the only forward path of evaluate, predict and training's validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from mxml.data.image_iter import BadImage, ImageIter
from mxml.data.image_list import ImageList
from mxml.errors import CheckpointError, ModelError, MxmlError, TrainingError
from mxml.images.transforms import Preprocess, preset
from mxml.model import checkpoint, symbols
from mxml.model.layers import Network
from mxml.model.run_files import RunFiles
from mxml.runtime.devices import parse_devices
from mxml.runtime.imports import load_mxnet, mxnet_message

mx = load_mxnet()

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class Scores:
    """A model's answer for each image of a list.

    ``probabilities`` and ``logits`` are (N, C) float32; the rows of images in ``bad``, which could not be read, hold
    NaN.
    """

    probabilities: np.ndarray
    logits: np.ndarray
    bad: tuple[BadImage, ...]

    @property
    def readable(self) -> np.ndarray:
        """Return (N,) bool: False where the image could not be read."""
        readable = np.ones(len(self.probabilities), dtype=bool)
        readable[[image.position for image in self.bad]] = False
        return readable


def output_symbol(symbol: Any) -> Any:
    """Return a symbol with two outputs, probabilities and logits, and no custom operator."""
    return mx.sym.Group([symbols.plain_symbol(symbol), symbols.logits_output(symbol)])


def collect(
    module: Any, batches: ImageIter, size: int, num_classes: int, step: Callable[[int], None] | None = None
) -> Scores:
    """Run a bound module, whose outputs are probabilities and logits, over one epoch of ``batches``.

    Padding is dropped. ``size`` is the number of images; ``step`` is told how many images each batch added. Raises
    TrainingError where a score is not finite.
    """
    probabilities = np.full((size, num_classes), np.nan, dtype=np.float32)
    logits = np.full((size, num_classes), np.nan, dtype=np.float32)
    for batch in batches:
        module.forward(batch, is_train=False)
        outputs = [output.asnumpy() for output in module.get_outputs()]
        positions = batch.index[: len(batch.index) - batch.pad]
        if not np.isfinite(outputs[1][: len(positions)]).all():
            raise TrainingError(
                "the model's output is not finite: training has diverged or its parameters are damaged; "
                "take an earlier epoch, or train with a lower --lr"
            )
        probabilities[positions] = outputs[0][: len(positions)]
        logits[positions] = outputs[1][: len(positions)]
        if step is not None:
            step(len(positions))
    bad = tuple(batches.bad)
    for image in bad:
        probabilities[image.position] = logits[image.position] = np.nan
    return Scores(probabilities, logits, bad)


class Classifier:
    """A multi-label model ready to score images: its parameters on a device, its preprocessing, its label names."""

    def __init__(
        self,
        model: checkpoint.Checkpoint,
        *,
        device: str = "cpu",
        preprocess: Preprocess | None = None,
        label_names: Sequence[str] | None = None,
    ):
        self.checkpoint = model
        try:
            self.num_classes: int = symbols.describe_head(model.symbol, model.arg_params).num_classes
        except ModelError as error:
            raise ModelError(f"{RunFiles(model.prefix).symbol}: {error}") from error
        sidecar = model.sidecar
        self.preprocess: Preprocess = preprocess or (sidecar.preprocess if sidecar else preset("original", (224, 224)))
        names = label_names or (
            sidecar.label_names if sidecar else [f"class_{index}" for index in range(self.num_classes)]
        )
        if len(names) != self.num_classes:
            raise CheckpointError(
                f"{RunFiles(model.prefix).symbol}: gives {self.num_classes} scores for {len(names)} label names"
            )
        self.label_names: tuple[str, ...] = tuple(names)
        self.thresholds: np.ndarray = np.asarray(
            sidecar.thresholds if sidecar else [DEFAULT_THRESHOLD] * self.num_classes, dtype=np.float64
        )
        self._devices = parse_devices(device)
        self._modules: dict[int, Any] = {}

    @classmethod
    def load(
        cls,
        prefix: str,
        epoch: int | None = None,
        *,
        device: str = "cpu",
        preprocess: Preprocess | None = None,
        label_names: Sequence[str] | None = None,
    ) -> Classifier:
        """Load the checkpoint at ``prefix``: its best epoch unless ``epoch`` says another.

        Without a sidecar, ``preprocess`` and ``label_names`` say what it would; the defaults are the original script's.
        """
        return cls(checkpoint.load(prefix, epoch), device=device, preprocess=preprocess, label_names=label_names)

    def scores(
        self,
        images: ImageList,
        *,
        batch_size: int = 32,
        skip_bad: bool = False,
        decode_threads: int | None = None,
        step: Callable[[int], None] | None = None,
    ) -> Scores:
        """Score every image of a list, in its order.

        An unreadable image raises ImageError that names it, or with ``skip_bad`` leaves a row of NaN and is reported.
        """
        if not len(images):
            raise MxmlError("there are no images to score")
        batch_size = max(len(self._devices), min(batch_size, len(images)))
        with ImageIter(
            batch_size,
            self.preprocess.data_shape,
            images=images,
            preprocess=self.preprocess,
            bad_images="report" if skip_bad else "error",
            threads=decode_threads,
        ) as batches:
            module = self._bound(batch_size, batches.provide_data)
            return collect(module, batches, len(images), self.num_classes, step)

    def _bound(self, batch_size: int, provide_data: Any) -> Any:
        if batch_size not in self._modules:
            model = self.checkpoint
            module = mx.mod.Module(
                output_symbol(model.symbol), data_names=["data"], label_names=None, context=self._devices
            )
            try:
                network = Network(model.symbol, self.preprocess.data_shape)
                symbols.check_params(network, model.arg_params, model.aux_params)
                module.bind(data_shapes=provide_data, for_training=False)
            except (MxmlError, mx.MXNetError, RuntimeError, ValueError) as error:
                path = RunFiles(model.prefix).params(model.epoch)
                raise CheckpointError(f"{path}: does not fit its symbol: {mxnet_message(error)}") from error
            module.set_params(model.arg_params, model.aux_params, allow_extra=True)
            self._modules[batch_size] = module
        return self._modules[batch_size]
