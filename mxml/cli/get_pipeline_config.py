"""``mxml get-pipeline-config``."""

from __future__ import annotations

import click

from mxml.inference.pipeline_names import PIPELINE_NAME, PIPELINE_NAMES


@click.command(name="get-pipeline-config")
@click.argument("pipeline", type=click.Choice(PIPELINE_NAMES), default=PIPELINE_NAME)
@click.option(
    "--save-path", "--save_path", "folder", default=".", metavar="DIR", help="Where it is written.  [default: here]"
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(pipeline: str, folder: str, force: bool) -> None:
    """Write PIPELINE.yaml, the configuration file of a pipeline: which model it uses, on which device.

    Write your checkpoint's prefix into it; mxml predict --pipeline and mxml.create_pipeline then take the file.
    """
    from mxml.inference.pipeline_config import save_pipeline_config

    click.echo(f"wrote {save_pipeline_config(folder, force=force)}")
