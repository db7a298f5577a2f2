"""Settings of a run: what a run learns from: lists, images and the names of labels."""

# No postponed annotations here: settings_of reads the types of the fields, also on Python 3.9.

from dataclasses import dataclass
from typing import Optional

from mxml.errors import SettingError
from mxml.training.setting import at_least, between, setting


@dataclass(frozen=True)
class Data:
    """What a run learns from: lists, images and the names of labels."""

    data: tuple[str, ...] = setting(
        (),
        help="Labelled images to make the lists of, as for mxml make-lst: a folder or a file of labels; may be "
        "repeated. The lists are kept in PREFIX-lists.",
        metavar="SOURCE",
        path=True,
    )
    data_root: Optional[str] = setting(
        None,
        help="Image folder of `data`.",
        default_help="where the format keeps its images, else images or the folder of the labels",
        metavar="DIR",
        path=True,
    )
    data_train: Optional[str] = setting(
        None, help="List of the training images, or .rec file of them, in place of `data`.", metavar="LST", path=True
    )
    data_val: Optional[str] = setting(
        None, help="List of the validation images, or .rec file of them, in place of `data`.", metavar="LST", path=True
    )
    image_train: Optional[str] = setting(
        None,
        help="Image folder of the training list.",
        default_help="as lists.json beside the list says, else images or the list's folder",
        metavar="DIR",
        path=True,
    )
    image_val: Optional[str] = setting(
        None,
        help="Image folder of the validation list.",
        default_help="as lists.json beside the list says, else images or the list's folder",
        metavar="DIR",
        path=True,
    )
    num_classes: Optional[int] = setting(
        None,
        help="Number of labels; checked against the lists.",
        default_help="the list's",
        check=at_least(1),
    )
    labels: Optional[str] = setting(
        None,
        help="Label names, one per line; with `data`, the labels to use.",
        default_help="labels.txt beside the training list; with `data`, all labels",
        metavar="FILE",
        path=True,
    )
    max_bad_share: float = setting(
        0.05, help="Stop when more than this share of the images cannot be read.", check=between(0, 1)
    )
    num_examples: Optional[int] = setting(
        None,
        help="Accepted for compatibility with the original script; the number comes from the list.",
        on_resume="free",
    )
    allow_absolute: bool = setting(
        False, help="Allow lists to name images by absolute paths or outside their image folder."
    )


def check_one_source(given: Data) -> None:
    """Raise SettingError for settings that say in two ways what to train on."""
    if not given.data:
        if given.data_root is not None:
            raise SettingError("data_root", given.data_root, "left out without `data`, whose image folder it is")
        return
    for name in ("data_train", "data_val", "image_train", "image_val"):
        value = getattr(given, name)
        if value is not None:
            wanted = "left out with `data`, of which the lists are made; `data_root` is its image folder"
            raise SettingError(name, value, wanted)
