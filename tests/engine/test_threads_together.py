"""Several Python threads at the same time, and Ctrl-C: only one of them uses the pool."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from engine_cases import OPTIMIZERS
from thread_cases import (
    FIT,
    NARROW,
    SHAPES,
    eventually,
    in_time,
    isolated,
    limit_of,
    needs_proc,
    problem,
    tasks,
    trajectory,
)

import fastbp
from fastbp import _core

FITS = [
    (2, {"shape": FIT, "activation": "tanh"}),
    (3, {"shape": "batches of 8, rest of 3", "dtype": "float64"}),
    (7, {"shape": "batches of 61, rest of 33", "rule": "nesterov", "weighted": True, "l1": 1e-4}),
]


def side_by_side(*calls):
    """The results of calls that start together, each on its own thread."""
    start = threading.Barrier(len(calls))
    results = [None] * len(calls)

    def run(i, call):
        start.wait()
        results[i] = call()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def call(n, options):
    return lambda: trajectory(n, epochs=6, **options)


# ---- at the same time -------------------------------------------------------------------------


@pytest.mark.parametrize("fits", [FITS[:2], FITS[1:], FITS, FITS[:1] * 4])
def test_fits_at_the_same_time(fits):
    alone = [in_time(call(1, options)) for _, options in fits]
    for _ in range(3):
        assert in_time(side_by_side, *(call(n, options) for n, options in fits)) == alone


def test_two_sessions_share_the_pool():
    """The thread that comes first uses the pool for the next slice."""

    def train(n_threads):
        net, X, y = problem()
        optimizer = OPTIMIZERS["adam"]()
        optimizer.bind(net.theta.size, net.dtype)
        fit = _core.Fit(net._backend.net, net.theta, X, y, None, optimizer, 61, True, 5, n_threads)
        while optimizer.t < 60:
            fit.run(0.0)  # one step per slice
        return net.theta.tobytes()

    alone = in_time(train, 1)
    calls = [lambda n=n: train(n) for n in (2, 3, 4)]
    assert in_time(side_by_side, *calls) == [alone] * 3


def test_predictions_with_one_network():
    net, X, y = problem(NARROW, n=2100)
    inputs = [X, X[300:], X[::2], X[:1], X[:5], X[:8]]  # the last three share a buffer

    def work(X, y):
        turns = range(8 if len(X) > 8 else 400)
        return {(net.predict(X).tobytes(), net.loss(X, y)) for _ in turns}

    calls = [lambda X=X: work(X, y[: len(X)]) for X in inputs]
    with limit_of(1):
        alone = [in_time(each) for each in calls]
    assert {len(results) for results in alone} == {1}
    with limit_of(3):
        assert in_time(side_by_side, *calls) == alone


def test_predictions_during_a_fit():
    net, X, _ = problem(NARROW, n=2100)
    fit = call(3, FITS[0][1])
    with limit_of(1):
        expected = net.predict(X).tobytes()
        alone = in_time(fit)
    with limit_of(2):
        path, *outputs = in_time(
            side_by_side, fit, *[lambda: {net.predict(X).tobytes() for _ in range(10)}] * 2
        )
    assert path == alone
    assert outputs == [{expected}] * 2


def test_passes_during_a_fit():
    def passes():
        net, X, y = problem(n=150)
        results = set()
        for _ in range(10):
            J, grad = net.value_and_grad(X, y)
            results.add((J, grad.tobytes(), net.input_gradient().tobytes()))
        return results

    fit = call(2, FITS[0][1])
    with limit_of(1):
        alone = [in_time(fit), in_time(passes)]
    with limit_of(3):
        assert in_time(side_by_side, fit, passes, passes) == [*alone, alone[1]]


def end_of_the_main_thread():
    """End the process while a daemon thread is inside a fit."""
    net, X, y = problem(n=2000)
    begun = threading.Event()
    fit = {"epochs": 10**6, "n_threads": 3, "callbacks": [lambda epoch, logs: begun.set()]}
    threading.Thread(target=net.fit, args=(X, y), kwargs=fit, daemon=True).start()
    assert begun.wait(30)


def test_a_process_may_end_during_a_fit():
    isolated(end_of_the_main_thread)


# ---- signals ----------------------------------------------------------------------------------


def blocked_signals():
    """Thread → the signals that it blocks, as a set of numbers."""
    found = {}
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/status") as file:
            (mask,) = (int(line.split()[1], 16) for line in file if line.startswith("SigBlk"))
        found[int(task)] = {n + 1 for n in range(64) if mask >> n & 1}
    return found


def threads_that_block_signals():
    before = blocked_signals()
    assert trajectory(4) == trajectory(1)
    after = blocked_signals()
    started = after.keys() - before.keys()
    assert len(started) == 3
    refused = {signal.SIGKILL, signal.SIGSTOP}  # nobody can block these
    for task in started:
        assert set(signal.valid_signals()) - refused <= after[task]
    assert {task: after[task] for task in before} == before


@needs_proc
def test_threads_of_the_engine_block_signals_and_no_other_thread_does():
    """A handler of the caller's must not run on a worker, nor wait for one."""
    isolated(threads_that_block_signals)


