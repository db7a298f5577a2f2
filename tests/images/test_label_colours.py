"""The colours of labels: fixed by their names, apart from each other, and visible on what they are drawn on."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.images.label_colours import PANEL, as_hex, label_colours

# Machado, Oliveira and Fernandes 2009, severity 1.0, for linear RGB.
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
NAMES = tuple(f"label {number}" for number in range(32))


def linear(colours):
    part = np.asarray(colours) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def cielab(colours):
    scaled = colours @ np.array(TO_XYZ).T / [0.95047, 1, 1.08883]
    root = np.where(scaled > 216 / 24389, np.cbrt(scaled), (24389 / 27 * scaled + 16) / 116)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def least_difference(seen):
    return min(np.linalg.norm(one - other) for one, other in itertools.combinations(cielab(seen), 2))


def test_colours_have_a_contrast_of_three_to_white_and_to_the_panel():
    luminance = linear(label_colours(NAMES)) @ TO_XYZ[1]
    panel = linear(PANEL) @ TO_XYZ[1]
    assert (1.05 / (luminance + 0.05) >= 3).all()
    assert ((luminance + 0.05) / (panel + 0.05) >= 3).all()


def test_the_first_eight_stay_apart_for_colour_blind_readers_and_thirty_two_for_others():
    first = linear(label_colours(NAMES[:8]))
    for seen in (np.eye(3), np.array(DEUTERANOPIA), np.array(PROTANOPIA)):
        assert least_difference(np.clip(first @ seen.T, 0, 1)) > 15
    assert least_difference(first) > 40
    assert least_difference(linear(label_colours(NAMES))) > 15


@settings(max_examples=20)
@given(st.lists(st.text(max_size=5), unique=True, max_size=60), st.randoms())
def test_a_label_keeps_its_colour_whatever_the_order(names, random):
    colours = dict(zip(names, label_colours(tuple(names))))
    random.shuffle(names)
    assert dict(zip(names, label_colours(tuple(names)))) == colours
    assert len(set(colours.values())) >= min(len(names), 32)


def test_the_colours_are_the_same_on_every_machine_and_named_colours_are_themselves():
    desert, red, sea = label_colours(("desert", "red", "sea"))
    assert as_hex(red) == "#dd1111"
    assert (as_hex(desert), as_hex(sea)) == ("#0088dd", "#bb00aa")
