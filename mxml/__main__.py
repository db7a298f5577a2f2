"""The ``mxml`` command, also as ``python -m mxml``: imports the rest where Ctrl-C is no traceback any more."""

import sys


def main() -> None:
    """Run the command line and exit; see ``mxml.cli.main``."""
    try:
        from mxml.cli import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
