"""A plugin of pytest for runs under a sanitizer: longer limits, and the tests that cannot run.

sanitizer_run.py loads it, and sets SANITIZER to asan, ubsan or tsan.
"""

import inspect
import json
import os
import subprocess
import time
from pathlib import Path
from zlib import crc32

import pytest

SANITIZER = os.environ.get("SANITIZER", "asan")
SLOWER = 20  # limits of time are multiplied by this; the machine may be busy with other things

COUNTED = "it redirects calls of malloc in _core, which the library of the sanitizer must receive"
SHADOW = "it limits addresses by RLIMIT_AS, and the sanitizer reserves terabytes of them"
OWN = "it builds a program with sanitizers of its own; `nox -s tests` runs it"

BEGUN = pytest.StashKey[float]()  # when the first test began

# Every test that is left out: a part of its id, the sanitizers, and the reason.
LEFT_OUT = [
    ("test_engine_memory.py::test_a_step_allocates_nothing", "asan ubsan tsan", COUNTED),
    ("test_a_training_pass_allocates_only_at_first", "asan ubsan tsan", COUNTED),
    ("test_a_step_of_formulas_allocates_nothing", "asan ubsan tsan", COUNTED),
    ("test_a_step_on_several_threads_allocates_nothing", "asan ubsan tsan", COUNTED),
    ("test_a_pass_without_memory_leaves_none_behind", "asan tsan", SHADOW),
    ("test_threads_that_cannot_be_started", "asan tsan", SHADOW),
    ("test_sanitizers_find_nothing", "asan ubsan tsan", OWN),
]


def reason_to_leave_out(nodeid):
    """The reason of the list, or None for a test that runs."""
    for part, sanitizers, reason in LEFT_OUT:
        if part in nodeid and SANITIZER in sanitizers.split():
            return reason
    return None


def pytest_addoption(parser):
    group = parser.getgroup("sanitizers")
    group.addoption("--budget", type=float, help="seconds after which no further test begins")
    group.addoption("--counts", help="file to write the numbers of tests by outcome to")


def pytest_configure(config):
    subprocess.Popen.wait = patient(subprocess.Popen.wait)
    subprocess.Popen.communicate = patient(subprocess.Popen.communicate)
    import thread_cases  # conftest.py has put tests/ on the path

    thread_cases.LIMIT *= SLOWER
    thread_cases.FORK_LIMIT *= SLOWER


def patient(method):
    """A method of Popen with SLOWER times its limit of time."""

    parameters = inspect.signature(method)

    def longer(*arguments, **options):
        call = parameters.bind(*arguments, **options)
        if call.arguments.get("timeout") is not None:
            call.arguments["timeout"] *= SLOWER
        return method(*call.args, **call.kwargs)

    return longer


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Leave out the tests of the list. With a budget, run the others in the order of a hash."""
    left_out = [item for item in items if reason_to_leave_out(item.nodeid)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    if config.getoption("budget") is not None:
        items.sort(key=lambda item: crc32(item.nodeid.encode()))


def pytest_collection_finish(session):
    session.config.stash[BEGUN] = time.monotonic()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    budget = item.config.getoption("budget")
    done = yield
    if budget is not None and time.monotonic() - item.config.stash[BEGUN] > budget:
        item.session.shouldstop = "the budget of time is spent"
    return done


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("counts"):
        names = ("passed", "failed", "error", "skipped", "deselected")
        counts = {name: len(terminalreporter.stats.get(name, ())) for name in names}
        Path(config.getoption("counts")).write_text(json.dumps(counts))
