"""A share of the attacks of this folder, and faults that they have to find."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from failing_calls import build, environment

pytestmark = pytest.mark.once

HERE = Path(__file__).parent
LIMIT = 300  # seconds until a process counts as hanging
SHARE = ("--seconds", 4, "--seed", 0)
SHIM = f"import sys; sys.path.insert(0, {str(HERE)!r})\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library of failing calls."""
    folder = tmp_path_factory.mktemp("library")
    try:
        path = build(folder)
    except SystemExit as error:
        pytest.skip(str(error))
    return path


def run(library, *arguments):
    """Run Python with the library; returns what it prints."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment(library),
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def counts(text, name):
    """The numbers in the last line of an attack."""
    last = text.splitlines()[-1]
    assert last.startswith(f"{name}: "), text
    return [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", last)]


def test_failing_calls_of_the_engine(library):
    script = HERE / "oom.py"
    *done, faults = counts(run(library, script, *SHARE, "-k", "of the engine"), "oom")
    assert faults == 0 and done[1] > 0


def test_failing_calls_of_the_process(library):
    text = run(library, HERE / "oom.py", *SHARE, "-k", "a file, a system call")
    *done, faults = counts(text, "oom")
    assert faults == 0 and done[2] > 0


def test_kills(library):
    *done, faults = counts(run(library, HERE / "kill.py", *SHARE), "kill")
    assert faults == 0 and done[0] > 0


# ---- the attacks find what they look for ----------------------------------------------------

IN_PLACE = """
import failing_calls, kill, oom, scenarios, signal, sys
from pathlib import Path
from fastbp._files import atomic

for program in (kill, oom):  # what they import after their start with the library
    for name in ("CommandFailed", "clean", "leftovers", "of_kind"):
        setattr(program, name, getattr(scenarios, name))
kill.atomic = atomic


def in_place(folder):
    path = folder / "file"
    path.write_text("old")

    def act():
        with open(path, "w") as file:
            file.write("new")
        return path.read_bytes()

    def whole():
        assert path.read_text() in ("old", "new"), "half a file"

    return scenarios.Case(act, whole, (path,))
"""

FAILING = """
def silent(folder):
    def act():
        try:
            (folder / "file").write_text("new")
            return b"whole"
        except OSError:
            return b"less"

    return scenarios.Case(act)


class Kept:
    "A cache that an exception leaves half filled."
    key = value = None


def cached(folder):
    kept = Kept()

    def act():
        if kept.key is None:
            kept.key = "key"
            kept.value = [bytes(1000)]
        return kept.value[0]

    return scenarios.Case(act)


make = {"in place": in_place, "silent": silent, "cached": cached}[sys.argv[1]]
mode = "an allocation" if make is cached else "all further system calls, EIO"
tally = oom.Tally()
(chosen,) = [each for each in oom.MODES if each.name == mode]
oom.attack(sys.argv[1], make, chosen, 60, 0, tally)
print("found:", " ".join(text for _, text in tally.faults))
"""

KILLED = """
def appended(folder):
    path = folder / "file"

    def act():
        with open(path, "ab") as file:
            file.write(b"line")
        return path.read_bytes()

    return scenarios.Case(act)


def interrupted(folder):
    def act():
        for i in range(2):
            try:
                (folder / "file").write_text(str(i))
            except KeyboardInterrupt:
                raise ValueError("an interrupt that becomes another error")
        return b""

    return scenarios.Case(act)


make = {"in place": in_place, "appended": appended, "interrupted": interrupted}[sys.argv[1]]
victim = kill.Victim(sys.argv[1], make, failing_calls.Shim())
for call in range(1, victim.calls + 1):
    for number in (signal.SIGKILL, signal.SIGINT):
        try:
            victim.kill(number, call)
        except kill.Fault as fault:
            print("found:", fault)
"""


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        ("in place", "half a file"),
        ("silent", "other bits, and no exception"),
        ("cached", "TypeError"),
    ],
)
def test_failing_calls_find(broken, fault, library):
    """A file written in place; an error that is hidden; an object that is unusable afterwards."""
    found = run(library, "-c", SHIM + IN_PLACE + FAILING, broken).partition("found:")[2]
    assert fault in found


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        ("in place", "half a file"),
        ("appended", "other bits when it is run again"),
        ("interrupted", "exit status 1"),
    ],
)
def test_kills_find(broken, fault, library):
    """A file written in place; one that a second run changes; an interrupt that is lost."""
    found = run(library, "-c", SHIM + IN_PLACE + KILLED, broken).partition("found:")[2]
    assert fault in found


# ---- single calls ---------------------------------------------------------------------------

THREADS = """
import os
import failing_calls
import fastbp
from fastbp import _core

shim = failing_calls.Shim(_core.__file__)
n_calls = None
for first in (failing_calls.ALWAYS, *range(1, 12)):
    for many in (1, failing_calls.ALWAYS):
        pid = os.fork()
        if pid == 0:  # a limit is determined once per process
            shim.arm(failing_calls.SYSTEM_CALL, first, many, failing_calls.FAIL, 5)
            found = fastbp.get_num_threads()
            shim.disarm()
            os._exit(0 if 1 <= found <= os.cpu_count() else 1)
        assert os.waitpid(pid, 0)[1] == 0, (first, many)
print("done")
"""


def test_the_default_number_of_threads_without_its_system_calls(library):
    assert run(library, "-c", SHIM + THREADS) == "done\n"


FULL = """
import ctypes, os, sys
import numpy as np
import fastbp

libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER, RECURSIVE_PRIVATE = 0x20000, 0x10000000, 0x44000


def call(name, *arguments):
    if getattr(libc, name)(*arguments):
        sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")


if libc.unshare(NEWNS):
    call("unshare", NEWUSER | NEWNS)
call("mount", None, b"/", None, ctypes.c_ulong(RECURSIVE_PRIVATE), None)
old, new = (fastbp.Network((100, 100), seed=seed) for seed in (1, 2))
folder = os.fsencode(sys.argv[1])
outcomes = set()
for pages in range(12, 100, 3):
    size = f"size={pages * 4096}".encode()
    call("mount", b"none", folder, b"tmpfs", ctypes.c_ulong(0), size)
    os.chdir(folder)
    try:
        old.save("model")
        expected = old
        new.save("model")
        expected = new
        new.copy().fit(np.ones((5, 100)), np.ones((5, 100)), epochs=2, checkpoint="run")
        outcomes.add("all written")
    except OSError as error:
        assert error.errno == 28 and error.filename in ("model", "run",
            "run/checkpoint-0.safetensors", "run/checkpoint-1.safetensors"), error
        outcomes.add(error.filename)
    if os.path.exists("model"):
        assert (fastbp.load("model").theta == expected.theta).all(), pages
    assert not [name for name in os.listdir() if name.startswith(".fastbp")], pages
    os.chdir("/")
    call("umount2", folder, 2)
print(*sorted(outcomes))
"""


def test_a_small_disk(tmp_path):
    """Of every size around that of the files, as a tmpfs in a mount namespace."""
    if sys.platform != "linux":
        pytest.skip("mount namespaces exist on Linux")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"no mount namespace: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert {"all", "written", "model"} < set(done.stdout.split()), done.stdout
