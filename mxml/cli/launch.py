"""``mxml launch``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

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

    words = ["mxml", *sys.argv[1 : len(sys.argv) - len(arguments)]]
    options = _options_of_train(arguments)
    resuming = "" if options is None else shlex.join([*words, *_resuming(arguments)])
    replaced = None if options is None else _run_to_replace(options)
    before = _content(replaced)
    job = Job(arguments, workers, servers, read_hosts(hosts) if hosts is not None else (), interface, resuming)
    with ConsoleProgress(None, with_options) as progress:
        status = launch(job, progress)
    if status and status != 2 and options is not None:
        again, after = shlex.join([*words, *arguments]), _content(replaced)
        if before is not None and after == before:
            line = f"the run that it was to replace is as it was; to start again: {again}"
        elif replaced is not None and before is after is None and hosts is not None:
            # A resume would go on with the run before, where that is still there.
            line = (
                f"{replaced} cannot be read on this machine; if the new run has begun, it can be resumed: {resuming}; "
                f"if the run that it was to replace is as it was, start again: {again}"
            )
        else:
            line = f"the run can be resumed: {resuming}"
        click.echo(f"mxml: {line}", err=True)
    sys.exit(status)


def _options_of_train(arguments: Sequence[str]) -> Sequence[str] | None:
    """Return the options of the workers' ``mxml train``, or ``python -m mxml train``; None for another command."""
    program, *rest = arguments
    name = os.path.basename(program)
    if name.startswith("python") and "-m" in rest:
        name, *rest = rest[rest.index("-m") + 1 :] or [""]
    return rest[1:] if name == "mxml" and rest[:1] == ["train"] else None


def _resuming(arguments: tuple[str, ...]) -> list[str]:
    """Return the workers' command that goes on. Nothing is lost where there is no run yet: one begins."""
    again = [argument for argument in arguments if argument != "--force"]
    return again if "--resume" in again else [*again, "--resume"]


def _run_to_replace(options: Sequence[str]) -> str | None:
    """Return the sidecar of the run that options of ``mxml train`` let be replaced; None where they let none."""
    from mxml.cli.train import replaced_prefix
    from mxml.model.run_files import RunFiles

    prefix = replaced_prefix(options)
    return None if prefix is None else RunFiles(prefix).sidecar


def _content(path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError:
        return None
