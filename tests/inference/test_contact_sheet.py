"""Contact sheets: pages, their pictures, and what cannot be drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mxml.errors import ImageError, SettingError
from mxml.images.contact_sheet import draw_sheet, thumbnail
from mxml.images.drawing import Row
from mxml.inference.contact_sheet import ContactSheet, SheetCell
from mxml.inference.prediction import Prediction

NAMES = ("day", "night")


def prediction(number, size=(30, 40)):
    pixels = np.full((*size, 3), (number * 3, 255 - number * 3, 90), np.uint8)
    return Prediction(f"in/{number}.jpg", NAMES, np.array([0.9, 0.6]), pixels=pixels)


def test_predictions_fill_pages_in_their_order(tmp_path):
    with ContactSheet(tmp_path / "out" / "sheet.png") as sheet:
        for number in range(74):
            sheet.add(prediction(number))
            assert len(sheet.pages) == (number + 1) // 36
    assert [page.name for page in sheet.pages] == ["sheet.png", "sheet_2.png", "sheet_3.png"]
    pages = [np.asarray(Image.open(page)) for page in sheet.pages]
    assert pages[0].shape == pages[1].shape and pages[2].shape[1] == 2 * 264 + 12
    found = []
    for page in pages:
        step = page.shape[0] // (6 if page is not pages[2] else 1)
        for top in range(0, page.shape[0] - step // 2, step):
            found += [page[top + 12 + 126, left + 126] for left in range(12, page.shape[1] - 12, 264)]
    assert [int(pixel[0]) for pixel in found] == [number * 3 for number in range(74)]


def test_an_image_that_cannot_be_read_has_a_frame_of_its_own(tmp_path):
    bad = Prediction("x.jpg", NAMES, np.full(2, np.nan), error=ImageError("the file is empty"))
    with ContactSheet(tmp_path / "sheet.jpg") as sheet:
        sheet.add(bad)
        sheet.add(prediction(1))
    with Image.open(tmp_path / "sheet.jpg") as page:
        assert page.size[0] == 2 * 264 + 12


def test_no_prediction_gives_no_page_and_an_error_keeps_what_there_is(tmp_path):
    with ContactSheet(tmp_path / "none.jpg"):
        pass
    with pytest.raises(RuntimeError), ContactSheet(tmp_path / "some.jpg") as sheet:
        sheet.add(prediction(1))
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["some.jpg"]


def test_another_file_format_is_refused():
    with pytest.raises(SettingError, match=r"`contact_sheet` x\.gif: should be a file that ends in \.jpg"):
        ContactSheet("x.gif")


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (4000, 3000), (1, 1)])
def test_thumbnails_of_any_shape_fit(size):
    small = thumbnail(np.zeros((*size, 3), np.uint8))
    assert max(small.shape) <= 252
    page = draw_sheet([SheetCell(small, "a name " * 50, [Row("海" * 99, "class 0", 0.5)])])
    assert page.shape == (page.shape[0], 276, 3)
