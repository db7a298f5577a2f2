"""Fixtures that every test file may use."""

from __future__ import annotations

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout that the tests lie in."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared(checkout: Path) -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    folder = checkout.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the real data in {folder}, which is not there")
    return folder
