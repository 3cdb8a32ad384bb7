"""Calls that many Python threads make at the same time."""

import sys
import threading
import time
from contextlib import contextmanager

from thread_cases import LIMIT, Outcome

N_THREADS = 4


@contextmanager
def often_switched(seconds=1e-5):
    """Let Python with a GIL switch between threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def together(*calls):
    """The results of calls that start together, each on its own thread; raises what one raises.

    A call that hangs is a TimeoutError, and its thread stays.
    """
    start = threading.Barrier(len(calls))
    outcomes = [Outcome() for _ in calls]

    def run(i, call):
        with outcomes[i]:
            start.wait(LIMIT)
            outcomes[i].set_result(call())

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(calls)]
    deadline = time.monotonic() + LIMIT
    with often_switched():
        for thread in threads:
            thread.start()
        return [outcome.result(max(0.0, deadline - time.monotonic())) for outcome in outcomes]


def until(done, call):
    """The results of a call that is made again and again until an event is set, and once more."""
    results = []
    while not done.is_set():
        results.append(call())
    return [*results, call()]


def beside(main, *others):
    """(result of main, results of each of the other calls), which run until main has ended."""
    done = threading.Event()

    def run_main():
        try:
            return main()
        finally:
            done.set()

    first, *rest = together(run_main, *(lambda call=call: until(done, call) for call in others))
    return first, rest
