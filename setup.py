"""Packaging of mxml. `pip install .[cpu]` on a CPU server, `.[gpu]` beside an NVIDIA driver."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "mxml" / "__init__.py").read_text(), re.M).group(1)

# MXNet 1.9.1 has packages for nothing else; elsewhere the commands that need none work.
X86_64_LINUX = "sys_platform == 'linux' and platform_machine == 'x86_64'"

# What mxnet-cu112 1.9.1 loads beside the driver's own libcuda.so.1; mxml.runtime.imports opens them before the import.
CUDA_LIBRARIES = [
    "nvidia-cuda-runtime-cu11==11.8.89",
    "nvidia-cublas-cu11==11.11.3.6",
    "nvidia-cuda-nvrtc-cu11==11.8.89",
    "nvidia-cudnn-cu11==8.9.6.50",
    "nvidia-cufft-cu11==10.9.0.58",
    "nvidia-curand-cu11==10.3.0.86",
    "nvidia-cusparse-cu11==11.7.5.86",
    "nvidia-cusolver-cu11==11.4.1.48",
    "nvidia-nccl-cu11==2.21.5",
    "nvidia-nvtx-cu11==11.8.86",
]

# Writes event files without TensorFlow or PyTorch.
TENSORBOARD = "tensorboardX>=2.6.2,<3"

setup(
    name="mxml",
    version=VERSION,
    description="Multi-label image classification on Apache MXNet: fine-tune, evaluate, predict.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9,<3.13",
    # It makes an editable installation put this folder on sys.path. What is found in any other way comes after the
    # folder mxml of a clone, where Python is started in the folder that holds it.
    package_dir={"": "."},
    packages=find_packages(include=["mxml", "mxml.*"]),
    package_data={f"mxml.{package}": ["*.html", "*.css", "*.js"] for package in ("pages", "prepare", "evaluation")},
    install_requires=[
        "click>=8.1,<9",
        "defusedxml>=0.7,<1",
        "ijson>=3.2,<4",
        "jinja2>=3.1,<4",
        "matplotlib>=3.7,<4",
        "msgspec>=0.18,<1",
        "numpy>=1.24,<2",
        # From 4.10 on a truncated JPEG can show an earlier image's pixels; 4.12 asks for NumPy 2. Headless: no libGL.
        "opencv-python-headless>=4.9.0.80,<4.10",
        "pillow>=9.2",
        "pyyaml>=6.0,<7",
        "scikit-learn>=1.3,<2",
        "scipy>=1.9,<2",
        "simplejpeg>=1.7,<2",
        "setuptools",  # MXNet imports distutils, which left Python in 3.12
        "tabulate>=0.9,<0.11",
        "threadpoolctl>=3.1,<4",
        "tqdm>=4.65,<5",
    ],
    extras_require={
        "cpu": [f"mxnet==1.9.1; {X86_64_LINUX}"],
        "gpu": [f"{package}; {X86_64_LINUX}" for package in ("mxnet-cu112==1.9.1", *CUDA_LIBRARIES)],
        "tensorboard": [TENSORBOARD],
        "test": [
            # Of examples/predict_with_dask.py; 2024.8 is the last for Python 3.9.
            "distributed>=2024.8,<2027",
            "hypothesis>=6.100,<7",
            "import-linter>=2.0,<3",
            "mypy>=1.10,<3",
            "pytest>=8,<10",
            "pytest-xdist>=3.7,<4",
            "ruff>=0.6,<1",
            TENSORBOARD,
        ],
    },
    entry_points={"console_scripts": ["mxml = mxml.__main__:main"]},
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
    ],
)
