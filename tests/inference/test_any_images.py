"""Images that need no labels: those of records, whatever labels these have."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from told import Told

from mxml.errors import ListError
from mxml.images.decode import Limits
from mxml.inference.any_images import read_any_images
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()


@pytest.mark.parametrize(("labels", "known"), [((1, 0), (1, 0)), ((7, 0.5), (-1, -1)), ((1, 0, 1), (-1, -1))])
def test_records_may_have_any_labels(tmp_path, labels, known):
    path = str(tmp_path / "some.rec")
    writer = mx.recordio.MXRecordIO(path, "w")
    for number in range(2):
        header = struct.pack("<IfQQ", len(labels), 0, number, 0)
        writer.write(header + np.array(labels, np.float32).tobytes() + b"image %d" % number)
    writer.close()
    progress = Told()
    images = read_any_images(path, None, 2, progress)
    assert images.labels.dtype == np.int8 and images.labels.tolist() == [list(known)] * 2
    assert len(progress.about("its labels are not those of the model")) == (known[0] == -1)
    assert images.read(1, Limits()) == b"image 1"  # type: ignore[union-attr]


def test_what_names_no_image_is_said(tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    for path in (tmp_path, tmp_path / "empty.txt"):
        with pytest.raises(ListError, match="names no image, should hold"):
            read_any_images(path, None, 2, Told())
    with pytest.raises(ListError, match="nowhere"):
        read_any_images(tmp_path / "nowhere.txt", None, 2, Told())
