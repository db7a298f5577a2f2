"""The option that takes the settings of a pipeline's configuration file where they are not given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def pipeline_option(command: Command) -> Command:
    """Add --pipeline, which gives --prefix, --device, --batch-size and --threshold other defaults."""
    return click.option(
        "--pipeline",
        metavar="NAME | FILE | PREFIX",
        is_eager=True,
        expose_value=False,
        callback=_use_as_defaults,
        help="In place of --prefix: the file that mxml get-pipeline-config writes, whose settings options replace.",
    )(command)


def _use_as_defaults(context: click.Context, _: click.Parameter, pipeline: str | None) -> None:
    if pipeline is None:
        return
    from mxml.inference.pipeline_config import load_pipeline_config

    config = load_pipeline_config(pipeline)
    given: dict[str, Any] = {"prefix": config.model, "device": config.device, "batch_size": config.batch_size}
    if config.threshold is not None:
        given["threshold"] = [_typed(config.threshold)]
    context.default_map = {name: value for name, value in given.items() if value is not None}


def _typed(threshold: Any) -> str:
    """Return thresholds as they are typed."""
    if isinstance(threshold, dict):
        return ",".join(f"{name}={number}" for name, number in threshold.items())
    return ",".join(map(str, threshold)) if isinstance(threshold, list) else str(threshold)
