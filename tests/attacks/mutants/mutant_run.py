"""Runs tests in a copy of the project, in a forked process with limits.

The parent has imported pytest and NumPy, but never fastbp, so a fork saves most of the start.
"""

import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies  # noqa: F401
import numpy.random
import numpy.testing  # noqa: F401
import pytest

# Tests run in forks of this process, so what they import is imported here, once; hypothesis before
# pytest could rewrite its assertions.
EARLY = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
MEMORY = 16 << 30  # bytes of addresses; a mutant may ask for any size


@dataclass(frozen=True)
class Outcome:
    """What the tests said: "survived", "killed", "stopped" (by a limit) or "missing" (a test that
    does not exist); the test that failed, how, and on which ISA."""

    verdict: str
    test: str
    how: str
    seconds: float
    isa: str = ""


class Watch:
    """Writes the name of each test before it runs, and of the one that fails, to a file."""

    def __init__(self, path):
        self.path = path

    def write(self, word, name):
        with self.path.open("a") as file:
            file.write(f"{word} {name}\n")

    def pytest_runtest_logstart(self, nodeid):
        self.write("ran", nodeid)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.write("failed", report.nodeid)

    def pytest_collectreport(self, report):
        if report.failed:
            self.write("failed", report.nodeid)


def child(folder, names, environment, log, plugins, extra):
    """Run pytest in this process; never return."""
    code = 99
    try:
        os.setsid()
        out = os.open(log.with_suffix(".txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for limit, value in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
            resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))  # tests raise it
        os.environ.update(environment | {"PYTHONPATH": str(folder)})
        os.chdir(folder)
        sys.path[:] = [str(folder), *(p for p in sys.path if p and not p.startswith(str(folder)))]
        sys.argv = ["pytest"]
        arguments = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *EARLY, *extra]
        # Other runs of pytest may clean up the usual folder meanwhile, which is a warning here.
        arguments += ["--basetemp", str(log.with_name("temporary")), *names]
        code = int(pytest.main(arguments, plugins))
    except BaseException as error:  # noqa: BLE001, because this process must never return
        print(error)
    finally:
        sys.stdout.flush()
        os._exit(code)


def run_tests(folder, names, log, limit, environment=None, plugins=(), extra=("-x",)):
    """Run tests in `folder`; return an Outcome. They count as hanging after `limit` seconds."""
    log = Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(folder, names, environment or {}, log, [Watch(log), *plugins], extra)
    status, stopped = None, False
    while status is None:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            status = code
        elif time.monotonic() - begin > limit:
            os.killpg(pid, signal.SIGKILL) if os.getpgid(pid) == pid else os.kill(pid, 9)
            _, status = os.waitpid(pid, 0)
            stopped = True
        else:
            time.sleep(0.01)
    try:
        os.killpg(pid, signal.SIGKILL)  # what the tests left behind
    except ProcessLookupError:
        pass
    verdict, how = verdict_of(status, stopped, log)
    lines = [line.partition(" ")[::2] for line in log.read_text().splitlines()]
    failed = [name for word, name in lines if word == "failed"]
    test = (failed or [name for _, name in lines][-1:] or [""])[0] if how else ""
    return Outcome(verdict, test, how, time.monotonic() - begin)


# How a mutant is killed, by the exit status of pytest.
HOW = {1: "fails", 2: "cannot be imported", 3: "breaks pytest", 4: "the import fails"}


def verdict_of(status, stopped, log):
    """Return the verdict and how the tests ended, from the status of their process."""
    if stopped:
        return "stopped", "hangs"
    if os.WIFSIGNALED(status):
        return "killed", f"signal {os.WTERMSIG(status)}"
    code = os.WEXITSTATUS(status)
    if code == 0:
        return "survived", ""
    if "ERROR: not found:" in log.with_suffix(".txt").read_text(errors="replace"):
        return "missing", ""
    if code not in HOW:  # no test was run, or `child` itself failed
        raise SystemExit(f"mutants: the tests ended with status {code}: {log.with_suffix('.txt')}")
    return "killed", HOW[code]
