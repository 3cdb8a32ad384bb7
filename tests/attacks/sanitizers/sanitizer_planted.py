"""Faults that are planted to be found, so that a run that reports nothing means something.

Some call the extension in a way that Python code of fastbp prevents; others are programs in C, some
of them with a changed line of the engine. Each must be reported with the place where it happens.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass

import sanitizer_reports as reports
from sanitizer_process import FLAGS, HERE, ROOT, TESTS, environment, python

CSRC = ROOT / "csrc"


@dataclass(frozen=True)
class Planted:
    """A fault: its name, and the texts that its report must contain."""

    name: str
    expected: tuple
    code: str = ""  # Python that makes the fault
    program: str = ""  # or a program in C, in this folder or that of the engine's tests
    sources: tuple = ()  # folders of csrc/ that are built with it
    change: tuple = ()  # a file of csrc/, and a text in it with its replacement


READS_TOO_FAR = """
import numpy as np
import fastbp
few = np.ones((4, 3), np.float32)
lie = np.lib.stride_tricks.as_strided(few, (64, 3))
fastbp.Network((3, 8, 2), seed=0).predict(lie)
"""

LEAKS = """
import ctypes
from fastbp import Network, _core
net = Network((3, 8, 2), seed=0)
pass_ = _core.Pass(net._backend.net, 4)
ctypes.pythonapi.PyObject_GC_UnTrack(ctypes.py_object(pass_))
ctypes.pythonapi.Py_IncRef(ctypes.py_object(pass_))
del pass_
"""

ONE_PASS_IN_TWO_THREADS = """
import threading
import numpy as np
from fastbp import Network, _core
net = Network((3, 8, 2), seed=0)
X = np.ones((256, 3), np.float32)
pass_ = _core.Pass(net._backend.net, len(X))
start = threading.Barrier(2)
def work():
    start.wait()
    for _ in range(200):
        pass_.forward(net.theta, X, None)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

PLANTED = {
    "asan": [
        Planted(
            "an array that claims more rows than it has",
            ("heap-buffer-overflow", "_core."),
            code=READS_TOO_FAR,
        ),
        Planted("a pass that is never freed", ("leak of", "_core."), code=LEAKS),
        Planted(
            "a write into the bytes after a buffer of an arena",
            ("use-after-poison", "main"),
            program="overrun.c",
            sources=("base",),
        ),
    ],
    "ubsan": [
        Planted(
            "a shift by more bits than an int has, in the pool",
            ("shift exponent", "pool.c"),
            program="pool_ends.c",
            sources=("threads",),
            change=(
                "threads/pool.c",
                "pool.n_started + 1;",
                "pool.n_started + 1 + (0 << (32 + pool.n_started));",
            ),
        ),
    ],
    "tsan": [
        Planted(
            "one pass that two threads use without the lock of its network",
            ("data race", "_core."),
            code=ONE_PASS_IN_TWO_THREADS,
        ),
        Planted(
            "workers that take tasks from a counter that is not atomic",
            ("data race", "fbp_team_next"),
            program="pool_ends.c",
            sources=("threads",),
            change=(
                "threads/team.c",
                "atomic_fetch_add_explicit(&team->next, 1, memory_order_relaxed)",
                "(*(long *)&team->next)++",
            ),
        ),
    ],
}


def build(fault, sanitizer, folder):
    """Build the program of a fault from a copy of csrc/; return its path."""
    sources = folder / "csrc"
    shutil.copytree(CSRC, sources)
    if fault.change:
        path, old, new = fault.change
        text = (sources / path).read_text("utf-8")
        if text.count(old) != 1:
            sys.exit(f"{old!r} is {text.count(old)} times in csrc/{path}; expected once")
        (sources / path).write_text(text.replace(old, new), "utf-8")
    (program,) = [p for p in (HERE / fault.program, TESTS / "engine" / fault.program) if p.exists()]
    inputs = [program, *(path for name in fault.sources for path in (sources / name).glob("*.c"))]
    flags = ["-std=c11", "-g", "-O1", "-pthread", *FLAGS[sanitizer]]
    flags += ["-fno-sanitize-recover=all", f"-I{sources}", "-lm"]
    subprocess.run(["gcc", *inputs, *flags, "-o", folder / "program"], check=True)
    return folder / "program"


def report_of(fault, sanitizer, folder):
    """The report of a planted fault, or an empty text."""
    folder.mkdir(parents=True)
    if fault.code:
        python(sanitizer, folder, fault.code, stderr=subprocess.DEVNULL)
    else:
        program = build(fault, sanitizer, folder)
        variables = environment(sanitizer, folder)
        del variables["LD_PRELOAD"]
        subprocess.run([program], env=variables, check=False, stdout=subprocess.DEVNULL)
    return "\n".join(text for _, text in reports.faults_of(folder))


def check(sanitizer, folder):
    """End with a message unless each planted fault of a sanitizer is reported; count them."""
    for number, fault in enumerate(PLANTED[sanitizer]):
        text = report_of(fault, sanitizer, folder / str(number))
        missing = [part for part in fault.expected if part not in text]
        if missing:
            sys.exit(f"{sanitizer} has not reported {fault.name}: no {missing} in {text!r}")
        print(f"-- planted and found: {fault.name}", flush=True)
    return len(PLANTED[sanitizer])
