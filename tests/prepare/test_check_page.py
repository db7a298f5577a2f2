"""The check page: what it says, that no name can harm it, and what a real browser makes of it."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from browser import BrowserError
from html_pages import (
    HOSTILE,
    SHOWN,
    Parsed,
    assert_asks_for_nothing,
    assert_sound,
    pictures,
    text_of,
    words,
    write_photo,
)
from PIL import Image

from mxml.data.image_list import ImageList
from mxml.data.lst_file import write_lst
from mxml.prepare.check import check_lists
from mxml.prepare.check_page import format_page


def write_list(path, rows):
    write_lst(path, ImageList.from_rows([name for name, _ in rows], [labels for _, labels in rows]))
    return path


def small_report(folder, rows, others=(), names=("cat", "dog", "bird")):
    """Check a list of photographs that are made here unless they are there already; ``others`` is a second list."""
    for seed, (name, _) in enumerate((*rows, *others)):
        if not (folder / "images" / name).exists():
            write_photo(folder / "images" / name, seed)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    lists = [write_list(folder / "train.lst", rows)]
    if others:
        lists.append(write_list(folder / "val.lst", others))
    return check_lists(lists, folder / "images")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page of two lists with every kind of fault, and names that try to break out of it."""
    folder = tmp_path_factory.mktemp("hostile")
    generator = np.random.default_rng(3)
    rows: list[tuple[str, Sequence[int]]] = [
        (f"photo {i}.jpg", (generator.random(7) < (0.6, 0.4, 0.3, 0.3, 0.2, 0.2, 0)).astype(int).tolist())
        for i in range(40)
    ]
    rows.append(("<img src=x onerror=alert(1)>.jpg", [0, 1, 1, 1, 1, 1, 0]))
    rows.append(("copy.jpg", [1, 0, 0, 1, 0, -1, 0]))
    rows += [(name, [1, 0, 0, 0, 0, 0, 0]) for name in ("empty.jpg", "text.jpg", "gone.jpg")]
    images = folder / "images"
    write_photo(images / "copy.jpg", 99)
    shutil.copy(images / "copy.jpg", images / "original.jpg")
    (images / "empty.jpg").write_bytes(b"")
    (images / "text.jpg").write_text("no image")
    for seed, (name, _) in enumerate(rows[:41]):
        write_photo(images / name, seed, int(generator.integers(40, 300)), int(generator.integers(40, 300)))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in HOSTILE), encoding="utf-8")
    train = write_list(folder / "train.lst", rows)
    with open(train, "a", encoding="utf-8") as file:
        file.write("99\tnonsense<br>\n")
    val = write_list(folder / "val.lst", [("original.jpg", [0, 0, 0, 1, 0, 0, 1]), rows[0]])
    return format_page(check_lists([train, val], images))


# ---- what the page says


def test_the_figures_are_those_of_the_lists(tmp_path):
    rows = [("a.jpg", [1, 1, 0]), ("b.jpg", [1, 0, -1]), ("c.jpg", [1, 0, 0]), ("d.jpg", [0, 0, 1])]
    others = [("e.jpg", [1, 0, 1]), ("f.jpg", [0, 1, 1])]
    page = format_page(small_report(tmp_path, rows, others))
    assert "4 images in train.lst, 2 images in val.lst, 3 labels; images under" in words(page)
    # per list the images and their share among the known, then how often unknown, then absent / present in training
    assert text_of(page, "labels").endswith(
        "cat 3 75.0 % 1 50.0 % 0 0.333 dog 1 25.0 % 1 50.0 % 0 3.000 bird 1 33.3 % 2 100.0 % 1 2.000"
    )
    cells = re.findall(r'<td class="([^"]*)" (?:data-count="\d+" )?title="([^"]*)">([^<]*)', page)
    assert [(text, title) for _, title, text in cells][:5] == [
        ("4", "cat: 4 images"),
        ("1", "cat and dog: 1 image, 25.0\u00a0% of those with cat"),
        ("1", "cat and bird: 1 image, 25.0\u00a0% of those with cat; never together in train.lst"),
        ("1", "dog and cat: 1 image, 50.0\u00a0% of those with dog"),
        ("2", "dog: 2 images"),
    ]
    assert [kind.split()[-1] for kind, _, _ in cells] == [
        "own",
        "heat5",
        "new",
        "heat10",
        "own",
        "new",
        "new",
        "new",
        "own",
    ]
    assert "2 pairs in val.lst, never in train.lst cat and bird 1 dog and bird 1" in text_of(page, "together")
    assert text_of(page, "counts").endswith("0 0 0.0 % 0 0.0 % 1 3 75.0 % 0 0.0 % 2 1 25.0 % 2 100.0 %")
    # training shares 3/4, 1/4, 1/3: cat is guessed for all, dog and bird for none
    assert "train.lst 0.444 72.7 % 0.273 val.lst 0.667 33.3 % 0.667" in text_of(page, "guessing")
    assert "(absent / present)" in text_of(page, "pos-weight") and "BCEWithLogitsLoss" in text_of(page, "pos-weight")
    assert text_of(page, "pos-weight").endswith("0.3333, 3, 2")
    assert "6 images in 1 size: 60 to 60 pixels wide" in text_of(page, "sizes")


def test_a_bar_keeps_its_place_where_another_list_knows_nothing(tmp_path):
    rows = [("a.jpg", [-1, 1, 0]), ("b.jpg", [-1, 0, 1])]
    page = format_page(small_report(tmp_path, rows, [("c.jpg", [1, 0, 1]), ("d.jpg", [0, 1, 0])]))
    bars = re.findall(r'<svg class="bars".*?</svg>', page, re.DOTALL)
    assert re.findall(r'class="(list\d)" y="(\d+)"', bars[0]) == [("list1", "11")]
    assert re.findall(r'class="(list\d)" y="(\d+)"', bars[1]) == [("list0", "2"), ("list1", "11")]


def test_a_list_in_order_and_one_in_pieces_get_their_verdicts(tmp_path):
    rows = [("a.jpg", [1, 0, 0]), ("b.jpg", [0, 1, 0]), ("c.jpg", [0, 0, 1])]
    good = format_page(small_report(tmp_path, rows))
    assert "No errors, no warnings." in good
    assert "No two images show the same." in good
    (tmp_path / "images" / "b.jpg").write_bytes(b"")
    (tmp_path / "images" / "c.jpg").unlink()
    bad = format_page(check_lists([tmp_path / "train.lst"], tmp_path / "images"))
    assert re.search(r"<strong>2 errors, 0 warnings\.</strong>", bad)
    findings = text_of(bad, "findings")
    assert f"{tmp_path}/train.lst:3: c.jpg: no such file" in findings
    assert findings.index("c.jpg") < findings.index("b.jpg")  # what is missing comes before what is empty
    assert "No image that can be shown." in text_of(bad, "samples")


def test_errors_stand_before_warnings(hostile):
    kinds = re.findall(r'<div class="finding (\w+)">', hostile)
    assert set(kinds) == {"error", "warning"}
    assert kinds == sorted(kinds)


def test_a_page_without_one_readable_image(tmp_path):
    (tmp_path / "images").mkdir()
    train = write_list(tmp_path / "train.lst", [("a.jpg", [1, 0]), ("b.jpg", [0, 0])])
    page = format_page(check_lists([train], tmp_path / "images"))
    assert "No image can be read." in text_of(page, "sizes")
    assert "class_0" in text_of(page, "labels")
    assert not Parsed(page).all("img")


def test_damage_and_labels_that_look_alike_are_on_the_page(tmp_path):
    write_photo(tmp_path / "images" / "half.jpg", 7)
    whole = (tmp_path / "images" / "half.jpg").read_bytes()
    (tmp_path / "images" / "half.jpg").write_bytes(whole[:-20] + b"\xff\xd9")
    rows = [("half.jpg", [1, 0, 1]), ("b.jpg", [1, 0, 0]), ("c.jpg", [0, 1, 0]), ("d.jpg", [0, 0, 1])]
    page = format_page(small_report(tmp_path, rows, names=("trees", "tress", "sea")))
    said = text_of(page, "findings")
    assert "warning Images that are damaged but can be decoded" in said
    assert "half.jpg: is damaged inside: premature end of data segment" in said
    assert "labels.txt:2: 'tress' (1 image) looks like 'trees' (line 1, 2 images) – c.jpg" in html.unescape(said)
    assert "half.jpg" in pictures(page)


