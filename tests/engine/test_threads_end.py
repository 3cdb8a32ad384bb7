"""The end of the threads: on request, when the interpreter ends and around forks; sanitizers."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from thread_cases import (
    NARROW,
    eventually,
    forked,
    isolated,
    limit_of,
    needs_fork,
    needs_proc,
    problem,
    program_of,
    result_of,
    start_forked,
    tasks,
    trajectory,
)

import fastbp

pytestmark = pytest.mark.once


def stopped(n_before):
    """Call stop_threads, and wait until the system no longer lists the threads."""
    fastbp.stop_threads()
    eventually(lambda: tasks() <= n_before)


# ---- on request -------------------------------------------------------------------------------


def stop_and_train_again():
    before, alone = tasks(), trajectory(1)
    stopped(before)  # no thread has been started
    for n in (3, 2, 7):
        assert trajectory(n) == alone
        assert tasks() == before + n - 1
        stopped(before)
        fastbp.stop_threads()
    net, X, _ = problem(NARROW, n=2100)
    with limit_of(3):
        expected = net.predict(X).tobytes()
        stopped(before)
        assert net.predict(X).tobytes() == expected
    assert tasks() == before + 2


@needs_proc
def test_stop_threads_ends_all_threads_and_results_stay_the_same():
    isolated(stop_and_train_again)


def stop_in_callbacks():
    net, X, y = problem()
    twin = problem()[0]
    before = tasks()
    net.fit(X, y, epochs=4, batch_size=61, n_threads=3, callbacks=[lambda *_: stopped(before)])
    assert tasks() == before
    twin.fit(X, y, epochs=4, batch_size=61, n_threads=1)
    assert net.theta.tobytes() == twin.theta.tobytes()


@needs_proc
def test_a_callback_may_stop_the_threads():
    isolated(stop_in_callbacks)


def stop_in_a_loss():
    """The loss runs while the engine waits for the threads that it would have to end."""

    def loss(a, y):
        fastbp.stop_threads()
        return ((a - y) ** 2).sum(axis=1) / 2, a - y

    net = fastbp.Network((40, 257, 255, 9), loss=loss, seed=0)
    X, y = np.ones((66, 40), np.float32), np.ones((66, 9), np.float32)
    theta, before = net.theta.copy(), tasks()
    with pytest.raises(RuntimeError, match="worker threads are in use"):
        net.fit(X, y, epochs=1, batch_size=61, n_threads=3)
    assert net.theta.tobytes() == theta.tobytes()
    assert tasks() == before + 2
    stopped(before)


@needs_proc
def test_a_custom_loss_cannot_stop_the_threads():
    isolated(stop_in_a_loss)


def in_use():
    """Whether stop_threads is refused because the threads are in use."""
    try:
        fastbp.stop_threads()
    except RuntimeError as error:
        assert "in use" in str(error)
        return True
    return False


def stop_during_a_fit():
    """Between two calls of the engine the threads are free and may end; the bits do not change."""
    before, alone, found = tasks(), trajectory(1), []
    thread = threading.Thread(target=lambda: found.extend(trajectory(3) for _ in range(20)))
    thread.start()
    while thread.is_alive():
        in_use()
    thread.join()
    assert found == [alone] * 20
    stopped(before)


@needs_proc
def test_another_thread_may_stop_the_threads_during_a_fit():
    isolated(stop_during_a_fit)


def stop_on_several_threads():
    """One of them ends the threads; the others find them in use or already gone."""
    before, alone = tasks(), trajectory(1)
    for _ in range(20):
        assert trajectory(3) == alone
        threads = [threading.Thread(target=in_use) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stopped(before)


@needs_proc
def test_several_python_threads_may_stop_the_threads():
    isolated(stop_on_several_threads)


# ---- around a fork ----------------------------------------------------------------------------


def trained_and_stopped(n):
    """A trajectory, and how many threads the process has after stop_threads."""
    found = trajectory(n)
    stopped(1)
    return found, tasks()


def stop_and_fork():
    before, alone = tasks(), trajectory(1)
    trajectory(3)
    stopped(before)
    child = start_forked(trained_and_stopped, 2)
    assert trajectory(4) == alone
    assert result_of(child) == (alone, 1)


@needs_proc
@needs_fork
def test_fork_after_stop_threads():
    isolated(stop_and_fork)


def stop_in_the_child():
    """A child process cannot end the threads of its parent."""
    forked(os.getpid)  # a fork ends threads of NumPy's BLAS, which would be counted
    before, alone = tasks(), trajectory(1)
    trajectory(3)
    assert forked(lambda: (fastbp.stop_threads(), trained_and_stopped(3))) == (None, (alone, 1))
    assert tasks() == before + 2
    assert trajectory(3) == alone
    assert tasks() == before + 2
    stopped(before)


@needs_proc
@needs_fork
def test_a_child_process_ends_only_its_own_threads():
    isolated(stop_in_the_child)


def fork_during_stop_threads():
    """The child can train and end its threads at whatever point stop_threads was in the parent."""
    alone, over = trajectory(1), threading.Event()

    def start_and_stop():
        while not over.is_set():
            trajectory(3)
            in_use()

    thread = threading.Thread(target=start_and_stop)
    thread.start()
    try:
        for _ in range(16):
            assert forked(trained_and_stopped, 3) == (alone, 1)
    finally:
        over.set()
        thread.join()


@needs_proc
@needs_fork
def test_fork_during_stop_threads():
    isolated(fork_during_stop_threads)


# ---- the end of the interpreter -----------------------------------------------------------------

TRAIN = """
import atexit, os, sys, threading, time

def tasks():
    return len(os.listdir("/proc/self/task"))

def none_is_left():  # registered first, so called last
    deadline = time.monotonic() + 60
    while tasks() > before and time.monotonic() < deadline:
        time.sleep(0.001)
    print("left:", tasks() - before)

atexit.register(none_is_left)
import numpy as np
import fastbp

net = fastbp.Network((40, 257, 255, 9), seed=0)
X, y = np.ones((660, 40), np.float32), np.ones((660, 9), np.float32)

def train(epochs=1):
    net.fit(X, y, epochs=epochs, batch_size=61, n_threads=4)

before = tasks()
"""


def output_of(code):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", TRAIN + code],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@needs_proc
def test_threads_end_with_the_interpreter():
    assert output_of("train(); print(tasks() - before)") == "3\nleft: 0\n"
    assert output_of("print(tasks() - before)") == "0\nleft: 0\n"
    assert output_of("train(); fastbp.stop_threads(); print()") == "\nleft: 0\n"


@needs_proc
@pytest.mark.parametrize(
    "work",
    [
        "while True: train()",
        "train(10**9)",
        "while True: net.predict(X)",
        "own.fit(X, y, epochs=10**9, batch_size=61, n_threads=4)",
    ],
)
def test_a_daemon_thread_may_train_until_the_interpreter_ends(work):
    """Python stops it at any point of its work."""
    output_of(f"""
def loss(a, y):
    return ((a - y) ** 2).sum(axis=1) / 2, a - y

own = fastbp.Network((40, 257, 255, 9), loss=loss, seed=0)

def work():
    {work}

atexit.unregister(none_is_left)  # threads may be left; they end with the process
train()
threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
""")


# ---- in C -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="the program starts a thread by pthreads")
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_sanitizers_find_nothing(sanitizer, tmp_path):
    assert program_of("pool_ends", sanitizer, tmp_path) == "good\n"
