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
    train = (lists / "train.lst").read_text().splitlines(keepends=True)
    (tmp_path / "train.lst").write_text("".join(train[:400]))
    val = (lists / "val.lst").read_text().splitlines(keepends=True)[:60]
    (tmp_path / "val.lst").write_text("".join(val))
    fit(
        TrainConfig(
            model=str(checkout / "models" / "sample"),
            prefix=str(tmp_path / "run"),
            data_train=str(tmp_path / "train.lst"),
            image_train=images,
            data_val=str(tmp_path / "val.lst"),
            image_val=images,
            image_shape=(3, 96, 96),
            method="features",
            feature_copies=(),
            labels=str(lists / "labels.txt"),
            device="cpu",
        )
    )
    names = [line.split("\t")[-1].strip() for line in val]
    hits = occlusion.shapes_hit(Classifier.load(str(tmp_path / "run")), [f"{images}/{name}" for name in names])
    on, _, area = np.mean([hit for of_label in hits.values() for hit in of_label], axis=0)
    assert sum(map(len, hits.values())) >= 80
    # The figures are a twentieth of the pictures.
    assert on >= 0.75 and area < 0.07
