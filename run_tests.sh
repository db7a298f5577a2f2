#!/bin/sh
# Set everything up on a machine that has only a Python 3.9 to 3.12, and run every check: lint, types, layers, documents, tests.
#
#   sh run_tests.sh [PYTEST-OPTION...]
set -eu
cd "$(dirname "$0")"
root=.

. ./scripts/environment.sh
python=$(find_python) || exit 1
fault=$("$python" -c 'from mxml.runtime.gpus import choose_extra; extra, line = choose_extra(); print(line if extra == "none" else "")')
[ -z "$fault" ] || { say "mxml: $fault"; exit 1; }
install cpu,test test || exit 1
install_browser

PATH=$(pwd)/.venv/bin:$PATH
export PATH
ruff check .
ruff format --check .
mypy
lint-imports --no-cache
python docs/generate_cli.py --check
# One core for each process; a file stays in one, with what its tests share. tests/conftest.py says which come first.
export OMP_NUM_THREADS=1
exec python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
