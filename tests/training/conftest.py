"""Fixtures for the tests of training."""

from __future__ import annotations

import shutil

import pytest
import tiny


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """The data and the network of ``tiny``, to be copied."""
    folder = tmp_path_factory.mktemp("data")
    tiny.make_data(folder)
    return folder


@pytest.fixture
def folder(tiny_data, tmp_path):
    """A fresh copy of these, to be written beside."""
    shutil.copytree(tiny_data, tmp_path / "d")
    return tmp_path / "d"
