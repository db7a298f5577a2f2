"""Fine-tunes SqueezeNet v1.0 on miml-scene with several losses and augmentations; prints each one's validation mAP.

Each variant is ``mxml train`` with all defaults but the options in its row, run with every seed. What a variant gains
is its mAP less that of the defaults with the same seed. Options that this script does not know go to ``mxml train`` for
all variants, such as ``--image-shape 3,160,160``, which takes half the time; the table names them, and only runs that
have the same ones are in it; ``--seed``, ``--prefix``, ``--force`` and ``--resume`` are the script's. Runs are kept
(``kept_runs.py``): the script can be stopped and started again, and copies with other ``--results``, ``--variant`` or
``--seeds`` work side by side.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import kept_runs
from kept_runs import Run
from miml_scene import SETTINGS

VARIANTS = {
    "all defaults (bce)": "",
    "pos_weight from the counts": "--pos-weight auto",
    "asymmetric loss": "--loss asymmetric",
    "asymmetric loss, milder": "--loss asymmetric --gamma-neg 2 --margin 0",
    "focal loss": "--loss focal",
    "label smoothing": "--label-smoothing 0.1",
    "MixUp": "--mixup 0.2",
    "CutMix": "--cutmix 1",
    "Cutout": "--cutout 0.3",
    "rotation": "--rotate 25",
    "shift": "--shift 0.1",
    "shear": "--shear 0.2",
    "zoom": "--zoom 0.2",
    "no flips": "--no-rand-mirror",
    "no random crop": "--no-rand-crop",
    "random resized crop": "--min-area 0.35",
    "colour jitter": "--jitter 0.2",
    "RandAugment": "--rand-augment 2,9",
}
# Given for all variants, these would change what a row is kept as.
OWN = ("--seed", "--prefix", "--force", "--resume")
HEADER = ["variant", "options", "seeds", "best val mAP", "gain, same seed", "CF1 there", "last epoch's mAP", "minutes"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME=OPTIONS",
        help="run only the variants given so; '=OPTIONS' may be left out for those that the script has",
    )
    kept_runs.add_options(parser, "loss_table")
    options, passed = parser.parse_known_args()
    refused = [given for given in passed if given.partition("=")[0] in OWN]
    if refused:
        parser.error(f"{', '.join(refused)}: is given by this script; it has --seeds, such as --seeds 0,1,2")
    variants = dict(map(variant_of, options.variant)) or VARIANTS
    common = shlex.join(passed)
    runs = kept_runs.open_runs(options, "options", "common", "seed")
    if not options.table:
        # Seed by seed, so that what a stopped script has found compares alike.
        for seed in options.seeds:
            for text in variants.values():
                if (text, common, seed) in runs:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    given = [*SETTINGS, "--seed", str(seed), *passed, *shlex.split(text)]
                    runs.add((text, common, seed), kept_runs.train(given, Path(folder) / "run"))

    def by_seed(text: str) -> dict[int, Run]:
        return {seed: runs[text, common, seed] for seed in options.seeds if (text, common, seed) in runs}

    found = {name: by_seed(text) for name, text in variants.items()}
    rows = [row(name, variants[name], of_variant, by_seed("")) for name, of_variant in found.items() if of_variant]
    kept_runs.print_table(HEADER, rows, [run for of_variant in found.values() for run in of_variant.values()])
    print(f"All variants with `{common}`." if common else "No options besides those of the rows.")


def variant_of(given: str) -> tuple[str, str]:
    """Split NAME=OPTIONS."""
    name, sign, text = given.partition("=")
    if not sign and name not in VARIANTS:
        sys.exit(f"--variant {given}: should be NAME=OPTIONS, or one of {', '.join(map(repr, VARIANTS))}")
    return name, text if sign else VARIANTS[name]


def row(name: str, text: str, runs: dict[int, Run], defaults: dict[int, Run]) -> list[str]:
    """Return a variant's row of the table, of its runs and those of the defaults by seed."""
    whole = {seed: run for seed, run in runs.items() if run["mAP"] is not None}
    ended = f"{len(runs) - len(whole)} ended by diverging" if len(whole) < len(runs) else ""
    shown = f"`{text}`" if text else "-"
    if not whole:
        return [name, shown, str(len(runs)), ended, *"----"]
    others = {seed: run["mAP"] for seed, run in defaults.items() if run["mAP"] is not None and seed in whole}
    gains = [whole[seed]["mAP"] - mAP for seed, mAP in others.items()]
    return [
        name,
        shown,
        str(len(runs)),
        ", ".join(filter(None, [kept_runs.spread([run["mAP"] for run in whole.values()]), ended])),
        kept_runs.spread(gains, "+.4f") if gains and text else "-",
        f"{statistics.mean(run['CF1'] for run in whole.values()):.3f}",
        f"{statistics.mean(run['epochs'][-1]['mAP'] for run in whole.values()):.4f}",
        f"{statistics.mean(run['seconds'] for run in whole.values()) / 60:.1f}",
    ]


if __name__ == "__main__":
    main()
