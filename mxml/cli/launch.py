"""``mxml launch``."""

from __future__ import annotations

import shlex
import sys

import click

from mxml.cli.typed_train import options_of_train, resuming
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
    from mxml.cli.train import prefix_to_train
    from mxml.training.launching.hosts import read_hosts
    from mxml.training.launching.launch import Job, launch
    from mxml.training.launching.restart import Restart

    words = ["mxml", *sys.argv[1 : len(sys.argv) - len(arguments)]]
    options, resumed, restart = options_of_train(arguments), "", None
    if options is not None:
        again, resumed = (shlex.join([*words, *typed]) for typed in (arguments, resuming(arguments)))
        prefix, replaces = prefix_to_train(options)
        restart = Restart(again, resumed, prefix, replaces=replaces, elsewhere=hosts is not None)
    job = Job(arguments, workers, servers, read_hosts(hosts) if hosts is not None else (), interface, resumed)
    with ConsoleProgress(None, with_options) as progress:
        status = launch(job, progress)
    advice = None if restart is None else restart.after(status)
    if advice is not None:
        click.echo(f"mxml: {advice}", err=True)
    sys.exit(status)
