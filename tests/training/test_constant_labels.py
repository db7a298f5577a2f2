"""Labels that every image of a list has, or none: a run says so before it trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from told import Told

from mxml.training.fit import fit


def relabelled(path, **columns):
    """Replace columns of labels in a list by one value each."""
    lines = [line.split("\t") for line in Path(path).read_text().splitlines()]
    for name, value in columns.items():
        for line in lines:
            line[1 + tiny.LABELS.index(name)] = value
    Path(path).write_text("".join("\t".join(line) + "\n" for line in lines))


@pytest.mark.parametrize("settings", [{}, {"method": "features", "optimizer": None, "lr": None}])
def test_labels_that_are_the_same_in_all_images_are_said(folder, settings):
    first, second, third = tiny.LABELS
    train, val = (folder / "lists" / f"{name}.lst" for name in ("train", "val"))
    relabelled(val, **{first: "1", second: "0", third: "-1"})
    told = Told()
    fit(tiny.config(folder, num_epoch=1, **settings), told)
    assert not told.about(f"{train}: no image") and not told.about(f"{train}: every")
    (said,) = [line for line in told.notes if line.startswith(f"{val}: ")]
    assert said == (
        f"{val}: no image has {second}, {third}, and every image has {first}; its metrics say nothing about them"
    )


def test_a_label_to_learn_that_no_image_has_is_said(folder):
    relabelled(folder / "lists/train.lst", **{tiny.LABELS[1]: "0"})
    told = Told()
    fit(tiny.config(folder, num_epoch=1), told)
    assert told.about(f"{folder}/lists/train.lst: no image has {tiny.LABELS[1]}; no network learns from that")
