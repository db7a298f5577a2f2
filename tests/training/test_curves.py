"""The curves' picture: what is drawn where, and that odd histories are drawn too."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mxml.training.curves import draw_history, plot_history

TEAL, ORANGE, BEST = (15, 118, 110), (194, 65, 12), (202, 138, 4)


def history(epochs, start=1):
    return [
        {"epoch": start + i, "train_loss": 0.7 / (i + 1), "val_loss": 0.8 / (i + 1), "mAP": 0.5 + 0.4 * i / epochs,
         "CF1": 0.5, "OF1": 0.6, "hamming": 0.2, "lr": 0.1 / (i + 1)}
        for i in range(epochs)
    ]  # fmt: skip


def drawn(rows, folder, **options):
    path = folder / "model-curves.png"
    plot_history(rows, path, **options)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def near(picture, colour):
    """Where ``picture`` has ``colour``, in its left and in its right half."""
    mask = (abs(picture - colour) < 12).all(axis=2)
    return mask[:, :500], mask[:, 500:]


def test_losses_are_on_the_left_and_metrics_on_the_right(tmp_path):
    without = [{**row, "mAP": "", "CF1": math.nan, "OF1": None} for row in history(6)]
    left, right = near(drawn(without, tmp_path), TEAL)
    assert left.sum() > 300 and right.sum() == 0
    left, right = near(drawn([{"epoch": 1 + i, "mAP": 0.5 + i / 20} for i in range(6)], tmp_path), TEAL)
    assert left.sum() == 0 and right.sum() > 300


def test_a_falling_loss_falls(tmp_path):
    rows = [{"epoch": i, "val_loss": 1 - i / 10} for i in range(10)]
    left, _ = near(drawn([{**row, "train_loss": row["val_loss"]} for row in rows], tmp_path), ORANGE)
    heights = [np.flatnonzero(column).mean() for column in left[60:].T if column.any()]
    assert heights == sorted(heights) or np.corrcoef(heights, range(len(heights)))[0, 1] > 0.9


def test_the_best_epoch_is_marked_where_it_is(tmp_path):
    def mark(**options):
        _, right = near(drawn(history(11), tmp_path, **options), BEST)
        return np.median(np.flatnonzero(right.sum(axis=0) > 80))

    first, middle, last = mark(best_epoch=1), mark(best_epoch=6), mark()
    assert last - middle == pytest.approx(middle - first, abs=3) and middle - first > 100


def test_a_gap_is_a_gap_and_not_a_bridge(tmp_path):
    whole = history(9)
    gap = [{**row, "val_loss": ""} if row["epoch"] in (4, 5, 6) else row for row in whole]
    with_gap, without = near(drawn(gap, tmp_path), ORANGE)[0], near(drawn(whole, tmp_path), ORANGE)[0]
    assert 0 < with_gap.sum() < 0.8 * without.sum()


@pytest.mark.parametrize("rows", [history(1), history(1, start=7), [], history(300), [{"epoch": 1, "train_loss": 0.0}]])
def test_a_history_of_any_length_is_drawn(tmp_path, rows):
    assert drawn(rows, tmp_path).shape == (400, 1000, 3)


def limits(rows):
    """The upper end of the loss's axis, and its title."""
    axes = draw_history(rows).axes[0]
    return axes.get_ylim()[1], axes.get_title()


def test_a_loss_that_diverged_does_not_flatten_the_others():
    rows = history(5)
    rows[-1] = {**rows[-1], "train_loss": 3e15, "val_loss": 1e18}
    top, title = limits(rows)
    assert 0.8 < top < 10
    assert title == "Loss (some values are above 6.93)"
    assert limits([{"epoch": 1, "train_loss": 3e15, "val_loss": 1e18}])[0] == pytest.approx(106)


def test_the_axis_of_an_ordinary_run_shows_all_of_it():
    assert limits(history(30)) == (pytest.approx(0.8 * 1.06), "Loss")
    large = [{"epoch": epoch, "train_loss": 40.0 - epoch} for epoch in range(1, 20)]
    assert limits(large) == (pytest.approx(39 * 1.06), "Loss")


def test_the_text_of_a_csv_draws_the_same_picture(tmp_path):
    as_text = [{key: repr(value) for key, value in row.items()} for row in history(4)]
    np.testing.assert_array_equal(drawn(as_text, tmp_path), drawn(history(4), tmp_path))


def test_a_failure_leaves_the_old_picture_and_no_rubbish(tmp_path):
    before = drawn(history(3), tmp_path)
    with pytest.raises(ValueError, match="could not convert"):
        plot_history([{"epoch": 1, "mAP": "much"}], tmp_path / "model-curves.png")
    assert [path.name for path in tmp_path.iterdir()] == ["model-curves.png"]
    with Image.open(tmp_path / "model-curves.png") as after:
        np.testing.assert_array_equal(np.asarray(after.convert("RGB")), before)


def test_no_window_system_is_touched(tmp_path):
    # pyplot would choose a backend, keep every figure and change the caller's global state
    script = (
        "import sys; from mxml.training.curves import plot_history\n"
        "plot_history([{'epoch': 1, 'mAP': 0.5}], sys.argv[1])\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "x.png")], check=True)
