"""Settings of a run: what is minimised, and how."""

# No postponed annotations here: settings_of reads the types of the fields, also on Python 3.9.

from dataclasses import dataclass
from typing import Literal, Optional, Union

from mxml.model.loss_settings import KINDS, PUBLISHED
from mxml.training import chosen_loss
from mxml.training.setting import above_zero, below_one, between, setting, share
from mxml.training.settings.start import MOST_EPOCHS

OPTIMIZERS = ("sgd", "nag", "adam", "adamw", "scaled-adamw")
SCHEDULES = ("constant", "step", "cosine", "inverse")


# Far beyond what trains, and what MXNet computes with in float32.
_MOST_RATE = 1000
_MOST_DECAY = 1_000_000


def _epochs(values: tuple[int, ...]) -> str:
    return "" if all(value > 0 for value in values) else "epochs, 1 or more each"


@dataclass(frozen=True)
class Optimization:
    """What is minimised, and how."""

    loss: Optional[str] = setting(
        None,
        help="Loss: binary cross-entropy (bce), asymmetric (Ridnik et al. 2021) or focal (Lin et al. 2017).",
        default_help="bce; with `single_label` the softmax's cross-entropy",
        choices=tuple(KINDS),
    )
    label_smoothing: float = setting(
        0.0,
        help="Train with labels that are nearer to 1/2 by this share: of 0.1, labels 0 and 1 become 0.05 and 0.95.",
        check=chosen_loss.as_in_files("label_smoothing"),
    )
    pos_weight: Union[Literal["auto"], tuple[float, ...], None] = setting(
        None,
        help="With `loss` bce: weight of present labels, one number or one per label; auto takes absent per present "
        f"labels in the training list, held to {chosen_loss.SMALLEST_AUTO:g} to {chosen_loss.LARGEST_AUTO:g}.",
        default_help="1",
        check=chosen_loss.as_in_files("pos_weight"),
    )
    gamma_pos: Optional[float] = setting(
        None,
        help="With `loss` asymmetric: focusing exponent of present labels.",
        default_help=f"{PUBLISHED['gamma_pos']:g}",
        check=chosen_loss.as_in_files("gamma_pos"),
    )
    gamma_neg: Optional[float] = setting(
        None,
        help="With `loss` asymmetric: focusing exponent of absent labels.",
        default_help=f"{PUBLISHED['gamma_neg']:g}",
        check=chosen_loss.as_in_files("gamma_neg"),
    )
    margin: Optional[float] = setting(
        None,
        help="With `loss` asymmetric: absent labels up to this probability cost nothing.",
        default_help=f"{PUBLISHED['margin']:g}",
        check=chosen_loss.as_in_files("margin"),
    )
    gamma: Optional[float] = setting(
        None,
        help="With `loss` focal: focusing exponent.",
        default_help=f"{PUBLISHED['gamma']:g}",
        check=chosen_loss.as_in_files("gamma"),
    )
    alpha: Optional[float] = setting(
        None,
        help="With `loss` focal: weight of present labels; absent ones weigh 1 minus this.",
        default_help="all weigh 1",
        check=chosen_loss.as_in_files("alpha"),
    )
    optimizer: Optional[str] = setting(
        None,
        help="Optimizer; scaled-adamw is adamw with each parameter's steps times its root mean square, which is held "
        "to 0.01 to 0.05 there.",
        choices=OPTIMIZERS,
        default_help="scaled-adamw for lp-ft and features; for finetune adamw, or sgd with `mom`, or with `lr` and "
        "`model`",
    )
    lr: Optional[float] = setting(
        None,
        help="Learning rate.",
        check=above_zero(_MOST_RATE),
        default_help="what suits the optimizer and the network",
    )
    head_lr_mult: Optional[float] = setting(
        None,
        help="Factor on the learning rate of the head.",
        check=between(0, _MOST_RATE),
        default_help="1; 10 for a head that begins at zero on a pretrained network",
    )
    lr_schedule: str = setting("cosine", help="How the learning rate falls.", choices=SCHEDULES)
    lr_steps: tuple[int, ...] = setting(
        (5, 10),
        help="Epochs of the run after which the step schedule lowers the learning rate; one that fits the head counts.",
        check=_epochs,
    )
    lr_factor: float = setting(0.1, help="Factor by which the step schedule multiplies the learning rate.", check=share)
    lr_decay: float = setting(
        0.0001,
        help="Decay d of the inverse schedule: after n steps the rate is `lr` / (1 + d n).",
        check=between(0, _MOST_DECAY),
    )
    warmup_epochs: Optional[float] = setting(
        None,
        help="Epochs over which the learning rate rises to `lr`; one that fits the head does not count.",
        check=between(0, MOST_EPOCHS),
        default_help="1; 0 for sgd and nag",
    )
    mom: Optional[float] = setting(
        None, help="Momentum of sgd and nag; no other optimizer takes it.", check=below_one, default_help="0.9"
    )
    wd: Optional[float] = setting(
        None,
        help="Weight decay; not applied to biases and BatchNorm.",
        check=between(0, _MOST_RATE),
        default_help="0.01 for adamw and scaled-adamw, else 0.0001",
    )
    clip_gradient: Optional[float] = setting(
        None,
        help="Clip each gradient element to this absolute value.",
        default_help="no clipping",
        check=above_zero(1e6),
    )
    ema: float = setting(
        0.999,
        help="How much of the averaged weights a step keeps, at most; 0: no averaging. They are saved unless the "
        "current weights validate better; of a long validation list a part decides that.",
        check=below_one,
    )
