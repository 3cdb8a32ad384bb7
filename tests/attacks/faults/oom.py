"""Let each allocation and each system call of small programs fail, one at a time.

    python tests/attacks/faults/oom.py --seconds 60

A scenario of scenarios.py runs once to count its calls, and then again and again with another call
that fails. Each time it has to give the right bits or a documented exception that names the file,
leave theta and files as they were or whole, leak nothing, and give the right bits when it is run
again. A crash or a hang ends only a forked process. Scenarios and calls come in random order, by
--seed, until the time is over.

If every allocation of the process may fail, not only those of the engine, then NumPy and CPython
fail by themselves in places, or lose the MemoryError and report something else. Such an end is
counted apart, see `upstream` and `upstream_end`; what is left behind has to be right all the same.
"""

import argparse
import contextlib
import errno
import faulthandler
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from failing_calls import (
    ALLOCATION,
    ALWAYS,
    FAIL,
    SHORT,
    SYSTEM_CALL,
    Caught,
    Shim,
    restart_with_shim,
    text_of,
)

PATIENCE = 60  # seconds after which one run counts as hanging


@dataclass(frozen=True)
class Mode:
    """Which calls of a scenario fail, and how."""

    name: str
    scenarios: str  # "engine" or "python"
    kind: int
    many: int = 1
    effect: int = FAIL
    error: int = 0


MODES = [
    Mode("an allocation of the engine", "engine", ALLOCATION),
    Mode("all further allocations of the engine", "engine", ALLOCATION, ALWAYS),
    Mode("a system call of the engine", "engine", SYSTEM_CALL, error=errno.EIO),
    Mode("all further system calls of the engine", "engine", SYSTEM_CALL, ALWAYS, error=errno.EIO),
    Mode("an allocation", "python", ALLOCATION),
    Mode("20 allocations", "python", ALLOCATION, 20),
    *(
        Mode(f"a system call, {name}", "python", SYSTEM_CALL, error=getattr(errno, name))
        for name in ("EIO", "ENOSPC", "EACCES", "EINTR")
    ),
    Mode("all further system calls, EIO", "python", SYSTEM_CALL, ALWAYS, error=errno.EIO),
    Mode("a transfer of half the bytes", "python", SYSTEM_CALL, 1, SHORT),
    Mode("all further transfers of half the bytes", "python", SYSTEM_CALL, ALWAYS, SHORT),
]


# ---- one scenario in one mode, in a forked process ------------------------------------------


