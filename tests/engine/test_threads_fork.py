"""The pool after os.fork: the child starts its own threads and computes the same bits."""

import contextlib
import os
import pickle
import threading

import pytest
from thread_cases import (
    NARROW,
    fork,
    forked,
    isolated,
    limit_of,
    needs_fork,
    needs_proc,
    problem,
    result_of,
    start_forked,
    tasks,
    threads_started,
    trajectory,
)

pytestmark = [needs_fork, pytest.mark.once]


@contextlib.contextmanager
def busy(work):
    """Call work() repeatedly on another Python thread; yields the list of its results."""
    results, stop = [], threading.Event()

    def run():
        while not stop.is_set():
            results.append(work())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield results
    finally:
        stop.set()
        thread.join()


# ---- fork between fits ------------------------------------------------------------------------


def fit_fork_fit():
    alone = trajectory(1)
    for before, in_child, after in ((2, 3, 7), (4, 2, 2), (1, 4, 3)):
        assert trajectory(before) == alone
        child = start_forked(trajectory, in_child)
        assert trajectory(after) == alone  # at the same time as the child
        assert result_of(child) == alone


def test_fit_fork_fit():
    isolated(fit_fork_fit)


def generations(depth):
    """Trajectories of a process, of its child, of its grandchild, and so on."""
    mine = trajectory(2)
    return [mine, *(forked(generations, depth - 1) if depth else [])]


def grandchildren():
    assert generations(3) == [trajectory(1)] * 4


def test_a_child_may_fork():
    isolated(grandchildren)


def many_children():
    trajectory(7)
    children = [start_forked(trajectory, n) for n in (2, 3, 4, 7)]
    assert [result_of(child) for child in children] == [trajectory(1)] * 4


def test_several_children_at_the_same_time():
    isolated(many_children)


def count_threads():
    trajectory(3)
    before = tasks()
    trajectory(2)
    trajectory(3)
    assert tasks() == before
    return before


def threads_of_a_child():
    trajectory(7)
    alone = forked(tasks)
    assert alone == 1
    assert forked(count_threads) == alone + 2


@needs_proc
def test_a_child_starts_its_own_threads():
    isolated(threads_of_a_child)


def passes():
    """The bits of a forward and a backward pass, a prediction and a loss on three threads."""
    net, X, y = problem(NARROW, n=2100)
    with limit_of(3):
        results = [net.forward(X), net.predict(X)]
        costs = [net.backward(y), net.loss(X, y)]
        return [each.tobytes() for each in [*results, net.grad]], costs


def fork_between_passes():
    expected = passes()
    assert forked(passes) == expected == passes()
    net, X, y = problem(NARROW, n=2100)
    with limit_of(3):
        net.forward(X)
        gradient = forked(lambda: (net.backward(y), net.grad.tobytes()))
        assert gradient == (net.backward(y), net.grad.tobytes())


def test_passes_and_predictions_after_a_fork():
    isolated(fork_between_passes)


# ---- fork during a call -------------------------------------------------------------------------


def finish_in_parent_and_child():
    """A callback forks; parent and child both finish the fit, with the same bits."""
    net, X, y = problem()
    children, inside = [], []

    def split(epoch, logs):
        if epoch == 1 and not inside:
            reader, writer = os.pipe()
            pid = fork()
            if pid:
                os.close(writer)
                children.append((pid, reader))
            else:
                inside.append(writer)

    history = net.fit(X, y, epochs=4, batch_size=61, n_threads=3, callbacks=[split])
    return net.theta.tobytes(), history.loss, children, inside


def fork_in_a_callback():
    theta, losses, children, inside = finish_in_parent_and_child()
    if inside:
        with os.fdopen(inside[0], "wb") as pipe:
            pickle.dump((theta, losses), pipe)
        os._exit(0)
    net, X, y = problem()
    history = net.fit(X, y, epochs=4, batch_size=61, n_threads=1)
    assert (theta, losses) == (net.theta.tobytes(), history.loss)
    assert result_of(children[0]) == (theta, losses)


def test_fork_in_a_callback():
    isolated(fork_in_a_callback)


def fork_beside_a_fit():
    """The child can train at whatever point the fit of another thread was."""
    alone = trajectory(1)
    with busy(lambda: trajectory(3)) as results:
        for turn in range(16):
            assert forked(trajectory, 2 + turn % 3) == alone
    assert len(results) > 1 and all(each == alone for each in results)
    assert trajectory(4) == alone


def test_fork_beside_a_fit():
    isolated(fork_beside_a_fit)


def threads_beside_a_fit():
    trajectory(3)
    with busy(lambda: trajectory(3)):
        assert [threads_started(trajectory, 2) for _ in range(8)] == [1] * 8


@needs_proc
def test_the_pool_of_a_child_is_free():
    """Even if another thread of the parent was using the pool at that moment."""
    isolated(threads_beside_a_fit)


def fork_beside_predictions():
    """Regions are short, so that forks happen while locks are held and threads are woken."""
    net, X, _ = problem(NARROW, n=2100)
    with limit_of(7):
        expected = net.predict(X).tobytes()
        with busy(lambda: net.predict(X).tobytes()) as results:
            for _ in range(60):
                assert forked(lambda: net.predict(X).tobytes()) == expected
        assert results and all(each == expected for each in results)


def test_fork_beside_predictions():
    isolated(fork_beside_predictions)


def fork_where_nobody_trains():
    """The child never uses the pool, and must be able to exit."""
    with busy(lambda: trajectory(2)):
        for _ in range(10):
            assert forked(os.getppid) == os.getpid()


def test_a_child_that_does_not_train_can_exit():
    isolated(fork_where_nobody_trains)
