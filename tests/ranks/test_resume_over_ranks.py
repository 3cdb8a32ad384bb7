"""A fit over ranks that was cut short continues on another number of ranks with the same bits."""

import pytest
from rank_cases import on_ranks

pytestmark = pytest.mark.once

FIT = """
import numpy as np
import fastbp
from fastbp.distributed import share

X = np.random.default_rng(0).normal(size=(600, 4))
y = np.sin(X[:, 0])

def fit(comm, **options):
    rows = share(len(X), comm)
    net = fastbp.Network((4, 16, 1), activation="tanh", seed=0)
    history = net.fit(X[rows], y[rows], epochs=100, comm=comm, **options)
    return net.theta.tobytes(), history
"""
CUT = (
    FIT
    + """
def main(comm):
    for seconds in (0.001, 0.004):
        _, history = fit(comm, checkpoint={folder!r}, every="1 h", time_budget=seconds)
    return history.stopped_by
"""
)
RESUMED = (
    FIT
    + """
def main(comm):
    theta, history = fit(comm, checkpoint={folder!r}, every="1 h")
    whole, expected = fit(comm)
    return theta == whole, history.loss == expected.loss
"""
)


@pytest.mark.parametrize(("first", "then"), [(2, 2), (3, 1), (1, 3)])
def test_a_time_budget_ends_within_an_epoch_that_is_continued(first, then, tmp_path):
    folder = str(tmp_path / "run")
    told = on_ranks(first, CUT.replace("{folder!r}", repr(folder)), tmp_path)
    assert told == ["time_budget"] * first
    told = on_ranks(then, RESUMED.replace("{folder!r}", repr(folder)), tmp_path)
    assert told == [(True, True)] * then


STOPPED = (
    FIT
    + """
import signal

class Stop:
    def on_batch_end(self, step, logs):
        return step == 3

class Interrupt:
    def on_batch_end(self, step, logs):
        if step == 3:
            signal.raise_signal(signal.SIGINT)

def main(comm):
    _, stopped = fit(comm, callbacks=[Stop()])
    try:
        fit(comm, callbacks=[Interrupt()])
    except KeyboardInterrupt:
        return stopped.stopped_by, stopped.epochs
"""
)


@pytest.mark.parametrize("n", [1, 2])
def test_callbacks_and_signals_within_an_epoch(n, tmp_path):
    assert on_ranks(n, STOPPED, tmp_path) == [("callback", 1)] * n
