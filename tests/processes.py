"""Python processes for tests of what is set once per process, and stand-ins for a machine's libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from needs import lacking

STUB_DRIVER = r"""
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) {
  const char *seen = getenv("CUDA_VISIBLE_DEVICES");
  return seen && !*seen ? 100 : 0;
}
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strcpy(name, "Stub"); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? MAJOR : MINOR; return 0; }
"""

# The dynamic loader asks it for every library (man 7 rtld-audit), and is told that one is nowhere.
HIDING = r"""
#define _GNU_SOURCE
#include <link.h>
#include <string.h>
unsigned la_version(unsigned version) { return version < LAV_CURRENT ? version : LAV_CURRENT; }
char *la_objsearch(const char *name, uintptr_t *cookie, unsigned flag) {
  const char *slash = strrchr(name, '/');
  return strcmp(slash ? slash + 1 : name, HIDDEN) ? (char *)name : 0;
}
"""


def run_python(code, **environment):
    env = {**os.environ, **environment}
    env = {name: value for name, value in env.items() if value is not None}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def stub_driver(folder, major, minor):
    """Make a folder with a libcuda.so.1 that claims one GPU; return the environment that a process finds it with."""
    compile_library(folder / "libcuda.so.1", STUB_DRIVER, f"-DMAJOR={major}", f"-DMINOR={minor}")
    # What the tests hide from all others, see conftest.
    return {"LD_LIBRARY_PATH": str(folder), "CUDA_VISIBLE_DEVICES": "0"}


def without_library(folder, name):
    """Return the environment of a process that finds no library called ``name``."""
    compile_library(folder / "hiding.so", HIDING, f'-DHIDDEN="{name}"')
    return {"LD_AUDIT": str(folder / "hiding.so")}


def compile_library(target, source, *options):
    """Compile C to a shared library."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        lacking("needs a C compiler to make a library that stands in for another")
    target.with_suffix(".c").write_text(source)
    subprocess.run(
        [compiler, "-shared", "-fPIC", *options, "-o", target, target.with_suffix(".c")], check=True, timeout=60
    )
