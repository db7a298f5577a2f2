"""Settings of a run: where the head sits, what it is fitted to, and what is not trained."""

# No postponed annotations here: settings_of reads the types of the fields, also on Python 3.9.

from dataclasses import dataclass
from typing import Optional

from mxml.training.setting import between, setting


def _poolings(values: tuple[str, ...]) -> str:
    return "" if values and _distinct(values, ("avg", "max")) else "avg, max or both"


def _copies(values: tuple[str, ...]) -> str:
    return "" if _distinct(values, ("mirror", "larger")) else "mirror, larger or both"


def _distinct(values: tuple[str, ...], choices: tuple[str, ...]) -> bool:
    return len(set(values)) == len(values) and set(values) <= set(choices)


@dataclass(frozen=True)
class Head:
    """Where the head sits, what it is fitted to, and what is not trained."""

    layer: Optional[str] = setting(
        None,
        help="Layer to put the head on.",
        default_help="the classifier's input, and with lp-ft and features also layers before it",
        metavar="NAME",
    )
    feature_layers: int = setting(
        4,
        help="On how many layers at most lp-ft and features put the head: the feature layer, and those before it that "
        "differ in size or width.",
        check=between(1, 16),
    )
    feature_poolings: tuple[str, ...] = setting(
        ("avg",),
        help="How lp-ft and features pool those of these layers that are maps, avg or max; may be repeated.",
        check=_poolings,
        metavar="NAME",
    )
    feature_copies: tuple[str, ...] = setting(
        (),
        help="Copies of the training images that lp-ft and features fit the head to as well: mirror or larger (by a "
        "quarter); may be repeated. Each takes about the time of another pass over the images.",
        check=_copies,
        metavar="NAME",
    )
    freeze: tuple[str, ...] = setting(
        (),
        help="Do not train parameters whose names match, such as 'conv0_*'; may be repeated.",
        metavar="PATTERN",
    )
