"""The lock of theta: readers share it, writers have it alone, in the order of their requests."""

import os
import signal
import threading

import numpy as np
import pytest
from thread_cases import eventually, forked, isolated, needs_fork
from together import together

from fastbp._core import ReadWriteLock


def use(lock):
    with lock:
        return lock.copy(np.ones(1)).tolist()


def begin(call):
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_a_block_may_contain_others():
    lock = ReadWriteLock()
    with lock, lock:
        assert lock.copy(np.arange(3)).tolist() == [0, 1, 2]
    together(lambda: use(lock), lambda: use(lock))


def test_one_writer_at_a_time():
    lock, inside, count = ReadWriteLock(), [], [0]

    def work():
        for _ in range(200):
            with lock:
                inside.append(threading.get_ident())
                count[0] += 1
                assert set(inside) == {threading.get_ident()}
                inside.clear()

    together(*[work] * 6)
    assert count == [1200]


class Meeting:
    """An array that two threads have to read at the same time."""

    def __init__(self):
        self.both = threading.Barrier(2)

    def __array__(self, dtype=None, copy=None):
        self.both.wait(60)
        return np.zeros(1)


def test_readers_share_the_lock():
    lock, array = ReadWriteLock(), Meeting()
    together(lambda: lock.copy(array), lambda: lock.copy(array))


def test_a_reader_waits_for_the_writer():
    lock, values, read = ReadWriteLock(), np.zeros(2), []
    with lock:
        values[0] = 1
        reader = begin(lambda: read.append(lock.copy(values).tolist()))
        reader.join(0.05)
        assert reader.is_alive()
        values[1] = 1
    reader.join(60)
    assert read == [[1, 1]]


def test_waiting_threads_come_in_the_order_of_their_requests():
    """Nobody is overtaken for ever by a thread that releases the lock and takes it again."""
    lock, order = ReadWriteLock(), []

    def work(i):
        with lock:
            order.append(i)

    with lock:
        threads = []
        for i in range(6):
            threads.append(begin(lambda i=i: work(i)))
            threads[-1].join(0.05)  # it is in the queue now
    with lock:
        assert order == list(range(6))
    for thread in threads:
        thread.join(60)


def test_a_loop_of_blocks_lets_others_in():
    lock, done = ReadWriteLock(), threading.Event()

    def loop():
        while not done.is_set():
            with lock:
                sum(range(1000))

    begin(loop)
    for _ in range(50):
        lock.copy(np.zeros(1))
        with lock:
            pass
    done.set()


class _Pressed(Exception):
    pass


def interrupted():
    lock, got = ReadWriteLock(), threading.Event()

    def press(number, frame):
        raise _Pressed

    signal.signal(signal.SIGINT, press)

    def hold():
        with lock:
            got.set()
            release.wait(60)

    release = threading.Event()
    holder = begin(hold)
    got.wait(60)
    begin(lambda: [release.wait(0.2), os.kill(os.getpid(), signal.SIGINT)])
    with pytest.raises(_Pressed), lock:
        pytest.fail("the lock was free")
    release.set()
    holder.join(60)
    with lock:  # the request that was withdrawn does not keep it
        pass


@pytest.mark.once
@pytest.mark.skipif(os.name == "nt", reason="Windows does not interrupt a wait for a lock")
def test_an_interrupt_ends_the_wait():
    isolated(interrupted)


def forks():
    lock, held, release = ReadWriteLock(), threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            release.wait(60)

    holder = begin(hold)
    held.wait(60)
    waiting = begin(lambda: use(lock))
    eventually(waiting.is_alive)
    assert forked(use, lock) == [1.0]
    release.set()
    holder.join(60)
    with lock:  # in a hook, for example
        assert forked(use, lock) == [1.0]
    waiting.join(60)


@needs_fork
@pytest.mark.once
def test_a_child_inherits_no_lock_of_another_thread():
    isolated(forks)
