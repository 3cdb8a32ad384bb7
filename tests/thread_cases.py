"""Fits that use several threads, and ways to run code that may hang, crash or start threads."""

import contextlib
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from engine_build import can_run, find_compiler, link
from engine_cases import OPTIMIZERS, targets_for

import fastbp

ROOT = Path(__file__).parents[1]
THREAD_COUNTS = (1, 2, 3, 4, 7)
LIMIT = 120  # seconds; a call that should take one or two and takes longer counts as hanging
FORK_LIMIT = LIMIT / 2  # shorter, because the parent of a forked child has a limit itself
SMALL = (8, 64, 64, 2)  # too small for a second thread at batches of 4
# Shapes of fits: widths, samples, batch size. A step has work for seven threads, and blocks of rows
# do not divide evenly among any number of threads.
SHAPES = {
    "batches of 61, rest of 5": ((40, 257, 255, 9), 66, 61),
    "batches of 61, rest of 33": ((40, 257, 255, 9), 94, 61),
    "batches of 8, rest of 3": ((60, 560, 590, 9), 11, 8),
    "one batch of 263": ((20, 130, 121, 9), 263, 1000),
    "more blocks of rows than threads": ((9, 53, 31, 2), 2500, 2100),
}
FIT = "batches of 61, rest of 5"
NARROW = "one batch of 263"  # fast even with thousands of samples

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="it counts /proc/self/task")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is POSIX")


# ---- fits ---------------------------------------------------------------------------------


def problem(shape=FIT, *, output="identity", loss="squared_error", n=None, **options):
    """A network with samples X, y of its dtype, the same at every call; n overrides SHAPES."""
    widths, n_shape, _ = SHAPES[shape]
    n = n or n_shape
    rng = np.random.default_rng(31)
    net = fastbp.Network(widths, output=output, loss=loss, seed=6, **options)
    X = (rng.normal(size=(n, widths[0])) / np.sqrt(widths[0])).astype(net.dtype)
    y = targets_for(rng, loss, n, widths[-1])
    return net, X, y.argmax(axis=1) if net.criterion.labels else y.astype(net.dtype)


def weights_for(X):
    """Sample weights, some of which are 0."""
    return (np.arange(len(X)) % 4 * 0.5).astype(X.dtype)


def trajectory(n_threads, shape=FIT, *, rule="adam", epochs=2, weighted=False, **options):
    """theta after every epoch, losses, moments and step count of a fit, in bytes."""
    net, X, y = problem(shape, **options)
    optimizer, seen = OPTIMIZERS[rule](), []
    history = net.fit(
        X,
        y,
        epochs=epochs,
        batch_size=SHAPES[shape][2],
        optimizer=optimizer,
        sample_weight=weights_for(X) if weighted else None,
        callbacks=[lambda epoch, logs: seen.append(net.theta.tobytes())],
        n_threads=n_threads,
    )
    assert len(set(seen)) == epochs, "theta did not change in some epoch"
    moments = [moment.tobytes() for moment in optimizer.moments]
    return [*seen, *moments, np.array(history.loss).tobytes(), optimizer.t]


@contextlib.contextmanager
def limit_of(n):
    """set_num_threads(n) inside the with block."""
    before = fastbp.get_num_threads()
    fastbp.set_num_threads(n)
    try:
        yield
    finally:
        fastbp.set_num_threads(before)


def assert_same_bits_on_any_number_of_threads(compute):
    """Assert that the arrays of compute() have the same bits on 1, 2 and 3 threads."""

    def bits(n_threads):
        with limit_of(n_threads):
            return [each.tobytes() for each in compute()]

    alone = bits(1)
    for n_threads in (2, 3):
        assert bits(n_threads) == alone, f"{n_threads} threads"


# ---- calls that may hang --------------------------------------------------------------------


class Outcome(Future):
    """A future that receives the exception of a with block."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None:
            self.set_exception(error)
        return True


def in_time(function, *arguments, **options):
    """function(*arguments) on a new thread; if it hangs, TimeoutError, and the thread stays."""
    outcome = Outcome()

    def run():
        with outcome:
            outcome.set_result(function(*arguments, **options))

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(LIMIT)


def _lead_group(function, arguments):
    if hasattr(os, "setsid"):
        os.setsid()
    function(*arguments)


def isolated(function, *arguments):
    """Run function in a new process; if it hangs, end it and everything it started."""
    child = multiprocessing.get_context("spawn").Process(
        target=_lead_group, args=(function, arguments)
    )
    child.start()
    child.join(LIMIT)
    if child.is_alive():
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.join()
        pytest.fail(f"{function.__name__} hangs")
    assert child.exitcode == 0, f"{function.__name__}: exit code {child.exitcode}"


def fork():
    """os.fork without Python's warning about other threads, which the tests have on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def start_forked(function, *arguments):
    """Call function in a forked child, which writes its result to a pipe; see `result_of`."""
    reader, writer = os.pipe()
    pid = fork()
    if pid:
        os.close(writer)
        return pid, reader
    code = 1
    try:
        os.close(reader)
        result = pickle.dumps(function(*arguments))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(result)
        code = 0
    finally:
        if code:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)


def result_of(child):
    """The return value of the function of a forked child; a hanging child is killed."""
    pid, reader = child
    data, deadline = b"", time.monotonic() + FORK_LIMIT
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = pipe.read(1 << 16)
            data += part
            if not part:
                break
        else:
            os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, "the forked child hangs" if status == -signal.SIGKILL else f"exit {status}"
    return pickle.loads(data)


def forked(function, *arguments):
    return result_of(start_forked(function, *arguments))


# ---- threads ----------------------------------------------------------------------------------


def eventually(condition):
    """Wait until other threads make the condition true, however slowly they run."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"not true after {LIMIT} s"
        time.sleep(0.001)


def tasks():
    """The number of threads of this process."""
    return len(os.listdir("/proc/self/task"))


def _count(function, arguments, options):
    before = tasks()
    function(*arguments, **options)
    return tasks() - before


def threads_started(function, *arguments, **options):
    """How many threads the engine starts for a call in a forked child, which begins with none."""
    return forked(_count, function, arguments, options)


# ---- programs in C ------------------------------------------------------------------------------


def program_of(name, sanitizer, folder):
    """What tests/engine/<name>.c prints, built with csrc/threads/ and with -fsanitize=sanitizer."""
    compiler = find_compiler()
    flags = ["-g", "-O1", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    if not can_run(compiler, flags):
        pytest.skip(f"no C compiler on PATH whose programs with -fsanitize={sanitizer} run")
    sources = [ROOT / f"tests/engine/{name}.c", *sorted((ROOT / "csrc/threads").glob("*.c"))]
    program = link(compiler, flags, sources, folder / "program")
    environment = os.environ | {"TSAN_OPTIONS": "exitcode=66"}
    done = subprocess.run(
        [program], check=False, capture_output=True, text=True, timeout=LIMIT, env=environment
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout
