"""Option types and groups of options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mxml.progress import Progress

if TYPE_CHECKING:
    from mxml.inference.classifier import Classifier

Command = TypeVar("Command", bound=Callable[..., Any])


class Numbers(click.ParamType):
    """Numbers separated by commas, as a tuple; ``count`` fixes how many. One of ``words`` may stand in their place."""

    def __init__(self, kind: type[int] | type[float], count: int | None = None, words: tuple[str, ...] = ()):
        self.kind = kind
        self.count = count
        self.words = words
        numbers = ",".join(["INT" if kind is int else "FLOAT"] * (count or 1)) + ("" if count else ",...")
        self.name = "|".join([*words, numbers])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...] | str:
        """Parse ``1,2,3``."""
        if isinstance(value, tuple) or value in self.words:
            return value
        try:
            numbers = tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            whole = "whole " if self.kind is int else ""
            instead = "".join(f"{word}, or " for word in self.words)
            self.fail(f"{value!r} is not {instead}{whole}numbers separated by commas", param, ctx)
        if self.count is not None and len(numbers) != self.count:
            self.fail(f"{value!r} has {len(numbers)} numbers, should have {self.count}", param, ctx)
        return numbers


class Text(click.types.StringParamType):
    """Any text, called ``name`` in the help."""

    def __init__(self, name: str):
        self.name = name


class Thresholds(click.ParamType):
    """A number, one number per label separated by commas, or numbers by label name: ``black=0.1,red=0.3``."""

    name = "FLOAT[,FLOAT...] | NAME=FLOAT[,...]"
    # A name may hold commas and equals signs itself; the number ends the pair.
    _PAIR = re.compile(r"(.+?)=([^=,]*)(?:,|$)")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a float, a tuple of floats or a dict of floats by name; the library checks their range."""
        text = str(value)
        if "=" not in text:
            numbers = tuple(self._number(part, param, ctx) for part in text.split(","))
            return numbers[0] if len(numbers) == 1 else numbers
        pairs, end = {}, 0
        while end < len(text):
            match = self._PAIR.match(text, end)
            if match is None:
                self.fail(f"{text!r} should be numbers, or NAME=NUMBER separated by commas", param, ctx)
            pairs[match[1].strip()] = self._number(match[2], param, ctx)
            end = match.end()
        return pairs

    def _number(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(text)
        except ValueError:
            self.fail(f"{text!r} is not a number from 0 to 1", param, ctx)


def threshold_option(command: Command) -> Command:
    """Add --threshold."""
    text = "Threshold of all labels, of each separated by commas, or of some by name.  [default: the checkpoint's]"
    return click.option("--threshold", type=Thresholds(), multiple=True, help=text)(command)


def merged_thresholds(given: Sequence[Any]) -> Any:
    """Return several --threshold values as one: all their pairs, or the only value; None without any."""
    if not given:
        return None
    if all(isinstance(value, dict) for value in given):
        return {name: number for value in given for name, number in value.items()}
    if len(given) > 1:
        raise click.UsageError("--threshold can be given several times only as NAME=NUMBER")
    return given[0]


def device_options(command: Command) -> Command:
    """Add --device and --gpus."""
    for option in (
        click.option(
            "--gpus", metavar="LIST", help="GPUs, such as 0,1; '' for the CPU; option of the original script."
        ),
        click.option("--device", metavar="NAME", help="cpu, gpu or gpu:0,1.  [default: a usable GPU, else cpu]"),
    ):
        command = option(command)
    return command


def chosen_device(device: str | None, gpus: str | None) -> str | None:
    """Return the device that --device or --gpus names; None where neither is given."""
    if gpus is None:
        return device
    if device is not None:
        raise click.UsageError("--gpus and --device mean the same; give only one of them")
    numbers = gpus.replace(" ", "")
    if not re.fullmatch(r"(\d+(,\d+)*)?", numbers):
        raise click.UsageError(f"--gpus {gpus}: should be numbers of GPUs, such as 0,1, or '' for the CPU")
    return f"gpu:{numbers}" if numbers else "cpu"


def model_options(command: Command) -> Command:
    """Add the options that select a checkpoint, and that replace a missing sidecar."""
    options = (
        click.option(
            "--prefix",
            required=True,
            metavar="PREFIX",
            help="The checkpoint, as given to mxml train, or one of its files.",
        ),
        click.option(
            "--epoch",
            type=click.IntRange(min=0),
            help="The checkpoint's epoch.  [default: the best; without a sidecar the newest]",
        ),
        click.option(
            "--batch-size", type=click.IntRange(1, 65536), default=32, show_default=True, help="Images per batch."
        ),
        click.option(
            "--decode-threads", type=click.IntRange(1, 256), help="Decoding threads.  [default: physical cores]"
        ),
        click.option(
            "--labels", "label_names", metavar="FILE", help="Label names, one per line.  [default: the sidecar's]"
        ),
        click.option(
            "--image-shape",
            type=Numbers(int, 3),
            help="Channels, height and width of the network's input.  [default: the sidecar's, else 3,224,224]",
        ),
        click.option(
            "--fit",
            type=click.Choice(["crop", "letterbox", "stretch"]),
            help="How images fill the input: crop their centre, letterbox them whole with the channel means around, or "
            "stretch them.  [default: the preset's]",
        ),
        click.option(
            "--preset",
            metavar="NAME",
            help="Preprocessing: original, imagenet, caffe, raw or inception.  [default: the sidecar's, else original]",
        ),
        click.option(
            "--mean",
            type=Numbers(float, 3),
            help="Channel means, 0 to 255, in the network's channel order.  [default: the preset's]",
        ),
        click.option(
            "--std", type=Numbers(float, 3), help="Channel standard deviations, 0 to 255.  [default: the preset's]"
        ),
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
    progress: Progress, *, prefix: str, epoch: int | None, device: str | None, gpus: str | None, **given: Any
) -> Classifier:
    """Load the checkpoint that ``model_options`` describe, and print the classifier's notes."""
    from mxml.inference.classifier import Classifier

    classifier = Classifier.load(prefix, epoch, device=chosen_device(device, gpus), **given)
    for note in classifier.notes:
        progress.note(f"note: {note}")
    return classifier