# ---- Ctrl-C -----------------------------------------------------------------------------------


class CtrlC:
    """Sends SIGINT to this process some seconds after a fit has begun; any thread may get it."""

    def __init__(self, after):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.after = after

    def on_fit_begin(self, net=None):
        self.thread = threading.Thread(target=self._press, daemon=True)
        self.thread.start()

    def _press(self):
        time.sleep(self.after)
        os.kill(os.getpid(), signal.SIGINT)

    def wait_until_gone(self):
        """Wait until the system no longer lists the thread, which may be some time after `join`."""
        self.thread.join()
        eventually(lambda: str(self.thread.native_id) not in os.listdir("/proc/self/task"))


def interrupted_fit(n_threads, shape):
    batch_size = SHAPES[shape][2]
    net, X, y = problem(shape, n=60_000)
    twin = problem(shape)[0]
    adam, same = OPTIMIZERS["adam"](), OPTIMIZERS["adam"]()
    fit = {"batch_size": batch_size, "optimizer": adam, "n_threads": n_threads}
    ctrl_c = CtrlC(0.3)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=10**6, callbacks=[ctrl_c], **fit)
    ctrl_c.wait_until_gone()
    assert np.isfinite(net.theta).all()

    same.bind(twin.theta.size, twin.dtype)
    alone = _core.Fit(
        twin._backend.net, twin.theta, X, y, None, same, batch_size, True, twin.seed, 1
    )
    while same.t < adam.t:
        alone.run(0.0)
    assert adam.t > 0 and net.theta.tobytes() == twin.theta.tobytes(), "not after a whole step"

    before = tasks()
    history = net.fit(X[:500], y[:500], epochs=1, **fit)
    assert np.isfinite(history.loss).all()
    assert trajectory(n_threads) == trajectory(1)
    assert tasks() == before, "the number of threads has changed"


@needs_proc
@pytest.mark.parametrize("n_threads", [2, 7])
def test_ctrl_c_ends_a_fit_after_a_whole_step(n_threads):
    """No thread waits at a barrier, and the network is in the state after a whole step."""
    isolated(interrupted_fit, n_threads, FIT)


def interrupted_again_and_again():
    net, X, y = problem(n=5000)
    for turn in range(8):
        fit = {"epochs": 10**6, "batch_size": 61, "n_threads": 2 + turn % 3}
        with pytest.raises(KeyboardInterrupt):
            net.fit(X, y, callbacks=[CtrlC(0.01 * turn)], **fit)
        assert np.isfinite(net.theta).all()
    assert trajectory(3) == trajectory(1)


@needs_proc
def test_ctrl_c_repeatedly():
    isolated(interrupted_again_and_again)


def interrupted_predictions():
    net, X, _ = problem(NARROW, n=5000)
    expected = net.predict(X).tobytes()
    fastbp.set_num_threads(3)
    with pytest.raises(KeyboardInterrupt):
        CtrlC(0.2).on_fit_begin()
        while True:
            assert net.predict(X).tobytes() == expected
    assert net.predict(X).tobytes() == expected


@needs_proc
def test_ctrl_c_between_predictions():
    isolated(interrupted_predictions)
