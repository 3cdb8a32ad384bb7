"""How many threads: affinity, quotas, environment variables, setters, and small work."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from thread_cases import (
    NARROW,
    SMALL,
    in_time,
    isolated,
    limit_of,
    needs_fork,
    needs_proc,
    problem,
    tasks,
    threads_started,
    trajectory,
)

import fastbp
from fastbp import _config

pytestmark = pytest.mark.once

NAMES = ("FASTBP_NUM_THREADS", "OMP_NUM_THREADS")
ASK = "import fastbp; print(fastbp.get_num_threads())"


def run(code, *arguments, **environment):
    """Run code in a new interpreter, with those of NAMES set that `environment` has."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k not in NAMES} | environment,
        timeout=120,
    )


def answer(code, *arguments, **environment):
    done = run(code, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- the default ------------------------------------------------------------------------------


def test_default():
    """It may be lower because of a quota of the control group."""
    assert 1 <= answer(ASK) <= _config.usable_cores()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity exists on Linux")
def test_default_follows_affinity():
    pin = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])});"
    for cpu in sorted(os.sched_getaffinity(0))[:2]:
        assert answer(pin + ASK, str(cpu)) == 1


# Files of an invented control group, which a mount namespace shows in /proc and /sys/fs/cgroup.
QUOTAS = """
import ctypes, json, os, sys
import fastbp

libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER, RECURSIVE_PRIVATE = 0x20000, 0x10000000, 0x44000

def call(name, *arguments):
    if getattr(libc, name)(*arguments):
        sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")

if libc.unshare(NEWNS):
    call("unshare", NEWUSER | NEWNS)
call("mount", None, b"/", None, ctypes.c_ulong(RECURSIVE_PRIVATE), None)
for place in (b"/proc", b"/sys/fs/cgroup"):
    call("mount", b"none", place, b"tmpfs", ctypes.c_ulong(0), None)
answers = []
for files in json.loads(sys.argv[1]):
    for path, text in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text + "\\n")
    reader, writer = os.pipe()
    if not os.fork():
        os.write(writer, str(fastbp.get_num_threads()).encode())
        os._exit(0)
    answers.append(int(os.read(reader, 100)))
    os.wait()
    for path in files:
        os.remove(path)
print(json.dumps(answers))
"""
GROUP = "/proc/self/cgroup"
V1, V2 = "/sys/fs/cgroup/cpu/cpu.cfs_", "/sys/fs/cgroup"
CASES = [  # (files, the number of processors that they allow, or None for all)
    ({}, None),
    ({GROUP: "0::/"}, None),
    ({GROUP: "0::/", f"{V2}/cpu.max": "max 100000"}, None),
    ({GROUP: "0::/", f"{V2}/cpu.max": "100000 100000"}, 1),
    ({GROUP: "0::/", f"{V2}/cpu.max": "150000 100000"}, 1),
    ({GROUP: "0::/", f"{V2}/cpu.max": "200000 100000"}, 2),
    ({GROUP: "0::/", f"{V2}/cpu.max": "10000 100000"}, 1),
    ({GROUP: "0::/", f"{V2}/cpu.max": "100000000 100000"}, None),
    ({GROUP: "0::/", f"{V2}/cpu.max": "rubbish"}, None),
    ({GROUP: "0::/", f"{V2}/cpu.max": ""}, None),
    ({GROUP: "0::/a b/c", f"{V2}/a b/c/cpu.max": "100000 100000"}, 1),
    ({GROUP: "0::/a/c", f"{V2}/a/cpu.max": "50000 50000", f"{V2}/a/c/cpu.max": "max 100000"}, 1),
    ({GROUP: "0::/a/c", f"{V2}/a/c/cpu.max": "150000 100000", f"{V2}/cpu.max": "max 100000"}, 1),
    ({GROUP: "0::/elsewhere", f"{V2}/a/cpu.max": "100000 100000"}, None),
    ({GROUP: "0::/" + "d" * 3000, f"{V2}/cpu.max": "100000 100000"}, 1),
    ({GROUP: "4:cpu:/", f"{V1}quota_us": "100000", f"{V1}period_us": "100000"}, 1),
    ({GROUP: "4:cpu:/", f"{V1}quota_us": "199999", f"{V1}period_us": "100000"}, 1),
    ({GROUP: "4:cpu:/", f"{V1}quota_us": "-1", f"{V1}period_us": "100000"}, None),
    ({GROUP: "4:cpu:/", f"{V1}quota_us": "100000"}, None),
]


@pytest.mark.skipif(sys.platform != "linux", reason="control groups exist on Linux")
def test_default_follows_quotas():
    files = json.dumps([files for files, _ in CASES])
    done = run(QUOTAS, files, OPENBLAS_NUM_THREADS="1")
    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"no mount namespace: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    cpus = len(os.sched_getaffinity(0))
    if cpus == 1:
        pytest.skip("one processor is less than any quota")
    for (case, allowed), found in zip(CASES, json.loads(done.stdout), strict=True):
        assert found == min(cpus, allowed or cpus), case


# ---- the environment --------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch):
    """A function that sets both variables, reads them as the import does, and returns the limit."""
    before = fastbp.get_num_threads()

    def look(fastbp_value=None, omp_value=None):
        for name, value in zip(NAMES, (fastbp_value, omp_value), strict=True):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        fastbp.set_num_threads(77)
        _config._choose_threads()
        return fastbp.get_num_threads()

    yield look
    fastbp.set_num_threads(before)


def test_the_import_reads_the_environment():
    assert answer(ASK, FASTBP_NUM_THREADS="3") == 3
    assert answer(ASK, FASTBP_NUM_THREADS="3", OMP_NUM_THREADS="5") == 5
    assert answer(ASK, OMP_NUM_THREADS="4,2") == 4