class Attack:
    """Runs a scenario with failing calls and reports to the parent process."""

    def __init__(self, make, mode, folder, report):
        self._make, self._mode, self._folder, self._report = make, mode, folder, report
        self._shim = Shim()
        if mode.scenarios == "engine":
            from fastbp import _core

            self._shim.watch(_core.__file__)
        self._turn = 0

    def count(self):
        """Run undisturbed; sets what later runs have to give, returns the number of calls."""
        self._run(self._case(), 1)  # later, nothing is imported or cached by error handling
        for _ in range(2):
            error, self._expected = self._run(self._case(), ALWAYS)
            if error is not None:
                raise error
        self._live, self._files = self._shim.live(), open_files()
        return self._calls

    def _run(self, case, first):
        """Run with failing calls; returns (exception, None) or (None, result)."""
        mode, shim = self._mode, self._shim
        result, outcome = None, Caught()
        with outcome:
            shim.arm(mode.kind, first, mode.many, mode.effect, mode.error)
            result = case.act()
        self._calls = shim.disarm()
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # without memory, they may stay
        return outcome.error, result

    def _case(self):
        self._turn += 1
        folder = self._folder / str(self._turn)
        folder.mkdir()
        return self._make(folder)

    def strike(self, number):
        """Run with a failing call; returns how many have failed, 0 beyond the last one."""
        faulthandler.dump_traceback_later(PATIENCE, exit=True, file=sys.__stderr__)
        case = self._case()
        error, result = self._run(case, number)
        struck, name = self._shim.struck, self._shim.name
        with Caught() as check:
            self._check(case, error, result, name)
            if upstream(error, self._mode):
                self._report(upstream=f"{type(error).__name__}: {str(error)[:100]}")
        if check.error is not None:
            after = "" if error is None else "after " + text_of(error)
            self._report(fault=f"call {number}, {name}: {text_of(check.error)}{after}")
        error = result = case = check = None
        self._check_leaks(number, name)
        shutil.rmtree(self._folder / str(self._turn), ignore_errors=True)
        faulthandler.cancel_dump_traceback_later()
        return struck

    def _check(self, case, error, result, name):
        mode = self._mode
        case.whole()
        if error is None:
            assert result == self._expected, "other bits, and no exception"
        else:
            check_error(error, mode, case, name)
        cannot_remove = name in ("unlink", "unlinkat", "readdir", "opendir") or mode.many > 1
        if left := [] if cannot_remove else leftovers(self._folder / str(self._turn)):
            raise AssertionError(f"left behind: {', '.join(map(str, left))}")
        assert clean(self._folder / str(self._turn)), "temporary files cannot be removed"
        assert case.act() == self._expected, "other bits afterwards"

    def _check_leaks(self, number, name):
        live, files = self._shim.live(), open_files()
        if live != self._live:
            self._report(fault=f"call {number}, {name}: {live - self._live} leaked allocations")
        # Python needs memory to close a file, too: here, it gets some back at once
        if files != self._files and (self._mode.many == 1 or self._mode.kind == SYSTEM_CALL):
            self._report(fault=f"call {number}, {name}: descriptors {files}, were {self._files}")
        self._live, self._files = live, files


def upstream(error, mode):
    """Whether an exception other than MemoryError can be due to NumPy or CPython.

    Without memory for a lookup, Python says that an object has no `__fspath__`, and NumPy returns
    NULL and sets no exception. Where only the engine's allocations fail, this is not accepted.
    """
    if mode.kind != ALLOCATION or mode.scenarios == "engine" or error is None:
        return False
    return isinstance(error, Exception) and not of_memory(error)


def of_memory(error):
    """Whether an exception, or the message of a command, says that memory is short."""
    if isinstance(error, CommandFailed):
        return "memory" in error.message
    return isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM


def upstream_end(status, log, mode):
    """Whether a process ended by itself in NumPy or CPython, not in the engine.

    That is a crash with no function of the engine on its stack; or Thread.start, which waits for
    ever for a thread that had no memory (https://github.com/python/cpython/issues/140746).
    """
    if mode.kind != ALLOCATION or mode.scenarios == "engine":
        return False
    starts = "Timeout" in log and 'threading.py", line' in log and " in start\n" in log
    return starts or (status < 0 and "/_core.cpython" not in log.replace("numpy/", ""))


def check_error(error, mode, case, name):
    """AssertionError if an exception is not one that is documented for a failure of this kind."""
    if mode.kind == ALLOCATION:
        assert of_memory(error) or upstream(error, mode), "not a MemoryError"
        return
    assert mode.scenarios == "python", "the engine needs none of its system calls"
    assert name != "pthread_create", "no thread is needed"
    names = [str(path) for path in case.files] + [str(path.parent) for path in case.files]
    of_no_file = name == "getrandom"  # as NumPy calls it
    if isinstance(error, CommandFailed):
        assert error.code == 1 and "Traceback" not in error.message
        named = of_no_file or any(each in error.message for each in names)
        assert named, f"the message names no file: {error.message}"
        return
    assert isinstance(error, OSError), "not an OSError"
    assert of_no_file or str(error.filename) in names, f"it names {error.filename}"


