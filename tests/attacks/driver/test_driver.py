"""The driver in C, built by the compiler of this machine, and the build without Python itself."""

import shutil
import sys

import pytest
from attacks.driver.driver_build import build_driver, functions, run_driver
from engine_build import BuildError, build, buildable

from fastbp._core import available_isas, isa_base

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform == "win32", reason="nox -s windows runs the driver there"),
]
# Warnings of compilers that are newer than the sources are no fault of the driver.
FLAGS = ["-O1", "-Wno-error"]


@pytest.fixture(scope="module")
def compiler():
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name) is not None:
            return name
    pytest.skip("no C compiler on PATH")


@pytest.fixture(scope="module")
def isas(compiler):
    """The scalar ISA, and the fastest one that this machine and the compiler have."""
    known = buildable(compiler)
    return [
        "scalar",
        [isa for isa in available_isas() if isa in known and isa_base(isa) == isa][-1],
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("driver")


@pytest.fixture(scope="module")
def driver(compiler, isas, folder):
    return build_driver(compiler, FLAGS, isas, folder)


def test_driver_finds_no_fault(driver):
    """It fails if a function of the headers was not called; see driver_calls.h."""
    counts = run_driver(driver, small=True)
    assert counts.startswith(f"driver: {len(functions())} functions, "), counts
    assert counts.endswith(" checks, 0 faults"), counts


def test_driver_reports_faults(driver):
    with pytest.raises(BuildError, match=r"fastbp_isa_select.* returned 3, expected 0"):
        run_driver(driver, ["no such ISA"])


def test_functions_are_those_of_the_headers():
    names = functions()
    assert {"fastbp_net_new", "fastbp_fit_run", "fastbp_pool_latency", "fastbp_csv_spans"} < {
        *names
    }
    assert not [name for name in names if name.endswith(("_t", "_fn"))]


def test_fresh_files_are_not_compiled_again(compiler, isas, folder, driver):
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.o")}
    objects = build(compiler, ["-Werror", *FLAGS], isas, folder)  # as build_driver does
    assert objects
    assert all(path.stat().st_mtime_ns == before[path] for path in objects)


def test_an_unknown_isa_or_compiler_is_an_error(compiler, tmp_path):
    with pytest.raises(BuildError, match="cannot build avx1024; it can build .*scalar"):
        build(compiler, [], ["avx1024"], tmp_path)
    with pytest.raises(BuildError, match="no compiler nothing-cc on PATH"):
        build("nothing-cc", [], None, tmp_path)
