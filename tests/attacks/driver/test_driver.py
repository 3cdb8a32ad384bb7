"""The driver in C, built by the compiler of this machine, and the build without Python itself."""

import sys

import pytest
from attacks.driver.driver_build import build_driver, functions, run_driver
from attacks.fuzz.c_targets import FOLDER_OF_TESTS, ISAS_OF_TESTS, flags_of, has_sanitizers
from engine_build import BuildError, build, find_compiler

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform == "win32", reason="nox -s windows runs the driver there"),
]


@pytest.fixture(scope="module")
def made_by(tmp_path_factory):
    """(compiler, flags, ISAs, folder) of the build: the one of the fuzzed seeds, if it can be."""
    compiler = find_compiler() or pytest.skip("no C compiler on PATH")
    if sys.platform == "linux" and has_sanitizers(compiler):
        return compiler, flags_of(compiler), ISAS_OF_TESTS, FOLDER_OF_TESTS
    return compiler, ["-O1"], ISAS_OF_TESTS, tmp_path_factory.mktemp("driver")


@pytest.fixture(scope="module")
def driver(made_by):
    return build_driver(*made_by)


def test_driver_finds_no_fault(driver):
    """It fails if a function of the headers was not called; see driver_calls.h."""
    counts = run_driver(driver, ["scalar"], small=True)
    assert counts.startswith(f"driver: {len(functions())} functions, "), counts
    assert counts.endswith(" checks, 0 faults"), counts


def test_driver_reports_faults(driver):
    with pytest.raises(BuildError, match=r"fastbp_isa_select.* returned 3, expected 0"):
        run_driver(driver, ["no such ISA"])


def test_functions_are_those_of_the_headers():
    names = functions()
    assert {"fastbp_net_new", "fastbp_fit_run", "fastbp_pool_latency", "fastbp_csv_texts"} < {
        *names
    }
    assert not [name for name in names if name.endswith(("_t", "_fn"))]


def test_fresh_files_are_not_compiled_again(made_by, driver):
    before = {path: path.stat().st_mtime_ns for path in made_by[-1].glob("*.o")}
    objects = build(*made_by)
    assert objects
    assert all(path.stat().st_mtime_ns == before[path] for path in objects)


def test_an_unknown_isa_or_compiler_is_an_error(made_by, tmp_path):
    with pytest.raises(BuildError, match="cannot build avx1024; it can build .*scalar"):
        build(made_by[0], [], ["avx1024"], tmp_path)
    with pytest.raises(BuildError, match="no compiler nothing-cc on PATH"):
        build("nothing-cc", [], None, tmp_path)
