"""The sample's own network: of a label that an image has and gets, the map is largest on what was drawn for it."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from mxml import Classifier, TrainConfig, fit


@pytest.fixture(scope="module")
def occlusion(checkout):
    """The benchmark as a module; it draws the sample's images again, to know where each figure is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(checkout / "benchmarks"), str(checkout / "models"), *sys.path])
        yield importlib.import_module("explain_occlusion")
    for name in ("explain_occlusion", "make_sample", "figures"):
        sys.modules.pop(name, None)


def test_peaks_are_on_the_figures(checkout, occlusion, tmp_path):
    lists, images = checkout / "lists", str(checkout / "images")
    fit(
        TrainConfig(
            model=str(checkout / "models" / "sample"),
            prefix=str(tmp_path / "run"),
            data_train=str(lists / "train.lst"),
            image_train=images,
            data_val=str(lists / "val.lst"),
            image_val=images,
            image_shape=(3, 96, 96),
            method="features",
            device="cpu",
        )
    )
    names = [line.split("\t")[-1] for line in (lists / "val.lst").read_text().splitlines()[:60]]
    hits = occlusion.shapes_hit(Classifier.load(str(tmp_path / "run")), [f"{images}/{name}" for name in names])
    on, _, area = np.mean([hit for of_label in hits.values() for hit in of_label], axis=0)
    assert sum(map(len, hits.values())) >= 80
    # The figures are a twentieth of the pictures.
    assert on >= 0.75 and area < 0.07