def test_lists_with_their_own_folders_say_so(tmp_path):
    (tmp_path / "images").mkdir()
    train = write_list(tmp_path / "train.lst", [("a.jpg", [1, 0])])
    page = format_page(check_lists([train, write_list(tmp_path / "val.lst", [("b.jpg", [0, 1])])], ["one", "two"]))
    assert "1 image in train.lst under one, 1 image in val.lst under two, 2 labels" in words(page)


def test_duplicates_stand_side_by_side_with_what_they_disagree_on(tmp_path):
    write_photo(tmp_path / "images" / "copy.jpg", 50)
    shutil.copy(tmp_path / "images" / "copy.jpg", tmp_path / "images" / "other.jpg")
    rows = [("a.jpg", [1, 1, 0]), ("copy.jpg", [1, 1, 0]), ("b.jpg", [0, 0, 1])]
    page = format_page(small_report(tmp_path, rows, [("other.jpg", [1, 0, -1])]))
    said = text_of(page, "duplicates")
    assert "same bytes labels differ in several lists" in said
    # bird is unknown in one and absent in the other: no disagreement
    assert said.endswith("copy.jpg train.lst:2 cat dog other.jpg val.lst:1 cat not dog")
    assert re.findall(r'<mark class="chip (\w+)">', page) == ["has", "lacks"]


def test_a_group_shows_every_labelling_that_it_has(tmp_path):
    write_photo(tmp_path / "images" / "0.jpg", 50)
    for i in range(1, 9):
        shutil.copy(tmp_path / "images" / "0.jpg", tmp_path / "images" / f"{i}.jpg")
    page = format_page(small_report(tmp_path, [(f"{i}.jpg", [1, 0, int(i == 8)]) for i in range(9)]))
    said = text_of(page, "duplicates")
    assert "8.jpg train.lst:9 cat bird" in said
    assert "3 more images of this group are not shown." in said


def test_samples_are_spread_and_shown_once(tmp_path):
    rows = [(f"{i:02d}.jpg", [1, int(i % 10 == 0), 0]) for i in range(40)]
    page = format_page(small_report(tmp_path, rows))
    samples = page.partition('<section id="samples"')[2].partition("</section>")[0]
    cats, dogs, _ = (re.findall(r'<span class="file"><bdi>(\d+)', part) for part in samples.split('class="sample"')[1:])
    assert dogs == ["00", "10", "20", "30"]  # all that there are; the rarer label chooses first
    assert len(cats) == 8
    assert not set(cats) & set(dogs)
    assert (cats[0], cats[-1]) == ("01", "39")
    assert page == format_page(small_report(tmp_path, rows))


# ---- images


def test_thumbnails_are_small_and_upright(tmp_path):
    (tmp_path / "images").mkdir()
    picture = Image.new("RGB", (1600, 800), "blue")
    picture.paste("red", (0, 0, 800, 800))
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees to the right: red is then above
    picture.save(tmp_path / "images" / "turned.jpg", exif=exif)
    Image.new("RGBA", (3000, 2), (0, 0, 0, 0)).save(tmp_path / "images" / "thin.png")
    page = format_page(
        small_report(tmp_path, [("turned.jpg", [1, 0, 0]), ("thin.png", [0, 1, 0]), ("c.jpg", [0, 0, 1])])
    )
    shown = pictures(page)
    assert shown["turned.jpg"].shape == (160, 80, 3)
    blue, _, red = cv2.split(shown["turned.jpg"])
    assert red[20, 40] > 200 > 50 > blue[20, 40]
    assert blue[140, 40] > 200 > 50 > red[140, 40]
    assert shown["thin.png"].shape == (1, 160, 3)
    assert shown["thin.png"].min() > 240  # transparent lies over white
    assert shown["c.jpg"].shape == (40, 60, 3)  # no larger than it is


