"""A file of predictions that is cut anywhere is continued to what one run writes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from mxml.errors import ImageError, MxmlError
from mxml.inference.prediction import Prediction
from mxml.inference.results.layouts import layout
from mxml.inference.results.made_with import MadeWith, record_path
from mxml.inference.results.result_file import ResultFile

NAMES = ("red", "green")
MADE = MadeWith({"format": "mxml-predictions", "prefix": "a", "top_k": 0, "label_names": list(NAMES)})
# One is named twice, one holds a line end and quotation marks, and one cannot be read.
PATHS = ("a.jpg", "b.jpg", 'new\n"line".jpg', "bad.jpg", "a.jpg")


def predictions():
    for path in PATHS:
        error = ImageError("broken", path) if path == "bad.jpg" else None
        yield Prediction(path, NAMES, np.full(2, np.nan if error else 0.75, np.float32), error=error)


def write(path, kind, made_with=MADE, **options):
    """Predict what the file lacks; return how many images that were, and what the file held."""
    with ResultFile(str(path), layout(kind, NAMES), made_with, **options) as file:
        missing = [one for one in predictions() if not file.holds(one.path)]
        for one in missing:
            file.write(one)
    return len(missing), file.held


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
def test_a_file_that_is_cut_after_any_byte_is_continued_to_the_same_file(tmp_path, kind):
    path = tmp_path / f"out.{kind}"
    assert write(path, kind, resume=True) == (5, (0, 0))
    whole = path.read_bytes()
    assert write(path, kind, resume=True) == (0, (4, 1))
    assert path.read_bytes() == whole
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        missing, held = write(path, kind, resume=True)
        assert path.read_bytes() == whole, end
        assert missing + sum(held) == 5


def test_images_that_came_later_are_added_at_the_end(tmp_path):
    path = tmp_path / "out.json"
    with ResultFile(str(path), layout("json", NAMES), MADE) as file:
        file.write(list(predictions())[1])
    assert write(path, "json", resume=True) == (4, (1, 0))
    assert path.read_text().count("\n") == 7 and '"b.jpg"' in path.read_text().splitlines()[1]


def test_what_another_model_wrote_is_neither_continued_nor_replaced_unasked(tmp_path):
    path = tmp_path / "out.jsonl"
    write(path, "jsonl")
    whole = path.read_bytes()
    other = MadeWith({**MADE.settings, "prefix": "moved", "top_k": 3, "label_names": ["red", "blue"]})
    with pytest.raises(MxmlError, match=r"other settings: top_k \(0, now 3\), label_names; write another"):
        write(path, "jsonl", other, resume=True)
    with pytest.raises(MxmlError, match="already exists; `resume` continues it, `force` replaces it"):
        write(path, "jsonl")
    assert path.read_bytes() == whole
    moved = MadeWith({**MADE.settings, "prefix": "moved"})
    assert write(path, "jsonl", moved, resume=True)[0] == 0
    assert write(path, "jsonl", other, replace=True)[0] == 5
    assert MadeWith.read(record_path(path)) == other


@pytest.mark.parametrize("content", ["hello\n", "[1]\n", '{"input_path": 3}\n', "{}\n" * 2, "[" * 9999 + "\n"])
def test_a_file_that_predict_did_not_write_stays_as_it_is(tmp_path, content):
    path = tmp_path / "out.jsonl"
    MADE.write(record_path(path))
    path.write_text(content)
    with pytest.raises(MxmlError, match="row 1 is not one that mxml predict writes"):
        write(path, "jsonl", resume=True)
    os.unlink(record_path(path))
    with pytest.raises(MxmlError, match=r"made-with\.json, which says what it was made with, does not exist"):
        write(path, "jsonl", resume=True)
    assert path.read_text() == content


def test_a_record_that_is_none_is_refused(tmp_path):
    for content in ("", "[]", '{"format": 3}', "[" * 99999):
        (tmp_path / "r.json").write_text(content)
        with pytest.raises(MxmlError, match="is not a record that mxml predict wrote"):
            MadeWith.read(str(tmp_path / "r.json"))


def test_two_processes_do_not_write_one_file(tmp_path):
    path = tmp_path / "out.jsonl"
    first = ResultFile(str(path), layout("jsonl", NAMES), MADE)
    with first, pytest.raises(MxmlError, match="another process is writing it"):
        write(path, "jsonl", resume=True)


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, total: int, what: str, done: int = 0) -> None:
        pass

    def advance(self, count: int = 1, detail: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_the_end_and_ctrl_c_say_what_is_in_the_file(tmp_path):
    path, told = tmp_path / "out.csv", Notes()
    file = ResultFile(str(path), layout("csv", NAMES), MADE, progress=told)
    with pytest.raises(KeyboardInterrupt), file:
        file.write(next(predictions()))
        raise KeyboardInterrupt
    write(path, "csv", resume=True, progress=told)
    assert told.notes == [
        f"1 prediction is in {path}; `resume` goes on with the others",
        f"{path}: holds 1 image, which are not predicted again",
        f"5 predictions in {path}",
    ]
    with pytest.raises(RuntimeError), ResultFile(str(path), layout("csv", NAMES), MADE, resume=True, progress=told):
        raise RuntimeError
    assert len(told.notes) == 4
