"""PaddleX's command lines, in which options take the place of a command."""

from __future__ import annotations

from collections.abc import Sequence

_CONFIG = ("--get_pipeline_config", "--get-pipeline-config")


def routed(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the command that PaddleX's form leaves out; all others as they are.

    ``--pipeline X --input Y`` becomes ``predict --pipeline X --input Y``, and ``--get_pipeline_config X`` becomes
    ``get-pipeline-config X``.
    """
    if not arguments or not arguments[0].startswith("--"):
        return list(arguments)
    names = [argument.partition("=")[0] for argument in arguments]
    for option in _CONFIG:
        if option in names:
            at = names.index(option)
            value = [arguments[at].partition("=")[2]] if "=" in arguments[at] else []
            return ["get-pipeline-config", *arguments[:at], *value, *arguments[at + 1 :]]
    return ["predict", *arguments] if "--pipeline" in names else list(arguments)
