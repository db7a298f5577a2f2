from __future__ import annotations

import subprocess

import pytest
from processes import run_python, without_library

from mxml.runtime import imports, system_libraries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'Traceback (most recent call last):\n  File "../src/storage/x.h", line 74\nMXNetError: Failed to allocate',
            "Failed to allocate",
        ),
        (
            "MXNetError: Error in operator fc: [12:00:01] ../src/nn/fc.cc:98: Check failed: a == b: c:d",
            "Error in operator fc: Check failed: a == b: c:d",
        ),
        ("Error in operator fc: ../include/mxnet/tuple.h:420: no", "Error in operator fc: no"),
        ("[a:b:c] is no time", "[a:b:c] is no time"),
        ("", "ValueError('')"),
    ],
)
def test_what_mxnet_says_is_one_line(text, message):
    assert imports.mxnet_message(ValueError(text)) == message


def test_mxnet_can_be_imported_by_itself_after_mxml():
    """With what load_mxnet sets: NumPy's old name, and the threads."""
    code = "import mxml, mxnet, os; print(mxnet.nd.ones((2, 2)).sum().asscalar(), os.environ['OMP_NUM_THREADS'])"
    total, threads = run_python(code, OMP_NUM_THREADS=None).split()
    assert float(total) == 4
    assert int(threads) >= 1


def test_mxnet_brings_neither_scikit_learn_nor_scipy_and_leaves_those_that_are_there():
    """They would take as long as all the rest of it."""
    load = "from mxml.runtime.imports import load_mxnet; load_mxnet(); "
    loaded = "import sys; print({'sklearn', 'scipy'} & set(sys.modules))"
    assert run_python(load + loaded).strip() == "set()"
    code = f"import scipy.sparse; {load} import sklearn.metrics; print(scipy.sparse.eye(2).sum())"
    assert run_python(code).strip() == "2.0"


@pytest.mark.parametrize("asked", [None, "0"])
def test_gpus_are_asked_to_be_repeatable_unless_the_user_chose(asked):
    names = ("MXNET_ENFORCE_DETERMINISM", "MXNET_CUDNN_AUTOTUNE_DEFAULT")
    code = f"import mxml, mxnet, os; print(*(os.environ[name] for name in {names}))"
    assert run_python(code, **dict.fromkeys(names, asked)).split() == ([asked] * 2 if asked else ["1", "0"])


@pytest.mark.parametrize("library", ["libgomp.so.1", "libquadmath.so.0"])
def test_a_missing_system_library_is_named_with_its_package_before_mxnet_is_imported(tmp_path, library):
    code = (
        "import sys\n"
        "from mxml.runtime.imports import load_mxnet\n"
        "try:\n    load_mxnet()\n"
        "except Exception as error:\n    print(type(error).__name__, error, 'mxnet' in sys.modules)"
    )
    said = run_python(code, **without_library(tmp_path, library))
    package = {"libgomp.so.1": "libgomp1", "libquadmath.so.0": "libquadmath0"}[library]
    assert said == (
        f"SetupError MXNet needs {library}, which this system lacks; "
        f"on Debian and Ubuntu: apt-get install {package} False"
    )


def test_every_library_that_mxnet_needs_is_there_or_named():
    """What the wheel's libraries ask the loader for, by the loader's own account."""
    from pathlib import Path

    import mxnet

    folder = Path(mxnet.__file__).parent
    needed = set()
    for library in [folder / "libmxnet.so", *folder.glob("lib*.so.*")]:
        listed = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
        needed |= {line.split()[0] for line in listed.splitlines() if line.strip()}
    # glibc's own, which every Python has, and those that the wheel brings or the loader is
    glibc = {f"lib{name}.so" for name in ("c", "m", "dl", "rt", "pthread")}
    left = {
        name
        for name in needed
        if name.split(".so")[0] + ".so" not in glibc and not (folder / name).exists() and "linux-vdso" not in name
    }
    left = {name for name in left if "ld-linux" not in name and name != "libgcc_s.so.1"}
    assert left == set(system_libraries.DEBIAN_PACKAGES)


@pytest.mark.parametrize(
    ("system", "machine", "said"),
    [
        ("linux", "x86_64", None),
        (
            "linux",
            "aarch64",
            "no package for Jetson and other aarch64 machines: there mxml make-lst, convert and check",
        ),
        ("linux", "i686", "no package for linux on i686"),
        ("darwin", "arm64", "no package for darwin on arm64"),
    ],
)
def test_a_machine_without_a_package_of_mxnet_is_told_what_works(system, machine, said):
    fault = system_libraries.machine_fault(system, machine)
    if said is None:
        assert fault is None
    else:
        assert fault is not None and said in fault and "\n" not in fault
