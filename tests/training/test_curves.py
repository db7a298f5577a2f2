"""The curves' picture: what is drawn where, and that odd histories are drawn too."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mxml.training.curves import draw_history, plot_history
from mxml.training.history import ap_column

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
    assert limits([{"epoch": 1, "train_loss": 3e15, "val_loss": 1e18}])[0] == pytest.approx(112)


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


# ---- the AP of each label


def with_labels(epochs, APs):
    """A history in which each label's AP rises to its own value."""
    rows = history(epochs)
    return [
        {**row, **{ap_column(name): AP * (number + 1) / epochs for name, AP in APs.items()}}
        for number, row in enumerate(rows)
    ]


def label_axes(rows, **options):
    *_, axes = draw_history(rows, **options).axes
    assert axes.get_title() == "Validation AP of each label"
    return axes


def legend_texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_each_label_has_its_line_and_the_legend_its_ap_at_the_best_epoch(tmp_path):
    rows = with_labels(4, {"sea": 0.4, "sunset": 0.8})
    axes = label_axes(rows, best_epoch=2)
    assert axes.get_legend().get_title().get_text() == "AP at epoch 2"
    assert legend_texts(axes) == ["0.400  sunset", "0.200  sea"]
    lines = {tuple(np.round(line.get_ydata(), 3)) for line in axes.lines}
    assert {(0.1, 0.2, 0.3, 0.4), (0.2, 0.4, 0.6, 0.8)} <= lines
    assert drawn(rows, tmp_path).shape == (800, 1000, 3)


def test_of_many_labels_the_best_and_the_worst_are_in_colour():
    APs = {f"label {number}": number / 100 for number in range(80)}
    axes = label_axes(with_labels(10, APs))
    best, worst = (79, 78, 77), (3, 2, 1, 0)
    named = {number: f"{number / 100:.3f}  label {number}" for number in (*best, *worst)}
    texts = [*(named[number] for number in best), "73 labels between", *(named[number] for number in worst)]
    assert legend_texts(axes) == texts
    colours = [line.get_color() for line in axes.get_lines() if len(line.get_xdata()) == 10]
    assert len(colours) == 80 and colours.count("#9ca3af") == 73


def test_a_label_without_ap_has_no_line_and_one_with_gaps_has(tmp_path):
    rows = with_labels(3, {"a": 0.5, "b": 0.5, "c": 0.9})
    for row in rows:
        row[ap_column("a")] = None
    rows[2][ap_column("c")] = ""
    assert legend_texts(label_axes(rows, best_epoch=3)) == ["0.600  c", "0.500  b"]
    for row in rows:
        row.update({column: None for column in row if column.startswith("AP ")})
    assert label_axes(rows).get_legend() is None
    assert drawn(rows, tmp_path).shape == (800, 1000, 3)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Düne", "Düne"),
        ("Пустыня", "Пустыня"),
        ("\U0001f9ff\ue000", "label 2"),  # no font has a letter for private use
        ("$x^2$ and $\\frac$", "$x^2$ and $\\frac$"),
        ("_hidden", "_hidden"),
        ("x" * 300, "x" * 27 + "…"),
        ("a\u202eb", "a\\u202eb"),
    ],
)
def test_any_name_of_a_label_can_be_drawn(tmp_path, name, shown):
    """Warnings are errors here: of a letter without a font, or of a formula that is none."""
    rows = with_labels(2, {"first": 0.5, name: 0.9})
    assert legend_texts(label_axes(rows))[0] == f"0.900  {shown}"
    picture = drawn(rows, tmp_path)
    legend = picture[400:, 700:]
    assert (legend < 128).any()


