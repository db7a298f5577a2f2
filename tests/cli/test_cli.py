"""The command line as a whole: its help, and what no command is."""

import json
import re

from mxml import cli


def test_help_and_doctor(mxml):
    code, out, err = mxml("--help")
    assert (code, err) == (0, "")
    assert re.findall(r"^  ([a-z][a-z-]+)  ", out, re.M) == list(cli.COMMANDS)
    assert mxml()[:2] == (0, out)
    for name in cli.COMMANDS:
        assert mxml(name, "--help")[0] == 0
    assert mxml("doctor")[::2] == (0, "")
    facts = json.loads(mxml("doctor", "--json")[1])
    assert facts["can_run"] is True
    assert facts["mxnet"] == "1.9.1"


def test_an_unknown_command_is_refused_with_the_nearest(mxml):
    assert mxml("nonsense")[::2] == (2, "mxml: No such command 'nonsense'; see mxml --help\n")
    assert "did you mean predict?" in mxml("predct")[2]
