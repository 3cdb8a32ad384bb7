"""Every seed of the C targets runs without a report of the sanitizers, and with equal bits.

The targets are those of libFuzzer, built with a main function that reads files, so this needs no
clang. The seeds of faults that were found are among them.
"""

import subprocess
import sys

import pytest
from c_targets import (
    CORPUS,
    FOLDER_OF_TESTS,
    ISAS_OF_TESTS,
    SOURCES,
    TARGETS,
    build_targets,
    has_sanitizers,
)
from engine_build import find_compiler

pytestmark = pytest.mark.once

MOST_SEEDS, MOST_BYTES = 48, 4096


@pytest.fixture(scope="module")
def programs():
    if sys.platform != "linux":
        pytest.skip("the targets replace a function of the engine by an option of GNU's linker")
    compiler = find_compiler()
    if not has_sanitizers(compiler):
        pytest.skip("there is no C compiler with AddressSanitizer")
    return build_targets(compiler, ISAS_OF_TESTS, FOLDER_OF_TESTS, fuzzer=False)


def replay(program, *files):
    return subprocess.run(
        [program, *files], check=False, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("name", TARGETS)
def test_no_seed_shows_a_fault(name, programs):
    seeds = sorted((CORPUS / name).iterdir())
    assert seeds
    done = replay(programs[name], *seeds)
    assert done.returncode == 0, done.stderr[-6000:]
    assert done.stdout == f"{len(seeds)} files\n"


def test_a_seed_that_cannot_be_read_is_an_error(programs, tmp_path):
    done = replay(programs["csv"], tmp_path / "missing")
    assert done.returncode == 2 and "cannot read" in done.stderr


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_few_and_small(name):
    seeds = list((CORPUS / name).iterdir())
    assert len(seeds) <= MOST_SEEDS
    assert all(seed.stat().st_size <= MOST_BYTES for seed in seeds)
    assert (SOURCES / f"target_{name}.c").exists()
