"""Sets of labelled images, drawn by hypothesis, and what they are once a form of labels was written and read."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from mxml.data.formats.options import DEFAULTS
from mxml.data.image_list import ImageList, path_fault, plain_path
from mxml.data.label_names import label_name_faults
from mxml.data.labelled_images import LabelledImages

# What some form or other gives a meaning to, beside anything else that Unicode has.
letters = st.one_of(
    st.sampled_from("ab ,;|\t\"'\\#%&<>{}[]:=+-_./01éß日\u2028\x85\ufeff"),
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"),
)
words = st.text(letters, min_size=1, max_size=12)
label_names = words.filter(lambda name: not label_name_faults([name]))
image_names = words.filter(lambda name: path_fault(name) is None)
# Names that a file can have and that say themselves that they are images.
file_names = st.builds(
    lambda folders, stem, suffix: "/".join([*folders, stem]) + suffix,
    st.lists(words, max_size=2).map(lambda parts: [part.replace("/", "-") for part in parts]),
    words.map(lambda stem: stem.replace("/", "-")),
    st.sampled_from([".jpg", ".JPG", ".png", ".webp"]),
).filter(lambda name: path_fault(name) is None and not any(part.startswith(".") for part in name.split("/")))


@st.composite
def labelled_sets(draw, names=image_names, labels=label_names, values=(0, 1, -1), most_labels=4):
    """Draw (image names, label names, rows of values); labels may occur in no image."""
    chosen = draw(st.lists(labels, min_size=1, max_size=most_labels, unique=True))
    images = draw(st.lists(names, min_size=1, max_size=5, unique_by=plain_path))
    row = st.lists(st.sampled_from(values), min_size=len(chosen), max_size=len(chosen))
    return images, chosen, [draw(row) for _ in images]


def labelled(images, label_names, rows, root="images"):
    """Return such a set as a value."""
    table = np.array(rows, np.int8).reshape(len(images), len(label_names))
    return LabelledImages(ImageList.from_rows(images, table, root), tuple(label_names))


def said(read):
    """Return what a set says: label names, and pairs of an image and its row."""
    return list(read.label_names), list(zip(read.images.names(), read.images.labels.tolist()))


def reread(form, written, target, options=DEFAULTS, root=None):
    """Write a set, check that the form knows its file again, and return what it says when it is read."""
    form.write(written, target, options)
    assert form.recognises(target)
    return said(form.read(target, target if root is None else root, options))
