"""Fixtures that every test file may use."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from browser import Browser, Page, find_chromium
from needs import lacking

CHECKOUT = Path(__file__).resolve().parent.parent

# The tests are of the CPU build; the driver then names no GPU, and every machine runs the same tests.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# A busy machine is no fault: no test is about time.
hypothesis.settings.register_profile("mxml", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("mxml")

# Files of few and long tests: the processes would wait for these if they came last.
_LONG_FILES = (
    "test_launch.py",
    "test_run_train.py",
    "test_tutorial.py",
    "test_resume.py",
    "test_head_fit.py",
    "test_train.py",
)


def pytest_collection_modifyitems(items):
    """Put files of long tests first; of all others the order stays."""
    places = {name: place for place, name in enumerate(_LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout that the tests lie in."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared(checkout: Path) -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    folder = checkout.parent / "shared"
    if not (folder / "data").is_dir():
        lacking(f"needs the real data in {folder}, which does not exist")
    return folder


@pytest.fixture(scope="session")
def browser():
    program = find_chromium()
    if program is None:
        lacking("needs Chromium: apt-get install chromium")
    with Browser(program) as running:
        yield running


@pytest.fixture
def opened(browser, tmp_path):
    """Return a function that loads a page's text; what it opens is closed after the test."""
    pages: list[Page] = []

    def open_text(text, width=1280, **how):
        path = tmp_path / f"page {len(pages)}.html"
        path.write_text(text, encoding="utf-8")
        pages.append(browser.open(path, width, **how))
        return pages[-1]

    yield open_text
    for page in pages:
        page.close()
