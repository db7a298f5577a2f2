"""``mxml networks``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from mxml.cli.options import chosen_device, device_options
from mxml.cli.tables import table
from mxml.cli.wording import with_options
from mxml.model.networks.catalogue import NETWORKS
from mxml.progress import ConsoleProgress

_LABELS = 1000
_COUNTED = (
    f"Counted with {_LABELS:,} labels, for one image of the input's size. A multiplication with its addition counts "
    "as one; only convolutions and fully connected layers are counted."
)


@click.command(name="networks")
@click.argument("names", nargs=-1, metavar="[NETWORK]...")
@click.option("--measure", is_flag=True, help="Also measure how fast each network computes on this machine.")
@click.option(
    "--batch-size", type=click.IntRange(1, 65536), default=32, show_default=True, help="Images per measured batch."
)
@device_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    names: tuple[str, ...], measure: bool, batch_size: int, device: str | None, gpus: str | None, as_json: bool
) -> None:
    """List the networks that mxml train --network trains from scratch: input, parameters, multiply-adds.

    With --measure also images per second in inference and in training, of images that are already decoded: a few
    seconds per network, more for the large ones. NETWORK chooses some of them.
    """
    _check_names(names)
    _check_used(measure)
    from mxml.model.networks.cost import cost_by_design
    from mxml.runtime.devices import default_device, parse_devices
    from mxml.training.network_speed import measure_speed

    where = chosen_device(device, gpus) or (default_device() if measure else "cpu")
    devices = parse_devices(where)
    chosen = [network for name, network in NETWORKS.items() if not names or name in names]
    found: list[dict[str, Any]] = []
    with ConsoleProgress(wording=with_options) as progress:
        for network in chosen:
            cost = cost_by_design(network, _LABELS)
            entry = {
                "name": network.name,
                "image_shape": list(network.image_shape),
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds,
                "source": network.source,
            }
            if measure:
                progress.note(f"measuring {network.name}")
                speed = measure_speed(network, _LABELS, batch_size, devices)
                entry["inference_images_per_second"] = round(speed.inference, 2)
                entry["training_images_per_second"] = round(speed.training, 2)
            found.append(entry)
    if as_json:
        measured = {"device": where, "batch_size": batch_size} if measure else {}
        click.echo(json.dumps({"labels": _LABELS, **measured, "networks": found}, indent=1))
        return
    head = ["network", "input", "parameters", "multiply-adds", *(["inference img/s", "training img/s"] * measure)]
    click.echo("\n".join(table([head, *map(_row, found)])))
    click.echo(f"\n{_COUNTED}")
    if measure:
        click.echo(f"Measured here on {where}, with batches of {batch_size:,}; reading the images is not part of it.")


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name not in NETWORKS:
            near = difflib.get_close_matches(name, NETWORKS, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise click.UsageError(f"there is no network {name!r}; {hint}mxml networks lists them all")


def _check_used(measure: bool) -> None:
    """Raise UsageError for an option that only measuring uses."""
    context = click.get_current_context()
    for name, option in (("batch_size", "--batch-size"), ("device", "--device"), ("gpus", "--gpus")):
        if not measure and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} has an effect only with --measure")


def _row(entry: dict[str, Any]) -> list[str]:
    _, height, width = entry["image_shape"]
    row = [entry["name"], f"{height} x {width}"]
    row += [f"{entry['parameters'] / 1e6:.2f} M", f"{entry['multiply_adds'] / 1e9:.2f} G"]
    return row + [f"{value:.1f}" for name, value in entry.items() if name.endswith("_per_second")]
