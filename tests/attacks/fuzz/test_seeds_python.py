"""All inputs of the corpora of Python's readers, and a short search from them."""

import argparse
import importlib.util
import mmap
import sys
import warnings
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "python"))

from reader_corpus import CORPUS, MAKERS, seeds_of
from reader_harness import MAX_INPUT, Fault, Target, examine, require
from reader_targets import TARGETS

spec = importlib.util.spec_from_file_location(
    "fuzz_readers", Path(__file__).parent / "python" / "run.py"
)
fuzz_readers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz_readers)

pytestmark = pytest.mark.once
SEEDS = [(name, seed) for name in TARGETS for seed in seeds_of(name)]
# One process per input takes half a second, so the search leaves this target to run.py.
SEARCHED = [name for name, target in TARGETS.items() if target.traced]


def test_each_target_has_valid_inputs():
    assert list(TARGETS) == list(MAKERS)
    for name in TARGETS:
        assert any(seed.startswith("valid-") for seed in seeds_of(name)), name


@pytest.mark.parametrize(("name", "seed"), SEEDS)
def test_a_seed_is_read_or_refused(name, seed, tmp_path):
    target = TARGETS[name]
    outcome = examine(target, (CORPUS / name / seed).read_bytes(), tmp_path)
    assert outcome in ("loaded", "refused")


@pytest.mark.parametrize(("name", "seed"), [pair for pair in SEEDS if pair[0] in SEARCHED])
def test_a_seed_takes_memory_in_proportion(name, seed, tmp_path):
    """A second time, because the first one imports modules and fills tables."""
    data = (CORPUS / name / seed).read_bytes()
    examine(TARGETS[name], data, tmp_path)
    examine(TARGETS[name], data, tmp_path, measure=True)


@pytest.mark.parametrize("name", SEARCHED)
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_changed_inputs_are_read_or_refused(name, tmp_path_factory, seed):
    target, rng = TARGETS[name], Random(seed)
    inputs = [data for data in seeds_of(name).values() if len(data) <= MAX_INPUT]
    data = target.mutate(rng.choice(inputs), rng, inputs)[:MAX_INPUT]
    folder = tmp_path_factory.getbasetemp() / f"changed-{name}"
    folder.mkdir(exist_ok=True)
    examine(target, data, folder)


# ---- the oracle finds what it is for --------------------------------------------------------


def read_badly(data, folder):
    """What a bad reader may do, by its input."""
    if data == b"bare":
        b"\xff".decode("utf-8")
    elif data == b"other":
        raise KeyError("x")
    elif data == b"warning":
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
    elif data == b"leftover":
        (folder / ".fastbp-x.tmp").touch()
    elif data == b"memory":
        bytearray(1 << 24)
    elif data == b"deep":
        read_badly(data, folder)
    elif data == b"wrong":
        require(folder.is_file(), "a folder is a file")
    elif data == b"hang":
        while True:
            pass
    elif data != b"good":
        raise ValueError(f"{folder / 'file'}: {data.decode()}" if data != b"nameless" else "no")


BAD = Target("bad", read_badly, (ValueError,), lambda data, rng, others: data, "file")
FAULTS = ["bare", "other", "warning", "leftover", "memory", "deep", "wrong", "nameless", "\x1b[2J"]


@pytest.mark.parametrize("kind", [*FAULTS, "\u202e", "x" * 9000])
def test_the_oracle_finds(kind, tmp_path):
    with pytest.raises(Fault):
        examine(BAD, kind.encode(), tmp_path, measure=True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no clock of processor time")
def test_the_oracle_finds_a_hang(tmp_path, monkeypatch):
    monkeypatch.setattr("reader_harness._SECONDS", 0.1)
    with pytest.raises(Fault, match=r"more than 0.1 s of processor time"):
        examine(BAD, b"hang", tmp_path)


def test_the_oracle_accepts_what_is_documented(tmp_path):
    assert examine(BAD, b"good", tmp_path, measure=True) == "loaded"
    assert examine(BAD, b"a clear message", tmp_path, measure=True) == "refused"


# ---- the program counts what it finds -------------------------------------------------------


def shared_memory():
    return mmap.mmap(-1, 1 << 20)


def test_a_fault_counts_once_and_its_shortest_input_is_kept(tmp_path):
    for _ in range(2):  # the second time, the folder has the input already
        shared = shared_memory()
        trial = fuzz_readers.Trial(BAD, tmp_path, tmp_path, shared)
        for data in (b"nameless", b"other", b"good", b"other", b"a clear message"):
            trial(data)
        n, loaded, refused, faults, size = fuzz_readers._COUNTS.unpack_from(shared)
        assert (n, loaded, refused, faults, size) == (5, 1, 1, 2, len(b"a clear message"))
    assert (tmp_path / "KeyError").read_bytes() == b"other"


@pytest.mark.parametrize("end", ["os.abort()", "sys.exit(3)", "time.sleep(60)"])
def test_a_process_that_crashes_or_hangs_is_a_fault(end, tmp_path, monkeypatch, capsys):
    code = f"import os, sys, time; {end}"
    monkeypatch.setattr(fuzz_readers, "WORKER", (sys.executable, "-c", code))
    monkeypatch.setattr(fuzz_readers, "_GRACE", 1.0 if "sleep" in end else 60.0)
    options = argparse.Namespace(seconds=0.1, seed=0, save=tmp_path, engine="plain")
    for _ in range(2):
        assert fuzz_readers.run("npz", options) == (0, 1)
    assert "npz: 0 executions (0 loaded, 0 refused), 1 faults" in capsys.readouterr().out
    assert len(list((tmp_path / "npz").glob("ended-with-*"))) == 1
