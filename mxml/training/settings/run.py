"""Settings of a run: what is kept and when, what picks the best epoch, and what computes."""

# No postponed annotations here: settings_of reads the types of the fields, also on Python 3.9.

from dataclasses import dataclass
from typing import Optional

from mxml.inference.limits import MOST_THREADS
from mxml.training.setting import at_least, between, positive, setting

BEST_BY = ("mAP", "CF1", "OF1", "hamming", "loss", "accuracy")
LOWER_IS_BETTER = frozenset({"hamming", "loss"})
KEEP = ("best,last", "all")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Execution:
    """What is kept and when, what picks the best epoch, and what computes."""

    best_by: str = setting(
        None,
        help="Validation metric that picks the best epoch. Values of mAP, CF1 and OF1 within 0.1 / sqrt(validation "
        "images) are equal; of these the lower loss wins.",
        default_help="mAP; with `single_label` accuracy",
        choices=BEST_BY,
    )
    patience: Optional[int] = setting(
        None,
        help="Stop after this many epochs without a better one, counted from the end of the warm-up.",
        default_help="never",
        check=at_least(1),
        on_resume="free",
    )
    save_every: float = setting(
        30.0,
        help="Minutes after which a run saves inside an epoch; 0: never.",
        check=at_least(0),
        on_resume="free",
    )
    time_limit: Optional[float] = setting(
        None,
        help="Minutes after which the run saves and ends, which is no failure; continue with `resume`. However short, "
        "each start takes a step, finishes a validation or computes one batch of feature vectors.",
        default_help="none",
        check=positive,
        on_resume="free",
    )
    keep: str = setting(
        "best,last",
        help="Epochs whose parameters and optimizer states are kept; metrics are kept for all epochs.",
        choices=KEEP,
        on_resume="free",
    )
    seed: int = setting(0, help="Seed of everything random.", check=between(0, 2**31 - 1))
    device: Optional[str] = setting(
        None, help="cpu, gpu or gpu:0,1.", default_help="a usable GPU, else cpu", metavar="NAME", on_resume="free"
    )
    dtype: str = setting(
        "float32",
        help="What the network computes in while it trains: float32; bfloat16 on CPUs, which pays where they have AMX; "
        "float16 on GPUs. Parameters, losses and all that is saved are float32. Feature vectors of training images are "
        "in bfloat16 wherever a CPU has AMX.",
        choices=DTYPES,
    )
    kv_store: Optional[str] = setting(
        None,
        help="How gradients are added up: device or local by one machine's devices, dist_sync by several workers.",
        default_help="device; dist_sync under mxml launch",
        choices=("device", "local", "dist_sync"),
        on_resume="free",
    )
    decode_threads: Optional[int] = setting(
        None,
        help="Decoding threads.",
        default_help="physical cores",
        check=between(1, MOST_THREADS),
        on_resume="free",
    )
    cache_mb: int = setting(
        0,
        help="Megabytes of memory for decoded images of both lists.",
        check=at_least(0),
        on_resume="free",
    )
    tensorboard: Optional[str] = setting(
        None,
        help="Write TensorBoard event files below this folder; needs the package tensorboardX.",
        default_help="none",
        metavar="DIR",
        path=True,
    )
