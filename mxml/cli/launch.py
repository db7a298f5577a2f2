"""``mxml launch``."""

from __future__ import annotations

import os
import shlex
import sys

import click

from mxml.cli.wording import with_options
from mxml.progress import ConsoleProgress


@click.command(name="launch", context_settings={"allow_interspersed_args": False})
@click.option("--workers", type=click.IntRange(1, 4096), required=True, help="How many workers share each batch.")
@click.option(
    "--servers",
    type=click.IntRange(1, 4096),
    default=1,
    show_default=True,
    help="How many servers add up the workers' gradients; each holds a part of the parameters.",
)
@click.option(
    "--hosts",
    metavar="FILE",
    help="Machines, HOST or USER@HOST per line, which ssh reaches without a password; processes are dealt to them in "
    "turn.  [default: this machine]",
)
@click.option(
    "--interface",
    metavar="NAME|ADDRESS",
    help="Network interface to listen on, or its address: loopback, or of a private network.  [default: loopback]",
)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
def command(workers: int, servers: int, hosts: str | None, interface: str | None, arguments: tuple[str, ...]) -> None:
    """Train on several processes or machines: mxml launch --workers 4 -- mxml train ...

    Starts the scheduler and the servers of MXNet's KVStore dist_sync, and the command as every worker. When one of them
    dies, all end, with its last lines and the command that resumes the run. Ctrl-C saves before it stops. The exit
    status is the command's.

    What the processes send is neither encrypted nor authenticated; docs/several-machines.md says what that means.
    """
    from mxml.training.launching.hosts import read_hosts
    from mxml.training.launching.launch import Job, launch

    job = Job(arguments, workers, servers, read_hosts(hosts) if hosts is not None else (), interface)
    with ConsoleProgress(None, with_options) as progress:
        status = launch(job, progress)
    if status:
        line = resume_line(sys.argv[1 : len(sys.argv) - len(arguments)], arguments) if status != 2 else ""
        if line:
            click.echo(f"mxml: the run can be resumed: {line}", err=True)
        sys.exit(status)


def resume_line(before: list[str], arguments: tuple[str, ...]) -> str:
    """Return what to type to go on; an empty text where the workers do not run ``mxml train``.

    ``before`` is what was typed after mxml, up to the command. Nothing is lost where there is no run yet: one begins.
    """
    if len(arguments) < 2 or os.path.basename(arguments[0]) != "mxml" or arguments[1] != "train":
        return ""
    again = [argument for argument in arguments if argument != "--force"]
    again += [] if "--resume" in again else ["--resume"]
    return shlex.join(["mxml", *before, *again])
