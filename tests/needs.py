"""What a test does where the machine lacks what it needs."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """Skip a test for what this machine lacks; in CI, where everything is to be there, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; CI has to have it", pytrace=False)
    pytest.skip(what)


def bfloat16(test):
    """Skip a test where the processor cannot compute in bfloat16."""
    from mxml.runtime.dtypes import cpu_computes_bfloat16

    return pytest.mark.skipif(not cpu_computes_bfloat16(), reason="needs a processor with AVX-512")(test)
