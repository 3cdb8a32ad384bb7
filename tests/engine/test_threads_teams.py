"""Teams that change during a fit: the same bits. How the size is chosen, on simulated machines."""

import numpy as np
import pytest
from engine_cases import OPTIMIZERS
from thread_cases import FIT, NARROW, SHAPES, in_time, problem, program_of, weights_for

from fastbp import _core

# Sizes by step; the shapes of thread_cases have work for seven threads.
SEQUENCES = {"one and all": [1, 7], "down": [7, 4, 3, 2, 1], "up": [1, 1, 2, 5, 7], "no team": [1]}
N_THREADS = 7


def session_of(net, X, y, optimizer, batch, n_threads, *, weights=None, part_rows=0):
    optimizer.bind(net.theta.size, net.dtype)
    y = y.astype(np.int32) if y.ndim == 1 else y
    arguments = (net._backend.net, net.theta, X, y, weights, optimizer, batch)
    return _core.Fit(*arguments, True, 5, n_threads, part_rows)


def trained(sizes, shape, seconds, *, rule="adam", weighted=False, part_rows=0, **options):
    """theta, moments and the mean loss after three epochs on teams of these sizes, as bytes."""
    net, X, y = problem(shape, **options)
    optimizer, weights = OPTIMIZERS[rule](), weights_for(X) if weighted else None
    more = {"weights": weights, "part_rows": part_rows}
    n_threads = 1 if sizes is None else N_THREADS
    fit = session_of(net, X, y, optimizer, SHAPES[shape][2], n_threads, **more)
    if sizes is not None:
        assert fit.report()["threads_planned"] == N_THREADS
        fit.set_teams(np.array(sizes, np.int32))
    losses = []
    for _ in range(3):
        done = False
        while not done:
            _, done, _, _, J, _ = fit.run(seconds)
        losses.append(J)
    if sizes is not None and len(sizes) > 1 and optimizer.t > 4:
        assert fit.report()["threads_changes"] > 2
    arrays = [net.theta, *optimizer.moments, np.array(losses)]
    return [array.tobytes() for array in arrays]


def check(shape, seconds=60.0, **options):
    alone = in_time(trained, None, shape, seconds, **options)
    for name, sizes in SEQUENCES.items():
        assert in_time(trained, sizes, shape, seconds, **options) == alone, name


@pytest.mark.parametrize("seconds", [60.0, 0.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_change_of_the_team_changes_no_bit(shape, dtype, seconds):
    """In one run of many steps, where regions follow each other, and in runs of single steps."""
    check(shape, seconds, dtype=dtype, activation="tanh")


def squared(a, y):
    return ((a - y) ** 2).sum(axis=1) / 2, a - y


@pytest.mark.parametrize(
    "options",
    [
        {"rule": "rmsprop", "weighted": True},
        {"part_rows": 40, "rule": "adamw"},
        {"l1": 1e-4, "l2": 1e-3, "weighted": True, "rule": "nesterov"},
        {"output": "softmax", "loss": "cross_entropy"},
        {"output": "sigmoid", "loss": "binary_cross_entropy"},
        pytest.param({"loss": squared}, id="a function"),
    ],
    ids=str,
)
def test_a_change_of_the_team_changes_no_bit_of_other_sweeps(options):
    check(FIT, **options)


@pytest.mark.products
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_a_change_of_the_team_changes_no_bit_of_rounded_products(precision):
    check(FIT, matmul_precision=precision)


def diverged(sizes):
    """Epoch, step and last loss of a divergence, and theta."""
    net, X, y = problem()
    optimizer = OPTIMIZERS["nesterov"]()
    optimizer.lr = 10.0
    fit = session_of(net, X, y, optimizer, 61, 1 if sizes is None else N_THREADS)
    if sizes is not None:
        fit.set_teams(np.array(sizes, np.int32))
    found = fit.run(60.0)
    while not found[0]:
        found = fit.run(60.0)
    return found[2], found[3], str(found[5]), net.theta.tobytes()


def test_divergence_is_found_on_changing_teams():
    alone = in_time(diverged, None)
    for sizes in SEQUENCES.values():
        assert in_time(diverged, sizes) == alone, sizes


# ---- what the session says --------------------------------------------------------------------


def test_teams_are_checked():
    net, X, y = problem()
    fit = session_of(net, X, y, OPTIMIZERS["adam"](), 61, 3)
    for sizes in ([0], [4], [1, -1], []):
        with pytest.raises(ValueError, match="argument"):
            fit.set_teams(np.array(sizes, np.int32))
    with pytest.raises((TypeError, ValueError)):
        fit.set_teams(np.array([1.0, 2.0]))


def test_the_report_tells_the_team_of_the_next_step():
    net, X, y = problem(NARROW, n=2100)
    fit = session_of(net, X, y, OPTIMIZERS["adam"](), 263, 3)
    assert (fit.report()["threads_now"], fit.report()["threads_changes"]) == (3, 0)
    fit.set_teams(np.array([2, 1, 1, 3], np.int32))
    seen = [fit.report()["threads_now"]]
    for _ in range(4):
        fit.run(0.0)
        seen.append(fit.report()["threads_now"])
    assert seen == [2, 1, 1, 3, 2]
    assert fit.report()["threads_changes"] == 3
    fit.set_teams(None)
    assert (fit.report()["threads_now"], fit.report()["threads_changes"]) == (3, 0)


def test_a_session_with_clocks_keeps_all_its_threads():
    """Their times are those of one number of threads."""
    net, X, y = problem(NARROW, n=2100)
    fit = session_of(net, X, y, OPTIMIZERS["adam"](), 263, 2)
    fit.set_teams(np.array([1, 2], np.int32))
    fit.run(0.0)
    fit.set_clocks(True)
    for _ in range(4):
        fit.run(0.0)
        assert fit.report()["threads_now"] == 2


# ---- how the size is chosen -------------------------------------------------------------------


def test_the_size_follows_what_is_measured(tmp_path):
    assert program_of("team_sizes", "undefined", tmp_path) == "good\n"