def test_an_image_that_has_gone_since_the_check_is_named(tmp_path):
    report = small_report(tmp_path, [("a.jpg", [1, 0, 0]), ("b.jpg", [0, 1, 0]), ("c.jpg", [0, 0, 1])])
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "images" / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    page = format_page(report)
    assert list(pictures(page)) == ["c.jpg"]
    assert "cannot be shown: no such file cat a.jpg" in text_of(page, "samples")


# ---- limits


def test_a_thousand_labels_make_no_huge_page(tmp_path):
    generator = np.random.default_rng(5)
    likely = generator.random(1200) * 0.05
    rows = [(f"{i}.jpg", (generator.random(1200) < likely).astype(int)) for i in range(300)]
    page = format_page(small_report(tmp_path, rows, names=[f"label {i}" for i in range(1200)]))
    assert len(page) < 6_000_000
    assert "The 1,000 most frequent labels; 200 rarer ones are left out." in text_of(page, "labels")
    assert "The 60 most frequent labels; 1,140 rarer ones are left out." in text_of(page, "together")
    assert "The 100 most frequent labels; 1,100 rarer ones are left out." in text_of(page, "samples")
    assert "The first 1,000 of 1,200." in text_of(page, "pos-weight")
    assert len(Parsed(page).all("img")) == 400
    assert page.count('<td class="own"') == 60


def test_many_findings_and_groups_are_counted_instead_of_shown(tmp_path):
    rows = [(f"{i}.jpg", [1, 0, 0]) for i in range(140)] + [(f"gone {i}.jpg", [0, 1, 0]) for i in range(130)]
    images = tmp_path / "images"
    for i in range(70):
        write_photo(images / f"{i}.jpg", i)
        shutil.copy(images / f"{i}.jpg", images / f"{i + 70}.jpg")
    train = write_list(tmp_path / "train.lst", rows)
    page = format_page(check_lists([train], images))
    assert "30 more of this kind are not shown here." in text_of(page, "findings")
    assert len(re.findall(r'<article class="group"', page)) == 60
    assert "10 more groups are not shown." in text_of(page, "duplicates")


def test_sizes_beyond_counting_share_dots(tmp_path):
    for i in range(300):
        write_photo(tmp_path / "images" / f"{i}.jpg", i, 40 + i, 340 - i)
    page = format_page(small_report(tmp_path, [(f"{i}.jpg", [1, 0, 0]) for i in range(300)]))
    dots = re.findall(r"<circle [^>]*><title>about [\d,]+ × [\d,]+: ([\d,]+) image", page)
    assert 10 < len(dots) < 150
    assert sum(map(int, dots)) == 300
    assert "300 images in 300 different sizes: 40 to 339 pixels wide (median 189), 41 to 340 high" in text_of(
        page, "sizes"
    )


# ---- hostile names


def test_no_name_becomes_a_tag(hostile):
    parsed = Parsed(hostile)
    assert (
        len(parsed.all("script"))
        == len(parsed.all("style"))
        == len(parsed.all("title")) - hostile.count("<circle") - hostile.count('class="square"')
        == 1
    )
    for tag, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
    texts = [text for found in parsed.texts.values() for text in found]
    for name in ("<script>document.title = 'owned'</script>", "</style></title><b onclick='x'>", HOSTILE[3]):
        assert name in texts
    assert "<img src=x onerror=alert(1)>.jpg" in texts
    assert "49" not in [text.strip() for text in texts]  # {{ 7*7 }} was not computed


def test_what_would_turn_or_break_the_text_is_shown_as_its_code(hostile):
    hostile.encode("utf-8")
    assert "\u202e" not in hostile
    assert r"\u202egnirts" in hostile
    assert "\x07" not in hostile
    assert r"bell\x07 قطة 日本" in hostile


def test_the_page_asks_for_nothing(hostile):
    assert_asks_for_nothing(hostile)


# ---- in a browser


