"""``mxml doctor``."""

from __future__ import annotations

import json
import sys

import click


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Report what this installation can do, what is wrong with it, and how to fix it.

    Exits with 1 if MXNet cannot run.
    """
    from mxml.runtime import doctor

    facts = doctor.facts()
    if as_json:
        click.echo(json.dumps(facts.to_dict(), indent=1))
        sys.exit(0 if facts.can_run else 1)
    mxnet = f"{facts.mxnet} ({facts.mxnet_package})" if facts.mxnet else "cannot run"
    rows = [
        ("Python", facts.python),
        ("NumPy", facts.numpy or "missing"),
        ("OpenCV", facts.opencv or "missing"),
        ("MXNet", mxnet),
        ("features", " ".join(facts.features) or "none"),
        ("processors", f"{facts.logical_cpus} logical, {facts.physical_cores} physical cores usable"),
        ("threads", f"{facts.threads} (from {facts.threads_from})"),
    ]
    for gpu in facts.gpus:
        ability = "usable" if gpu.usable else "mxnet-cu112 1.9.1 cannot use it"
        rows.append(
            (f"GPU {gpu.index}", f"{gpu.name}, compute capability {'.'.join(map(str, gpu.capability))}, {ability}")
        )
    if not facts.gpus:
        rows.append(("GPUs", "none found"))
    for name, value in rows:
        click.echo(f"{name:11} {value}")
    for problem, remedy in facts.problems:
        click.echo(f"problem: {problem}\n remedy: {remedy}")
    if not facts.problems:
        click.echo("all well")
    sys.exit(0 if facts.can_run else 1)
