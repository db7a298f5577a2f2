"""``python -m mxml``: the same as ``mxml``."""

from mxml.cli import main

main()
