"""All inputs of the corpora of Python's readers, and a short search from them."""

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
