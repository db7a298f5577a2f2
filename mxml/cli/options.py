"""Option types and groups of options that several commands share."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mxml.errors import ImageError, MxmlError

if TYPE_CHECKING:
    from mxml.images.transforms import Preprocess
    from mxml.inference.classifier import Classifier
    from mxml.model.checkpoint import Checkpoint

Command = TypeVar("Command", bound=Callable[..., Any])


class Numbers(click.ParamType):
    """Numbers separated by commas, as a tuple; ``count`` fixes how many."""

    def __init__(self, kind: type[int] | type[float], count: int | None = None):
        self.kind = kind
        self.count = count
        self.name = ",".join(["INT" if kind is int else "FLOAT"] * (count or 1)) + ("" if count else ",...")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Parse ``1,2,3``."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not {'whole ' if self.kind is int else ''}numbers with commas between", param, ctx)
        if self.count is not None and len(numbers) != self.count:
            self.fail(f"{value!r} has {len(numbers)} numbers, should have {self.count}", param, ctx)
        return numbers


class Text(click.types.StringParamType):
    """Any text, called ``name`` in the help."""

    def __init__(self, name: str):
        self.name = name


class Threshold(click.FloatRange):
    """A number from 0 to 1."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the number; click's own range lets nan through."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number from 0 to 1", param, ctx)
        return number


def device_options(command: Command) -> Command:
    """Add --device and --gpus."""
    for option in (
        click.option("--gpus", metavar="LIST", help="GPUs, such as 0,1; '' for the CPU. The original script's option."),
        click.option("--device", metavar="NAME", help="cpu, gpu or gpu:0,1.  [default: a usable GPU, else cpu]"),
    ):
        command = option(command)
    return command


def chosen_device(device: str | None, gpus: str | None) -> str | None:
    """Return the device that --device or --gpus names; None where neither is given."""
    if gpus is None:
        return device
    if device is not None:
        raise click.UsageError("--gpus and --device say the same; give one of them")
    numbers = gpus.replace(" ", "")
    if not re.fullmatch(r"(\d+(,\d+)*)?", numbers):
        raise click.UsageError(f"--gpus {gpus}: should be numbers of GPUs, such as 0,1, or '' for the CPU")
    return f"gpu:{numbers}" if numbers else "cpu"


def model_options(command: Command) -> Command:
    """Add what says which checkpoint to use, and what a sidecar would say where there is none."""
    options = (
        click.option("--prefix", required=True, metavar="PREFIX", help="The checkpoint, as given to mxml train."),
        click.option(
            "--epoch", type=click.IntRange(min=0), help="Its epoch.  [default: the best; without a sidecar the newest]"
        ),
        click.option(
            "--batch-size", type=click.IntRange(1, 65536), default=32, show_default=True, help="Images at a time."
        ),
        click.option(
            "--decode-threads", type=click.IntRange(1, 256), help="Decoding threads.  [default: physical cores]"
        ),
        click.option("--labels", metavar="FILE", help="Label names, one a line.  [default: the sidecar's]"),
        click.option(
            "--image-shape",
            type=Numbers(int, 3),
            help="Channels, height and width of its input.  [default: the sidecar's, else 3,224,224]",
        ),
        click.option(
            "--preset",
            metavar="NAME",
            help="Preprocessing: original, imagenet or caffe.  [default: the sidecar's, else original]",
        ),
        click.option(
            "--mean",
            type=Numbers(float, 3),
            help="Channel means, 0 to 255, in the network's channel order.  [default: the preset's]",
        ),
        click.option("--std", type=Numbers(float, 3), help="Channel deviations, 0 to 255.  [default: the preset's]"),
        click.option(
            "--channels",
            type=click.Choice(["rgb", "bgr"]),
            help="The network's channel order.  [default: the preset's]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return device_options(command)


def load_classifier(
    *,
    prefix: str,
    epoch: int | None,
    device: str | None,
    gpus: str | None,
    labels: str | None,
    image_shape: tuple[int, ...] | None,
    preset: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    channels: str | None,
) -> Classifier:
    """Load the checkpoint that ``model_options`` describe."""
    from mxml.data.label_names import read_label_names
    from mxml.inference.classifier import Classifier
    from mxml.model import checkpoint
    from mxml.runtime.devices import default_device

    asked = chosen_device(device, gpus)
    loaded = checkpoint.load(prefix, epoch)
    build = functools.partial(
        Classifier,
        loaded,
        device=asked or default_device(),
        preprocess=_preprocess(loaded, image_shape, preset, {"mean": mean, "std": std, "channels": channels}),
    )
    classifier: Classifier = build()
    return build(label_names=read_label_names(labels, classifier.num_classes)) if labels else classifier


@contextlib.contextmanager
def unreadable_images_named() -> Iterator[None]:
    """Let the error about an image that cannot be read name the option that goes on past it."""
    try:
        yield
    except ImageError as error:
        raise MxmlError(f"{error}; --skip-bad goes on past such images") from error


def _preprocess(
    loaded: Checkpoint, image_shape: Sequence[int] | None, preset_name: str | None, changes: dict[str, Any]
) -> Preprocess | None:
    """Return what the options make of the sidecar's preprocessing, or the original script's; None leaves it alone."""
    from mxml.images.transforms import preset

    changes = {name: value for name, value in changes.items() if value is not None}
    if image_shape is None and preset_name is None and not changes:
        return None
    kept = loaded.sidecar.preprocess if loaded.sidecar else preset("original", (224, 224))
    shape = image_shape or kept.data_shape
    if shape[0] != 3:
        raise click.UsageError(f"--image-shape {','.join(map(str, shape))}: should be 3,HEIGHT,WIDTH")
    size = (shape[1], shape[2])
    try:
        base = preset(preset_name, size) if preset_name else _resized(kept, size)
        return dataclasses.replace(base, **changes)
    except MxmlError as error:
        raise click.UsageError(str(error)) from error


def _resized(preprocess: Preprocess, size: tuple[int, int]) -> Preprocess:
    """Return the preprocessing for another size, which shows as much of an image as before."""
    short_side = preprocess.short_side
    if short_side is not None:
        short_side = round(short_side * min(size) / min(preprocess.size))
    return dataclasses.replace(preprocess, size=size, short_side=short_side)