def installing(checkout, folder, **programs):
    """Run install_browser of scripts/environment.sh with these programs alone, each the text of a shell script."""
    folder.mkdir()
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    command = ["/bin/sh", "-ec", ". scripts/environment.sh; install_browser"]
    run = subprocess.run(command, cwd=checkout, env={"PATH": str(folder), "root": "."}, capture_output=True, text=True)
    assert run.returncode == 0
    assert run.stdout == ""
    return run.stderr


def test_the_browser_is_installed_where_that_can_be_done(checkout, tmp_path):
    root = {"id": "echo 0", "timeout": 'shift; "$@"', "env": 'shift; "$@"'}
    asked = tmp_path / "asked"
    apt = f'echo "$@" >>{asked}'
    assert installing(checkout, tmp_path / "there", **root, **{"google-chrome": "exit 0"}, **{"apt-get": apt}) == ""
    assert not asked.exists()
    said = installing(checkout, tmp_path / "broken", **root, chromium="exit 1", **{"apt-get": apt})
    assert said == "mxml: installing Chromium for the tests (a minute or two, once)\n"
    assert asked.read_text() == "-qq update\n-qq install -y --no-install-recommends chromium\n"
    assert "could not be installed" in installing(checkout, tmp_path / "fails", **root, **{"apt-get": "exit 100"})
    assert "no apt-get to install it with" in installing(checkout, tmp_path / "no apt", **root)
    assert "no right to install it" in installing(checkout, tmp_path / "user", id="echo 7", **{"apt-get": apt})
    sudo = '[ "$1" = -n ] && shift; "$@"'
    asked.unlink()
    installing(checkout, tmp_path / "sudo", **{**root, "id": "echo 7", "sudo": sudo, "true": "exit 0", "apt-get": apt})
    assert "install -y" in asked.read_text()


POLICY = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<script>nosuch()</script>", "exception: ReferenceError: nosuch is not defined"),
        ("<script>Promise.reject(new Error('late'))</script>", "exception: Error: late"),
        ("<script>setTimeout(() => nosuch())</script>", "exception: ReferenceError"),
        ("<script>console.error('bad', 3)</script>", "console: bad 3"),
        ("<img src=http://example.com/a.png>", "request: http://example.com/a.png"),
        ("<img src=missing.png>", "request: file:"),
        ("<script>fetch('http://127.0.0.1/a').catch(() => 0)</script>", "request: http://127.0.0.1/a"),
        ("<style>p { background: url(http://example.com/b.png) }</style><p>x", "request: http://example.com/b.png"),
        ("<iframe src=http://example.com/></iframe>", "request: http://example.com/"),
        (POLICY + "<img src=http://example.com/a.png>", "log: Loading the image 'http://example.com/a.png' violates"),
        (POLICY + "<script>fetch('a')</script>", "log: Executing inline script violates"),
        (POLICY + "<p style='color: red'>x", "log: Applying inline style violates"),
    ],
)
def test_the_browser_catches_what_a_page_must_not_do(opened, body, fault):
    faults = opened(f"<!DOCTYPE html><meta charset=utf-8><title>x</title>{body}").faults()
    assert [found for found in faults if found.startswith(fault)], faults


def test_the_browser_finds_no_fault_where_there_is_none(opened):
    page = opened("<!DOCTYPE html><meta charset=utf-8><title>x</title><script>document.title = 'y'</script>")
    assert page.faults() == []
    assert page.evaluate("document.title") == "y"
    with pytest.raises(BrowserError, match="nosuch is not defined"):
        page.evaluate("nosuch")


@pytest.mark.parametrize("width", [400, 700, 1600])
@pytest.mark.parametrize("dark", [False, True])
def test_the_hostile_page_loads_without_a_fault_at_any_width(opened, hostile, width, dark):
    page = opened(hostile, width, dark=dark)
    assert_sound(page)
    assert page.evaluate("document.title") == "train.lst, val.lst – mxml check"
    assert page.evaluate("document.images.length") > 30
    assert page.evaluate("document.querySelectorAll('#label-table tbody tr').length") == 7


