#!/bin/sh
# Run every check of the last commit with each Python that mxml supports and that this machine has (on PATH, or under
# pyenv), each in a clone of its own under build/, whose environment a second run finds again.
#
#   sh scripts/try_pythons.sh [VERSION...] [-- PYTEST-OPTION...]      such as: sh scripts/try_pythons.sh 3.9 3.12
#
# Ends with a line for each version; fails if one failed, or if none was found.
set -eu
cd "$(dirname "$0")/.."

versions=
while [ $# -gt 0 ] && [ "$1" != -- ]; do versions="$versions $1"; shift; done
[ $# -eq 0 ] || shift
[ -n "$versions" ] || versions='3.9 3.10 3.11 3.12'

for version in $versions; do
    case $version in 3.9 | 3.10 | 3.11 | 3.12) ;; *) echo "mxml supports Python 3.9 to 3.12, not $version" >&2; exit 2 ;; esac
done

# Print a Python of this version; those that pyenv keeps are not on PATH by themselves.
python_of() {
    for found in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/"python$1"; do
        # Asked by running it: version managers put names on PATH that do not run.
        if [ -n "$found" ] && "$found" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$found"
            return
        fi
    done
    return 1
}

results= failed=
for version in $versions; do
    if ! python=$(python_of "$version"); then
        results="$results
Python $version: not found"
        continue
    fi
    clone=build/python-$version/mxml
    mkdir -p "$clone"
    [ -d "$clone/.git" ] || git clone --quiet . "$clone"
    git -C "$clone" fetch --quiet "$(pwd)" HEAD
    git -C "$clone" reset --quiet --hard FETCH_HEAD
    # Tests read real data beside the checkout where they are.
    [ ! -d ../shared ] || ln -sfn "$(cd ../shared && pwd)" "build/python-$version/shared"
    # run_tests.sh takes an environment that is there.
    [ -x "$clone/.venv/bin/python" ] || "$python" -m venv "$clone/.venv"
    if sh "$clone/run_tests.sh" "$@"; then
        outcome=passed
    else
        outcome=FAILED failed=yes
    fi
    results="$results
Python $version: $outcome"
done
printf '%s\n' "$results"
case $results in *passed*) [ -z "$failed" ] ;; *) exit 1 ;; esac
