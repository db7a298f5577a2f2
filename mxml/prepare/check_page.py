"""What a check found, as one HTML page that needs nothing beside itself.

The page fetches nothing: its style and its script are inside, images are data: URIs, and a content security policy
forbids the rest. Label and file names are hostile text; the template escapes every value, and the policy lets only the
one style sheet and the one script run whose hashes it names. The script adds sorting and filtering; without it the page
says the same.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mxml.errors import ImageError
from mxml.images.decode import decode_reduced, read_file
from mxml.prepare.check import CheckReport
from mxml.prepare.checked_lists import DuplicateGroup, Place
from mxml.prepare.findings import ERRORS, WARNINGS, Finding
from mxml.runtime.imports import load_cv2
from mxml.runtime.threads import physical_cores

cv2 = load_cv2()

# What bounds the page, at about 8 MB; each limit that is reached is said on it.
FINDINGS_SHOWN = 100
FINDINGS_OPEN = 5
EXAMPLES = 5
TABLE_LABELS = 1_000
MAP_LABELS = 60
LABEL_COUNTS = 40
SAMPLES = 400
SAMPLES_PER_LABEL = 8
GROUPS = 60
GROUP_IMAGES = 6
GROUP_COMPARED = 1_000
CARD_LABELS = 12
DOTS = 1_000
PAIRS_SHOWN = 200

THUMBNAIL_SIDE = 160
THUMBNAIL_QUALITY = 80

_TEXT_LENGTH = 200
_LABEL_LENGTH = 80
# What HTML or UTF-8 cannot hold, and what would turn the text around it: file names and labels can have all of these.
_UNSHOWABLE = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class _Thumbnail:
    """A small picture as a data: URI, or why there is none."""

    uri: str
    width: int
    height: int
    fault: str = ""


@dataclass(frozen=True)
class _Card:
    """An image on the page: where it comes from and what it is labelled with.

    ``labels`` are the positions of the labels that are present; ``differing`` holds, for a duplicate, pairs of a label
    on which its group disagrees and this image's value of it.
    """

    place: Place
    name: str
    list_name: str
    line: int
    labels: tuple[int, ...]
    differing: tuple[tuple[int, int], ...] = ()


def format_page(report: CheckReport) -> str:
    """Return the report as one HTML page of a few megabytes at most, however many images and labels there are.

    Thumbnails are made from the image files; one that cannot be read any more is named instead of shown.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style, script = (_source(f"check_page.{suffix}") for suffix in ("css", "js"))
    frequency = _label_frequency(report)
    by_frequency = np.argsort(-frequency, kind="stable")
    list_names = _list_names(report)
    samples = _samples(report, by_frequency, list_names)
    groups = [_group(report, group, list_names) for group in _telling_first(report.duplicates)[:GROUPS]]
    cards = [card for _, cards in (*samples, *groups) for card in cards]

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(count=_count, share=_share, figure=_figure, cut=_cut, label=_label)
    page = environment.from_string(_source("check_page.html")).render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        report=report,
        statistics=report.statistics,
        names=report.label_names,
        list_names=list_names,
        findings=[("error", _by_kind(report.errors)), ("warning", _by_kind(report.warnings))],
        kinds={**ERRORS, **WARNINGS},
        findings_open=FINDINGS_OPEN,
        examples=EXAMPLES,
        table=np.sort(by_frequency[:TABLE_LABELS]).tolist(),
        largest_share=_largest(counted.shares for counted in report.statistics.lists),
        frequency=frequency.tolist(),
        unknown=np.sum([counted.unknown for counted in report.statistics.lists], axis=0).tolist(),
        heat=_heat_map(report, np.sort(by_frequency[:MAP_LABELS])),
        new_pairs=_new_pairs(report, list_names),
        label_counts=_label_counts(report),
        samples=samples,
        sampled={label for label, _ in samples},
        groups=groups,
        card_labels=CARD_LABELS,
        pairs_shown=PAIRS_SHOWN,
        weights=report.statistics.pos_weight[:TABLE_LABELS].tolist(),
        thumbnails=_thumbnails(report, cards),
        sizes=_sizes(report),
    )
    return _UNSHOWABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), page)