def test_set_num_threads_overrides_the_environment():
    code = "import fastbp; fastbp.set_num_threads(6); print(fastbp.get_num_threads())"
    assert answer(code, FASTBP_NUM_THREADS="3", OMP_NUM_THREADS="5") == 6


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((None, None), 77),
        (("3", None), 3),
        ((" 3 ", None), 3),
        (("1024", None), 1024),
        (("007", None), 7),
        (("", ""), 77),
        (("  ", None), 77),
        ((None, "5"), 5),
        (("3", "5"), 5),
        (("5", "3"), 3),
        (("3", ""), 3),
        ((None, "4,2"), 4),
        ((None, " 4 , 2 "), 4),
        (("3", "4,2,1"), 4),
    ],
)
def test_values_of_the_environment(environment, values, expected):
    assert environment(*values) == expected


@pytest.mark.parametrize(
    "rubbish",
    ["many", "0", "-1", "1.5", "1e1", "0x4", ",", ",4", "4 2", "²", "٣", "9999", "9" * 5000],
)
def test_an_invalid_omp_num_threads_is_ignored(environment, rubbish):
    assert environment(None, rubbish) == 77
    assert environment("3", rubbish) == 3


@pytest.mark.parametrize(
    "bad",
    ["many", "0", "-1", "+2", "1.5", "1e1", "0x4", "4,2", "4 2", "²", "٣", "1025", "9" * 5000],
)
def test_a_bad_number_of_threads_fails_the_import(environment, bad):
    with pytest.raises(ImportError, match="whole number from 1 to 1024") as info:
        environment(bad, "2")
    assert str(info.value).startswith("FASTBP_NUM_THREADS=")


def test_the_error_of_the_import_names_the_variable():
    done = run(ASK, FASTBP_NUM_THREADS="many")
    assert done.returncode == 1
    assert done.stderr.strip().endswith(
        "ImportError: FASTBP_NUM_THREADS='many' must be a whole number from 1 to 1024; "
        "correct it, or unset it"
    )


# ---- the setters ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 1024, np.int64(3)])
def test_set_num_threads(n):
    with limit_of(n):
        assert fastbp.get_num_threads() == n
        assert type(fastbp.get_num_threads()) is int


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "must be at least 1; got 0"),
        (-2, ValueError, "must be at least 1; got -2"),
        (1025, ValueError, "must be at most 1024; got 1025"),
        (2**70, ValueError, "must be at most 1024"),
        (2.0, TypeError, "must be a whole number"),
        (True, TypeError, "must be a whole number"),
        ("2", TypeError, "must be a whole number"),
        (None, TypeError, "must be a whole number"),
    ],
)
def test_set_num_threads_refuses_bad_numbers(value, error, message):
    before = fastbp.get_num_threads()
    with pytest.raises(error, match=f"^n {message}"):
        fastbp.set_num_threads(value)
    assert fastbp.get_num_threads() == before
    if value is not None:
        net, X, y = problem()
        theta = net.theta.copy()
        with pytest.raises(error, match=f"^n_threads {message}"):
            net.fit(X, y, n_threads=value)
        np.testing.assert_array_equal(net.theta, theta)


# ---- more threads than the machine has, and small work ----------------------------------------


def seven_on_one_processor():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    assert trajectory(7) == trajectory(1) == trajectory(2)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity exists on Linux")
def test_more_threads_than_processors():
    isolated(seven_on_one_processor)


def with_room_for_two_threads():
    """With stacks of a gigabyte and memory for two of them, the third thread cannot start."""
    import resource

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    alone, before = trajectory(1), tasks()
    resource.setrlimit(resource.RLIMIT_AS, (used + (5 << 29), -1))
    assert trajectory(7) == trajectory(4) == alone
    assert tasks() == before + 2
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    assert trajectory(7) == alone
    assert tasks() == before + 6


@needs_proc
def test_threads_that_cannot_be_started():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if hard != resource.RLIM_INFINITY and hard < 1 << 30:
        pytest.skip("stacks may not be as large as a gigabyte")
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 30, hard))  # read when a process starts
    try:
        isolated(with_room_for_two_threads)
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


@needs_proc
@needs_fork
def test_small_work_starts_no_threads():
    net = fastbp.Network(SMALL, seed=0)
    X = np.ones((400, SMALL[0]), np.float32)
    y = X[:, : SMALL[-1]]
    assert threads_started(net.fit, X, y, epochs=3, batch_size=4, n_threads=2) == 0
    wide, rows, targets = problem(n=1)
    with limit_of(7):
        assert threads_started(net.fit, X, y, epochs=3, batch_size=4) == 0
        assert threads_started(net.predict, X[:1]) == 0
        assert threads_started(net.value_and_grad, X[:4], y[:4]) == 0
        assert threads_started(wide.predict, rows) == 0
        assert threads_started(wide.value_and_grad, rows, targets) == 0


@needs_proc
@needs_fork
def test_one_thread_starts_no_threads():
    """n_threads of fit overrides the limit, and the limit overrides the machine's default."""
    net, X, y = problem(NARROW, n=2100)
    fit = {"epochs": 1, "batch_size": 2100}
    with limit_of(7):
        assert threads_started(net.fit, X, y, n_threads=1, **fit) == 0
        assert threads_started(net.fit, X, y, n_threads=2, **fit) == 1
    with limit_of(1):
        assert threads_started(net.fit, X, y, **fit) == 0
        assert threads_started(net.fit, X, y, n_threads=4, **fit) == 3
        assert threads_started(net.predict, X) == 0
        assert threads_started(net.value_and_grad, X, y) == 0
    assert in_time(trajectory, 3) == in_time(trajectory, 1)
