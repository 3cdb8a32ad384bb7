"""The soak: its checks hold for some cases, and find planted faults."""

import sys

import numpy as np
import pytest
import run
import soak_checks as checks
from soak_cases import LAYOUTS, RULES, draw

import fastbp

pytestmark = pytest.mark.once


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_cases_are_drawn_from_their_seed_alone():
    for seed in range(20):
        case, again = draw(seed), draw(seed)
        assert repr(case) == repr(again)
        assert np.array_equal(case.net().theta, again.net().theta)
        assert np.array_equal(case.data()[0], again.data()[0])
    cases = [draw(seed) for seed in range(300)]
    assert {case.rule for case in cases} == set(RULES)
    assert {case.layout for case in cases} == set(LAYOUTS)


@pytest.mark.skipif(sys.platform != "linux", reason="a soak reads /proc/self")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_short_soak_finds_nothing(tmp_path, capsys):
    soak = run.Soak(tmp_path)
    for seed in range(900, 908):
        soak.run(seed, killed=seed == 901)
    assert not soak.faults, capsys.readouterr().out
    assert soak.counts["cases"] == 8 and soak.counts["resumed"] == 1
    assert "8 cases" in soak.summary() and "0 faults" in soak.summary()


def smooth_case():
    """A case that the reference decides."""
    found = (draw(seed) for seed in range(1000))
    return next(c for c in found if c.smooth and c.rule == "adam" and c.layout == "own" and c.n > 9)


def test_a_fault_of_the_arithmetic_is_found(monkeypatch):
    case = smooth_case()
    assert checks.check_reference(case) == "agrees"
    fit = fastbp.Network.fit

    def off(net, *data, **options):
        history = fit(net, *data, **options)
        if type(net) is fastbp.Network:
            net.theta[np.abs(net.theta).argmax()] *= 1.001
        return history

    monkeypatch.setattr(fastbp.Network, "fit", off)
    with pytest.raises(AssertionError, match="differs from the reference"):
        checks.check_reference(case)


def test_bits_that_depend_on_the_number_of_threads_are_found(monkeypatch):
    case = smooth_case()
    assert checks.check_threads(case) == "same bits"
    fit = fastbp.Network.fit

    def off(net, *data, **options):
        history = fit(net, *data, **options)
        net.theta[0] = np.nextafter(net.theta[0], options["n_threads"] == 3)
        return history

    monkeypatch.setattr(fastbp.Network, "fit", off)
    with pytest.raises(AssertionError, match="other bits with {'n_threads': [23]}"):
        checks.check_threads(case)


def test_growing_memory_is_found():
    flat, growing = run.Resources(), run.Resources()
    flat.seen = [(100.0, 3, 9)] * 500
    growing.seen = [(100.0 + i / 10, 3, 9) for i in range(500)]
    assert flat.fault() is None
    assert "the memory grew" in growing.fault()
    growing.seen = [(100.0, 3, 9 + i // 300) for i in range(500)]
    assert "files" in growing.fault()