# ---- text


def _source(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _count(number: int) -> str:
    return f"{number:,}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}" if value < 10 else f"{value:,.1f}"


def _cut(text: str, length: int = _TEXT_LENGTH) -> str:
    """Shorten a text in its middle: a path's beginning and its end say most."""
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-length // 2 :]}"


def _label(name: str) -> str:
    return _cut(name, _LABEL_LENGTH)


def _list_names(report: CheckReport) -> list[str]:
    """Name each list by its file, or by its path where two files have one name."""
    files = [Path(checked.path).name for checked in report.lists]
    return [
        _cut(file if files.count(file) == 1 else checked.path, _LABEL_LENGTH)
        for file, checked in zip(files, report.lists)
    ]


# ---- findings


def _by_kind(findings: Iterable[Finding]) -> list[tuple[str, int, list[Finding]]]:
    """Group findings by kind, in the order of the first of each: kind, how many there are, those that are shown."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.kind, []).append(finding)
    return [(kind, len(group), group[:FINDINGS_SHOWN]) for kind, group in groups.items()]


# ---- labels


def _label_frequency(report: CheckReport) -> np.ndarray:
    return np.sum([counted.present for counted in report.statistics.lists], axis=0)


def _largest(columns: Iterable[np.ndarray]) -> float:
    """Return the largest number that is not NaN, and 1 where there is none above 0."""
    return max((float(value) for column in columns for value in column if value > 0), default=1.0)


def _heat_map(report: CheckReport, shown: np.ndarray) -> dict[str, Any]:
    """Return the co-occurrence of some labels, all lists together, row by row.

    ``share`` is that of the row's images which have the column's label too, ``step`` the same in tenths of ``highest``,
    rounded up. ``new`` marks pairs that occur in a later list and never in the first.
    """
    statistics = report.statistics
    counts = np.sum([counted.cooccurrence[np.ix_(shown, shown)] for counted in statistics.lists], axis=0)
    totals = np.diagonal(counts)
    with np.errstate(invalid="ignore"):
        shares = counts / totals[:, None]
    apart = shares[~np.eye(len(shown), dtype=bool)]
    highest = math.ceil(10 * np.nanmax(apart, initial=0.1)) / 10
    new = (counts > 0) & (statistics.lists[0].cooccurrence[np.ix_(shown, shown)] == 0)
    rows = []
    for row, first in enumerate(shown.tolist()):
        cells = [
            {
                "label": second,
                "count": int(counts[row, column]),
                "share": float(shares[row, column]),
                "step": math.ceil(10 * shares[row, column] / highest) if counts[row, column] else 0,
                "new": bool(new[row, column]),
                "impossible": not totals[row] or not totals[column],
            }
            for column, second in enumerate(shown.tolist())
        ]
        rows.append((first, cells))
    longest = max((len(report.label_names[label]) for label in shown), default=0)
    if len(shown) > 16:
        look = "dense upright"
    elif longest > 10:
        look = "upright"
    else:
        look = "few" if len(shown) <= 8 else ""
    return {"labels": shown.tolist(), "rows": rows, "look": look, "highest": highest, "new": bool(new.any())}


def _new_pairs(report: CheckReport, list_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return, for each list that has such, the pairs of labels that never occur together in the first list."""
    statistics = report.statistics
    return [
        {
            "list_name": name,
            "total": len(pairs),
            "pairs": [(*pair, int(counted.cooccurrence[tuple(pair)])) for pair in pairs[:PAIRS_SHOWN].tolist()],
        }
        for name, counted, pairs in zip(list_names, statistics.lists, statistics.new_pairs)
        if len(pairs)
    ]


def _label_counts(report: CheckReport) -> dict[str, Any]:
    """Return, for each number of labels, the number of images of each list that have as many."""
    columns = [counted.label_counts for counted in report.statistics.lists]
    length = max(len(column) for column in columns)
    table = np.array([np.pad(column, (0, length - len(column))) for column in columns])
    images = np.maximum(1, table.sum(axis=1, keepdims=True))
    return {
        "rows": list(enumerate(table[:, :LABEL_COUNTS].T.tolist())),
        "shares": (table[:, :LABEL_COUNTS] / images).T.tolist(),
        "largest": _largest(table / images),
        "hidden": int(table[:, LABEL_COUNTS:].sum()),
    }


# ---- images


def _samples(report: CheckReport, by_frequency: np.ndarray, list_names: Sequence[str]) -> list[tuple[int, list[_Card]]]:
    """Choose images of each label, spread evenly over the lists, in the order of the labels.

    The rarest label chooses first, and an image is shown a second time only where a label has no others.
    """
    # All of them or half: what the style sheet's rows of eight, four and two pictures are filled by.
    each = SAMPLES_PER_LABEL if SAMPLES_PER_LABEL * len(by_frequency) <= SAMPLES else SAMPLES_PER_LABEL // 2
    first = np.cumsum([0, *(len(checked.images) for checked in report.lists)])
    shown = np.zeros(first[-1], bool)
    chosen = []
    for label in by_frequency[: SAMPLES // each][::-1].tolist():
        has_label = [(checked.images.labels[:, label] == 1) & checked.usable for checked in report.lists]
        found = np.flatnonzero(np.concatenate(has_label))
        fresh, again = found[~shown[found]], found[shown[found]]
        picked = np.union1d(_spread(fresh, each), _spread(again, max(0, each - len(fresh))))
        shown[picked] = True
        lists = np.searchsorted(first, picked, side="right") - 1
        places = zip(lists.tolist(), (picked - first[lists]).tolist())
        chosen.append((label, [_card(report, place, list_names) for place in places]))
    return sorted(chosen, key=lambda sample: sample[0])


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    """Return so many of the values, evenly spaced from the first to the last."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).round().astype(np.int64)]


def _telling_first(groups: Iterable[DuplicateGroup]) -> list[DuplicateGroup]:
    """Order groups: those whose labels differ first, then those in several lists, then by how alike they are."""
    return sorted(groups, key=lambda group: (not group.labels_differ, not group.across_lists, group.distance))


def _group(report: CheckReport, group: DuplicateGroup, list_names: Sequence[str]) -> tuple[DuplicateGroup, list[_Card]]:
    """Choose images of a group: of all labellings that it has, before more of the same."""
    places = group.places[:GROUP_COMPARED]
    values = np.array([report.lists[number].images.labels[position] for number, position in places])
    differing = np.flatnonzero((values == 1).any(axis=0) & (values == 0).any(axis=0)).tolist()
    _, firsts = np.unique(values, axis=0, return_index=True)
    order = np.concatenate([np.sort(firsts), np.setdiff1d(np.arange(len(places)), firsts)])
    chosen = np.sort(order[:GROUP_IMAGES]).tolist()
    return group, [_card(report, places[i], list_names, differing) for i in chosen]


def _card(report: CheckReport, place: Place, list_names: Sequence[str], differing: Sequence[int] = ()) -> _Card:
    number, position = place
    checked = report.lists[number]
    labels = checked.images.labels[position]
    return _Card(
        place,
        checked.images.name(position),
        list_names[number],
        int(checked.line_numbers[position]),
        tuple(np.flatnonzero(labels == 1).tolist()),
        tuple((label, int(labels[label])) for label in differing),
    )


def _thumbnails(report: CheckReport, cards: Iterable[_Card]) -> dict[Place, _Thumbnail]:
    places = sorted({card.place for card in cards})
    paths = [report.lists[number].images.path(position) for number, position in places]
    with ThreadPoolExecutor(physical_cores()) as pool:
        return dict(zip(places, pool.map(_thumbnail, paths)))


def _thumbnail_reduction(width: int, height: int) -> int:
    return next((step for step in (8, 4, 2) if max(width, height) >= step * THUMBNAIL_SIDE), 1)


def _thumbnail(path: str) -> _Thumbnail:
    try:
        image = decode_reduced(read_file(path), _thumbnail_reduction, path=path).bgr
        factor = min(1.0, THUMBNAIL_SIDE / max(image.shape))
        height, width = (max(1, round(side * factor)) for side in image.shape[:2])
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])
        return _Thumbnail("data:image/jpeg;base64," + base64.b64encode(encoded).decode(), width, height)
    except ImageError as error:
        return _Thumbnail("", 0, 0, error.reason)
    except Exception as error:  # one picture that fails, for whatever reason, must not cost the whole page
        return _Thumbnail("", 0, 0, f"{type(error).__name__}: {error}")


# ---- sizes


def _sizes(report: CheckReport) -> dict[str, Any]:
    """Return the chart of the images' widths and heights, both on logarithmic axes, and the most frequent sizes."""
    scan = report.scan
    sides = np.stack([scan.width[scan.readable], scan.height[scan.readable]], axis=1).astype(np.int64)
    if not len(sides):
        return {"images": 0}
    different, counts = np.unique(sides[:, 0] << 32 | sides[:, 1], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    different, counts = different[order], counts[order]
    sizes = list(zip(zip((different >> 32).tolist(), (different & 0xFFFFFFFF).tolist()), counts.tolist()))
    dots, merged = sizes, len(sizes) > DOTS // 4
    if merged:
        # Eighths of an octave: sizes within 9 % share a dot, which stands at the most frequent of them.
        cells: dict[tuple[int, ...], list[Any]] = {}
        for size, count in sizes:
            cell = cells.setdefault(tuple(round(8 * math.log2(side)) for side in size), [size, 0])
            cell[1] += count
        dots = sorted(((size, count) for size, count in cells.values()), key=lambda dot: -dot[1])
    # The largest dot stands for at least 50 images: where every size is rare, all dots are small.
    unit = 13 / math.sqrt(max(50, dots[0][1]))
    across, up = (_Axis.around(sides[:, side], length) for side, length in ((0, 440), (1, 300)))
    return {
        "images": len(sides),
        "different": len(sizes),
        "frequent": sizes[:8],
        "median": [int(np.median(sides[:, side])) for side in (0, 1)],
        "lowest": sides.min(axis=0).tolist(),
        "highest": sides.max(axis=0).tolist(),
        "merged": merged,
        "hidden": sum(count for _, count in dots[DOTS:]),
        "across": across,
        "up": up,
        "square": (max(across.low, up.low), min(across.high, up.high)),
        "dots": [
            (width, height, count, across.at(width), up.at(height), round(3 + unit * math.sqrt(count), 1))
            for (width, height), count in dots[:DOTS]
        ],
    }


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis ``length`` units long, from ``low`` to ``high``."""

    low: float
    high: float
    length: int

    @classmethod
    def around(cls, values: np.ndarray, length: int) -> _Axis:
        """Leave room around the values, and at least two octaves in all."""
        low, high = values.min() / 1.25, values.max() * 1.25
        stretch = max(1.0, math.sqrt(4 * low / high))
        return cls(low / stretch, high * stretch, length)

    def at(self, value: float) -> float:
        """Return where a value lies."""
        return round(self.length * math.log(value / self.low) / math.log(self.high / self.low), 1)

    def ticks(self) -> list[int]:
        """Return the round numbers of pixels on the axis: at most eight."""
        for steps in ((1, 2, 3, 5), (1, 2, 5), (1,)):
            values = [step * 10**power for power in range(6) for step in steps]
            inside = [value for value in values if self.low <= value <= self.high]
            if len(inside) <= 8:
                break
        return inside