@pytest.mark.parametrize("labels", [1, 2, 80])
def test_a_single_epoch_is_drawn_as_bars_of_which_none_covers_another(tmp_path, labels):
    """Such as that of a run that only fits the head."""
    APs = {f"label {number}": (number + 1) / 100 for number in range(labels)}
    (row,) = with_labels(1, APs)
    row.update(train_loss=None, lr="", val_loss=0.4, mAP=0.861, CF1=0.84, OF1=0.85)
    losses, metrics, by_label = draw_history([row], best_epoch=1).axes

    def bars(axes):
        return [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_height()) for bar in axes.patches]

    assert [height for *_, height in bars(losses)] == [0.4]
    assert [height for *_, height in bars(metrics)] == [0.861, 0.84, 0.85]
    assert [tick.get_text() for tick in metrics.get_xticklabels()] == ["mAP", "CF1", "OF1"]
    assert [text.get_text() for text in metrics.texts] == ["0.861", "0.840", "0.850"]
    assert [height for *_, height in bars(by_label)] == sorted(APs.values(), reverse=True)
    for axes in (metrics, by_label):
        assert all(end <= start for (_, end, _), (start, _, _) in zip(bars(axes), bars(axes)[1:]))
        assert not axes.lines
    assert losses.get_xlabel() == "epoch 1 (fit of the head)"
    (shown,) = (text for text in legend_texts(by_label) if text.endswith("label 0"))
    assert shown == "0.010  label 0"
    assert (
        draw_history([{**row, "train_loss": 0.5, "lr": 0.001}]).axes[0].get_xlabel() == "epoch 1, learning rate 0.001"
    )


def test_the_learning_rate_is_a_line_that_the_legend_names_and_that_covers_no_loss():
    figure = draw_history(history(6))
    losses, _, right = figure.axes
    assert legend_texts(losses) == ["training", "validation", "learning rate", "best: epoch 6"]
    (rate,) = right.lines
    assert np.asarray(rate.get_ydata()).tolist() == [row["lr"] for row in history(6)]
    assert rate.get_linestyle() == "-" and losses.get_zorder() > right.get_zorder()


def test_the_legends_lie_below_the_axes_and_within_the_picture():
    rows = with_labels(20, {"a": 0.5})
    figure = draw_history(rows, best_epoch=20, diverged=[2, 4])
    figure.draw_without_rendering()
    for axes in figure.axes[:2]:
        legend = axes.get_legend()
        assert legend is not None
        box = legend.get_window_extent()
        assert box.y1 <= axes.get_window_extent().y0 and box.y0 >= 400
        assert axes.get_window_extent().height > 200


@pytest.mark.parametrize("epochs", [1, 2, 10, 100])
@pytest.mark.parametrize("labels", [1, 5, 8, 80])
def test_the_legend_stays_within_the_picture(epochs, labels):
    figure = draw_history(with_labels(epochs, {f"label {'long ' * number}": 0.5 for number in range(labels)}))
    figure.draw_without_rendering()
    legend = figure.axes[-1].get_legend()
    assert legend is not None
    box = legend.get_window_extent()
    assert box.x1 <= 1000 and box.y0 >= 0 and box.y1 <= 400
    assert figure.axes[-1].get_window_extent().width > 500


def test_the_fit_of_the_head_and_recovered_divergences_are_marked():
    rows = history(5)
    rows[0].update(train_loss=None, lr="")
    for axes in draw_history(rows, best_epoch=5, diverged=[2, 4]).axes[:2]:
        texts = legend_texts(axes)
        assert texts[-3:] == ["fit of the head", "diverged", "best: epoch 5"]
        (band,) = axes.patches
        assert band.get_extents().transformed(axes.transData.inverted()).x1 == pytest.approx(1.5)
        assert {2, 4, 5} <= {np.asarray(line.get_xdata())[0] for line in axes.lines}
    assert not draw_history(history(5)).axes[0].patches


def test_losses_that_are_not_one_measure_are_named(tmp_path):
    losses = draw_history(history(4), trained_on="asymmetric").axes[0]
    assert legend_texts(losses)[:2] == ["training (asymmetric)", "validation (cross-entropy)"]
    one = draw_history(history(1), trained_on="asymmetric").axes[0]
    assert [tick.get_text() for tick in one.get_xticklabels()] == [
        "training\n(asymmetric)",
        "validation\n(cross-entropy)",
    ]
    assert legend_texts(draw_history(history(4)).axes[0])[:2] == ["training", "validation"]
