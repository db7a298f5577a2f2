"""``mxml describe``."""

from __future__ import annotations

import click

from mxml.cli.options import chosen_device, decode_threads_option, device_options
from mxml.cli.wording import with_options
from mxml.inference.limits import BATCH_SIZE, MOST_BATCH_SIZE
from mxml.progress import ConsoleProgress


@click.command(name="describe")
@click.option(
    "--prefix", required=True, metavar="PREFIX", help="The checkpoint, as given to mxml train, or one of its files."
)
@click.option("--epoch", type=click.IntRange(min=0), help="The checkpoint's epoch.  [default: the best]")
@click.option(
    "--data",
    metavar="LST",
    help="The training images: a list, a .rec or .txt file, or a folder; labels are not needed.  "
    "[default: the run's list]",
)
@click.option(
    "--root",
    metavar="DIR",
    help="Image folder of --data, else of the run's training and validation lists.  [default: the sidecar's]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, MOST_BATCH_SIZE),
    default=BATCH_SIZE,
    show_default=True,
    help="Images per batch.",
)
@decode_threads_option
@device_options
def command(
    prefix: str,
    epoch: int | None,
    data: str | None,
    root: str | None,
    batch_size: int,
    decode_threads: int | None,
    device: str | None,
    gpus: str | None,
) -> None:
    """Describe a checkpoint's training images, so that mxml predict marks images unlike them.

    mxml train does this at the end of a run. This command does it for a checkpoint without a description, or for
    another epoch than the best: the network runs once over at most 1,000 training and 400 validation images.
    """
    from mxml.training.description import describe_checkpoint

    with ConsoleProgress(wording=with_options) as progress:
        describe_checkpoint(
            prefix,
            epoch,
            data=data,
            root=root,
            device=chosen_device(device, gpus),
            batch_size=batch_size,
            threads=decode_threads,
            progress=progress,
        )
