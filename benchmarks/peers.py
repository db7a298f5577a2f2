"""The Python that has the libraries which mxml is measured against, kept out of mxml's own environment."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / ".peers"
PACKAGES = (
    *("torch==2.13.0", "onnxruntime", "onnx", "numpy<2", "opencv-python-headless==4.9.0.80"),
    *("scikit-learn", "scipy", "iterative-stratification==0.1.9", "scikit-multilearn==0.2.0"),
    *("pillow", "ImageHash==4.3.2"),
)


def python() -> str:
    """Return the peers' Python: ``MXML_PEERS_PYTHON`` where it is set, or ``benchmarks/.peers``, made on first use."""
    chosen = os.environ.get("MXML_PEERS_PYTHON")
    if chosen:
        return chosen
    path = FOLDER / "bin" / "python"
    # Written last and naming the packages, so that an installation that broke off or lacks some is taken up again.
    complete = FOLDER / "complete"
    if not complete.exists() or complete.read_text() != "\n".join(PACKAGES):
        print(f"installing {', '.join(PACKAGES)} into {FOLDER}", file=sys.stderr, flush=True)
        venv.create(FOLDER, with_pip=True)
        subprocess.run([str(path), "-m", "pip", "install", "--quiet", *PACKAGES], check=True, stdout=sys.stderr)
        complete.write_text("\n".join(PACKAGES))
    return str(path)


if __name__ == "__main__":
    print(python())
