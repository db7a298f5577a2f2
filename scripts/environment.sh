# Sourced by run_train.sh and run_tests.sh: makes .venv beside them and installs mxml into it, once.
# Sets venv; expects root, the checkout's folder.

venv=$root/.venv

say() { printf '%s\n' "$*" >&2; }

# Print the newest Python 3.9 to 3.12 on PATH that can make virtual environments.
find_python() {
    best=; best_minor=0; without_venv=
    for name in python3.12 python3.11 python3.10 python3.9 python3 python; do
        # Asked by running it: version managers put names on PATH that do not run.
        minor=$("$name" -c 'import sys; v = sys.version_info[:2]; print(v[1] if (3, 9) <= v <= (3, 12) else 0)' \
            2>/dev/null) || continue
        [ "$minor" -gt "$best_minor" ] || continue
        if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
            best=$name; best_minor=$minor
        else
            without_venv=$name
        fi
    done
    if [ -n "$best" ]; then
        command -v "$best"
    elif [ -n "$without_venv" ]; then
        say "mxml: $without_venv cannot make virtual environments; install its venv package (Debian: python3-venv)"
        return 1
    else
        say "mxml: needs Python 3.9, 3.10, 3.11 or 3.12 on PATH, and found none"
        return 1
    fi
}

# install EXTRAS MARK: install mxml with these extras unless MARK says that they already are.
install() {
    here=$(CDPATH= cd -- "$root" && pwd)
    key="$1 $here $(cat "$root/setup.py" "$root/constraints.txt" | cksum)"
    mark=$venv/installed-$2
    if [ -x "$venv/bin/python" ] && [ -x "$venv/bin/mxml" ] && [ "$(cat "$mark" 2>/dev/null)" = "$key" ]; then
        return 0
    fi
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        python=$(find_python) || return 1
        say "mxml: making $venv with $("$python" --version 2>&1)"
        "$python" -m venv --clear "$venv" || return 1
    fi
    say "mxml: installing into $venv (a minute or two, once)"
    case $1 in
        *gpu*) other=mxnet; rm -f "$venv/installed-cpu" "$venv/installed-test" ;;
        *) other=mxnet-cu112; rm -f "$venv/installed-gpu" ;;
    esac
    # Both builds own the same module, so that one must leave before the other comes, and its mark with it.
    "$venv/bin/python" -m pip uninstall --quiet --yes "$other" >/dev/null 2>&1 || :
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$root/constraints.txt" \
        --editable "$here[$1]" >&2 || return 1
    printf '%s\n' "$key" >"$mark"
}

# Install Chromium for the tests that load pages in it, where apt-get can; without it they are skipped.
install_browser() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        # Asked by running it: Ubuntu's chromium-browser is a note that a snap has to be installed.
        "$name" --version >/dev/null 2>&1 && return 0
    done
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif sudo -n true 2>/dev/null; then
        as_root='sudo -n'
    else
        say "mxml: no Chromium, and no right to install it; the tests that need it are skipped"
        return 0
    fi
    if ! command -v apt-get >/dev/null 2>&1; then
        say "mxml: no Chromium, and no apt-get to install it with; the tests that need it are skipped"
        return 0
    fi
    say "mxml: installing Chromium for the tests (a minute or two, once)"
    $as_root timeout 60 apt-get -qq update >/dev/null 2>&1 || :
    $as_root timeout 240 env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium \
        >/dev/null 2>&1 || say "mxml: Chromium could not be installed; the tests that need it are skipped"
}