def open_files():
    """What the descriptors of this process refer to, but for that of this list."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return sorted(each for each in found if not each.startswith("/proc/"))


# ---- the parent -----------------------------------------------------------------------------


class Tally:
    """Counts of all attacks, and the faults that they found."""

    def __init__(self):
        self.scenarios, self.faults, self.upstream = set(), [], []
        self.struck = {ALLOCATION: 0, SYSTEM_CALL: 0}

    def fault(self, title, text):
        self.faults.append((title, text))
        print(f"FAULT in {title}: {text}", flush=True)

    def __str__(self):
        allocations, calls = self.struck[ALLOCATION], self.struck[SYSTEM_CALL]
        return (
            f"oom: {len(self.scenarios)} scenarios, {allocations:,} failed allocations, "
            f"{calls:,} failed system calls, {len(self.faults)} faults"
        )


def attack(name, make, mode, seconds, seed, tally):
    """Attack one scenario in one mode, in forked processes, one after another if they crash."""
    title, done = f"{name}, {mode.name}", 0
    deadline = time.monotonic() + seconds
    while done is not None:
        done = attack_from(done, title, make, mode, deadline, seed, tally)
    tally.scenarios.add(name)


def attack_from(done, title, make, mode, deadline, seed, tally):
    """Attack in a child; the position after a crash, or None if it is over."""
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "stderr"
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            with Caught() as outcome:
                child(make, mode, Path(folder), writer, log, done, deadline, seed)
            sys.__stderr__.write(text_of(outcome.error))
            sys.__stderr__.flush()
            os._exit(1)
        os.close(writer)
        position, ended = done, False
        with os.fdopen(reader) as pipe:
            for line in pipe:
                found = json.loads(line)
                position = found.get("next", position)
                ended = ended or "end" in found
                tally.struck[mode.kind] += found.get("struck", 0)
                if "upstream" in found:
                    tally.upstream.append(found["upstream"])
                if "fault" in found:
                    tally.fault(title, found["fault"])
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if ended and status == 0:
            return None
        text = f"at position {position}: exit status {status}\n{log.read_text()}"
        if upstream_end(status, text, mode):
            tally.upstream.append(f"{title}: exit status {status}")
        else:
            tally.fault(title, text)
        return position if position > done else None


def child(make, mode, folder, writer, log, done, deadline, seed):
    """Attack with the calls from position `done` on, and end this process; status 0 if it could."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)

    def report(**found):
        os.write(writer, (json.dumps(found) + "\n").encode())

    run = Attack(make, mode, folder, report)
    faulthandler.enable()
    calls = list(range(1, run.count() + 3))
    random.Random(seed).shuffle(calls)
    for position in range(done, len(calls)):
        report(next=position + 1)
        struck = run.strike(calls[position])
        report(struck=min(struck, 1) if mode.many == ALWAYS else struck)
        if time.monotonic() > deadline:
            break
    report(end=True)
    os._exit(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="in all (default: 300)")
    parser.add_argument("--seed", type=int, help="of the choice of calls (default: another one)")
    parser.add_argument("-k", default="", metavar="TEXT", help="only what has TEXT in its title")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    chosen = [
        (name, make, mode)
        for mode in MODES
        for name, make in of_kind(mode.scenarios).items()
        if args.k in f"{name}, {mode.name}"
    ]
    random.Random(seed).shuffle(chosen)
    tally, begin = Tally(), time.monotonic()
    gc.collect()
    gc.freeze()  # so that collections in the children are short
    for i, (name, make, mode) in enumerate(chosen):
        left = args.seconds - (time.monotonic() - begin)
        if left < 0:
            print(f"the time was too short for {len(chosen) - i} of {len(chosen)} attacks")
            break
        attack(name, make, mode, left / (len(chosen) - i), seed, tally)
    if tally.upstream:
        print(f"{len(tally.upstream)} failures of NumPy and CPython themselves, such as these:")
        print("\n".join(f"  {text}" for text in sorted(set(tally.upstream))[:12]))
    print(tally)
    return bool(tally.faults)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    restart_with_shim()
    from scenarios import CommandFailed, clean, leftovers, of_kind

    sys.exit(main())
