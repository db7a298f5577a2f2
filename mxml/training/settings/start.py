"""Settings of a run: where a run begins, where its files go, and how far it goes."""

# No postponed annotations here: settings_of reads the types of the fields, also on Python 3.9.

from dataclasses import dataclass
from typing import Optional

from mxml.inference.limits import MOST_BATCH_SIZE
from mxml.model.networks.catalogue import NETWORKS
from mxml.training.setting import between, setting

# The names of a run's files have room for seven digits.
MOST_EPOCHS = 9_999_999
METHODS = ("lp-ft", "features", "finetune")


@dataclass(frozen=True)
class Start:
    """Where a run begins, where its files go, and how far it goes."""

    prefix: str = setting(
        help="Path prefix of the run's files: PREFIX-0001.params and so on.", metavar="PREFIX", path=True
    )
    model: Optional[str] = setting(
        None,
        help="Prefix of the pretrained network: PREFIX-symbol.json and PREFIX-0000.params.",
        metavar="PREFIX",
        path=True,
    )
    network: Optional[str] = setting(
        None,
        help="In place of `model`, a network to train from random weights; mxml networks lists them.",
        choices=tuple(NETWORKS),
        metavar="NAME",
    )
    method: Optional[str] = setting(
        None,
        help="features: fit only a new head, to feature vectors of the pretrained network, which takes seconds to "
        "minutes; lp-ft: fit it, then fine-tune the whole network, whose BatchNorm layers keep their statistics; "
        "finetune: fine-tune from a head of zeros. A run of features can be resumed as lp-ft.",
        choices=METHODS,
        default_help="lp-ft; finetune with `network`, `single_label`, `optimizer` sgd or nag, or with `lr` or `mom` "
        "without `optimizer`",
        on_resume="free",
    )
    epoch: int = setting(
        0, help="The pretrained network's epoch, the number in PREFIX-0000.params.", check=between(0, MOST_EPOCHS)
    )
    num_epoch: int = setting(
        10,
        help="Number of the last epoch; the first is `epoch` + 1.",
        check=between(1, MOST_EPOCHS),
        on_resume="larger",
    )
    batch_size: int = setting(
        32, help="Images per step, over all devices and workers.", check=between(1, MOST_BATCH_SIZE)
    )
    single_label: bool = setting(
        False, help="Train a softmax classifier: every image has exactly one label, chosen from all."
    )