def test_its_policy_stops_what_got_in_all_the_same(opened, hostile):
    for injected in (
        "<script>document.title = 'owned'</script>",
        "<b style='color: red'>",
        "<img src='http://example.com/a'>",
    ):
        page = opened(hostile.replace("<main>", "<main>" + injected))
        assert [fault for fault in page.faults() if "violates" in fault]
        assert page.evaluate("document.title") == "train.lst, val.lst – mxml check"
    page = opened(hostile.replace("</main>", "<button onclick='document.title = 1' id='bad'></main>"))
    page.evaluate("document.getElementById('bad').click()")
    assert page.evaluate("document.title") == "train.lst, val.lst – mxml check"


def column(page, number):
    return page.evaluate(
        f"[...document.querySelectorAll('#label-table tbody tr')].map(row => row.cells[{number}].innerText)"
    )


def test_the_label_table_sorts_by_a_click(opened, hostile):
    page = opened(hostile)
    before = column(page, 0)
    click = "document.querySelectorAll('#label-table thead th')[{}].querySelector('button').click()"
    page.evaluate(click.format(2))
    counts = [int(count) for count in column(page, 2)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0
    page.evaluate(click.format(2))
    assert [int(count) for count in column(page, 2)] == counts[::-1]
    assert page.evaluate("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "ascending"
    page.evaluate(click.format(7))
    assert column(page, 7)[-1] == "–"  # what has no value is last in both orders
    page.evaluate(click.format(7))
    assert column(page, 7)[-1] == "–"
    page.evaluate(click.format(0))
    assert sorted(column(page, 0)) == sorted(before)
    assert page.faults() == []


def test_a_cell_of_the_heat_map_shows_its_images(opened, hostile):
    page = opened(hostile)
    visible = "[...document.querySelectorAll('#samples figure')].filter(figure => figure.checkVisibility())"
    everything = page.evaluate(f"{visible}.length")
    title = page.evaluate(
        "(cell => { cell.click(); return cell.title })(document.querySelector('#map tbody tr').cells[2])"
    )
    assert title.startswith("sea and <script>")
    labels = page.evaluate(f"{visible}.map(figure => figure.dataset.labels.split(' '))")
    assert 0 < len(labels) < everything
    assert all({"0", "1"} <= set(held) for held in labels)
    assert page.evaluate("document.getElementById('map-said').textContent") == title
    said = page.evaluate("document.getElementById('samples-said').textContent")
    assert said == f"{len(labels)} of the {everything} images here have sea and {HOSTILE[1]}."
    assert page.evaluate("Math.abs(document.getElementById('samples').getBoundingClientRect().top) < 2")
    page.evaluate("document.getElementById('samples-clear').click()")
    assert page.evaluate(f"{visible}.length") == everything
    page.evaluate("document.querySelector('#samples .tools button[data-label=\"3\"]').click()")
    assert page.evaluate(f"{visible}.every(figure => figure.dataset.labels.split(' ').includes('3'))")
    assert page.faults() == []


def test_without_scripts_the_page_says_the_same(opened, hostile):
    page = opened(hostile, scripts=False)
    assert page.faults() == []
    assert page.evaluate(SHOWN)
    assert len(column(page, 0)) == 7
    assert page.evaluate("[...document.querySelectorAll('.tools, #map-said')].every(tool => !tool.checkVisibility())")
    assert page.evaluate("[...document.querySelectorAll('#samples figure')].every(figure => figure.checkVisibility())")


def test_labels_can_be_searched_where_there_are_many(opened, tmp_path):
    rows = [(f"{i}.jpg", np.eye(50, dtype=int)[i % 50]) for i in range(60)]
    page = opened(format_page(small_report(tmp_path, rows, names=[f"label {i}" for i in range(50)])), 400)
    assert_sound(page)
    page.evaluate(
        "(field => { field.value = 'Label 1'; field.dispatchEvent(new Event('input')) })"
        "(document.getElementById('label-filter'))"
    )
    rows = page.evaluate(
        "[...document.querySelectorAll('#label-table tbody tr:not([hidden])')].map(row => row.cells[0].innerText)"
    )
    assert rows == ["label 1", *(f"label {i}" for i in range(10, 20))]
    assert page.evaluate("document.getElementById('label-filter-said').textContent") == "11 of 50 labels"


ROWS = """[...document.querySelectorAll("#samples .grid")].map(grid => {
    const tops = [...grid.children].map(figure => Math.round(figure.getBoundingClientRect().top));
    return [...new Set(tops)].map(top => tops.filter(other => other === top).length);
})"""


@pytest.mark.parametrize(("labels", "each"), [(5, 8), (50, 8), (51, 4), (80, 4)])
def test_samples_fill_their_rows(opened, tmp_path, labels, each):
    rows = [(f"{i}.jpg", np.arange(labels) == i % labels) for i in range(each * labels)]
    page = opened(format_page(small_report(tmp_path, rows, names=[f"label {i}" for i in range(labels)])))
    for width in (360, 400, 600, 768, 1024, 1280, 1440, 1920):
        page.resize(width)
        grids = page.evaluate(ROWS)
        assert len(grids) == labels and all(sum(grid) == each for grid in grids)
        # no row shorter than another
        assert {len(set(grid)) for grid in grids} == {1}, width
        assert_sound(page)


CUT_OFF = """(chart => {
    const [left, top, width, height] = chart.getAttribute("viewBox").split(" ").map(Number);
    const inverse = chart.getScreenCTM().inverse();
    const place = (x, y) => new DOMPoint(x, y).matrixTransform(inverse);
    return [...chart.querySelectorAll("text")].filter(text => {
        const box = text.getBoundingClientRect();
        const [low, high] = [place(box.left, box.top), place(box.right, box.bottom)];
        return low.x < left || low.y < top || high.x > left + width || high.y > top + height;
    }).map(text => text.textContent);
})(document.querySelector(".chart"))"""
OVERLAPPING = """(texts => texts.filter((text, i) => texts.slice(0, i).some(other => {
    const [a, b] = [text.getBoundingClientRect(), other.getBoundingClientRect()];
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
})).map(text => text.textContent))([...document.querySelectorAll(".chart text")])"""


@pytest.mark.parametrize("sides", [[(800, 600), (300, 800)], [(4000, 3000)], [(60_000, 10), (10, 60_000)], [(8, 8)]])
def test_the_axes_of_the_sizes_are_whole(opened, tmp_path, sides):
    rows = []
    for i, size in enumerate(sides):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("L", size, 128).save(tmp_path / "images" / f"{i}.png")
        rows.append((f"{i}.png", [1, 0, 0]))
    page = opened(format_page(small_report(tmp_path, rows)))
    assert page.evaluate("document.querySelectorAll('.chart text').length") >= 5
    assert page.evaluate(CUT_OFF) == [] and page.evaluate(OVERLAPPING) == []


def test_text_is_readable_on_every_shade_of_the_heat_map(opened, hostile):
    """WCAG 2.2, 1.4.3: a contrast of at least 4.5."""
    contrast = """(() => {
        const channels = colour => colour.match(/[\\d.]+/g).map(Number);
        const light = rgb => rgb.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const paper = channels(getComputedStyle(document.body).backgroundColor);
        const cell = document.querySelector("#map tbody td.own");
        return Array.from({length: 10}, (_, i) => {
            cell.className = `heat${i + 1}`;
            const style = getComputedStyle(cell), [r, g, b, alpha = 1] = channels(style.backgroundColor);
            const behind = [r, g, b].map((c, k) => alpha * c + (1 - alpha) * paper[k]);
            const pair = [light(channels(style.color).slice(0, 3)), light(behind)].sort((a, b) => b - a);
            return (pair[0] + 0.05) / (pair[1] + 0.05);
        });
    })()"""
    for dark in (False, True):
        assert min(opened(hostile, dark=dark).evaluate(contrast)) > 4.5


def test_the_shipped_sample_and_real_photographs_load_without_a_fault(opened, checkout, shared):
    scenes = shared / "data" / "miml-scene"
    for lists, root in ((checkout / "lists", checkout / "images"), (scenes, scenes / "images")):
        report = check_lists([lists / "train.lst", lists / "val.lst"], root)
        page = opened(format_page(report), 400)
        assert_sound(page)
        page.resize(1280)
        assert_sound(page)
        assert page.evaluate("document.querySelectorAll('#samples figure').length") == 8 * len(report.label_names)
