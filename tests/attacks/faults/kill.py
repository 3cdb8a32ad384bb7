"""Kill fits and commands that write files, at each of their system calls and at random times.

    python tests/attacks/faults/kill.py --seconds 60

A forked process runs a scenario of scenarios.py and is killed by SIGKILL, SIGTERM, SIGINT or
SIGHUP: just before a system call, or after a random time; other processes run `fastbp` from the
start. After each kill, all files are as before or new, never half; the exit status is that of the
signal; and the same program, run again, ends with the bits of an undisturbed run and leaves no
temporary file. Kills come in random order, by --seed, until the time is over.
"""

import argparse
import contextlib
import faulthandler
import gc
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from failing_calls import ALWAYS, SIGNAL, SYSTEM_CALL, Caught, Shim, restart_with_shim, text_of

PATIENCE = 60  # seconds after which a process counts as hanging
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
INTERRUPTED = 130  # exit code of `fastbp` after SIGINT, and here of a fit
DONE = 64  # exit code here of a scenario that has come to its end


class Fault(Exception):
    """What must not happen after a kill."""


# ---- processes ----------------------------------------------------------------------------


def run_forked(case, folder, prepare=lambda: None):
    """Start a case in a forked process; returns its id."""
    log = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the child can end by itself
    pid = os.fork()
    if pid == 0:
        code = INTERRUPTED
        try:
            os.dup2(log, 2)
            code = run_here(case, folder, prepare)
        finally:
            os._exit(code)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.close(log)
    return pid


def run_here(case, folder, prepare):
    """Run a case in a forked process; returns the exit code."""
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atomic._swept.clear()  # as in a new process
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    with Caught() as outcome:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        prepare()
        result = case.act()
        (folder / "digest").write_text(hashlib.sha256(result).hexdigest())
    error = outcome.error
    if error is None or isinstance(error, KeyboardInterrupt):
        return DONE if error is None else INTERRUPTED
    if isinstance(error, CommandFailed):
        return error.code
    os.write(2, text_of(error).encode())
    return 1


def status_of(pid):
    """The exit code of a process, or the negative number of the signal that has ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def finish(case, folder):
    """Run a case to its end in another process; returns the digest of its result."""
    status = status_of(run_forked(case, folder))
    if status != DONE:
        raise Fault(f"it cannot be run again: {status}\n{(folder / 'stderr').read_text()}")
    return (folder / "digest").read_text()


# ---- one kill -----------------------------------------------------------------------------


class Victim:
    """A scenario: what an undisturbed run gives, how many system calls it makes and its time."""

    def __init__(self, name, make, shim):
        self.name, self._make, self._shim = name, make, shim
        with tempfile.TemporaryDirectory() as place:
            case, log = self._case(place)
            self.calls = self._count(case, log)
        with tempfile.TemporaryDirectory() as place:
            case, log = self._case(place)
            begin = time.perf_counter()
            self.expected = finish(case, log)
            self.seconds = time.perf_counter() - begin

    def _case(self, place):
        """A case in a folder of its own, and a folder for what its processes say."""
        work, log = Path(place) / "work", Path(place) / "log"
        work.mkdir()
        log.mkdir()
        return self._make(work), log

    def _count(self, case, log):
        """The number of system calls, from a forked process that counts them."""

        def count():
            self._shim.arm(SYSTEM_CALL, ALWAYS)
            case.act()
            (log / "calls").write_text(str(self._shim.disarm()))

        status_of(run_forked(case, log, count))
        return int((log / "calls").read_text())

    def kill(self, number, call=None, after=None):
        """Kill a run by a signal at a system call or after some seconds, and run it again.

        Returns whether the signal came before the end. Raises Fault.
        """
        with tempfile.TemporaryDirectory() as place:
            case, log = self._case(place)
            armed = self._arm(number, call)
            pid = run_forked(case, log, armed)
            if after is not None:
                time.sleep(after)
                os.kill(pid, number)
            status = status_of(pid)
            said = (log / "stderr").read_text()
            if status not in {-number, DONE, INTERRUPTED if number == signal.SIGINT else DONE}:
                raise Fault(f"exit status {status}\n{said}")
            self._check(case, log, Path(place) / "work")
            return status != DONE

    def _arm(self, number, call):
        if call is None:
            return lambda: None
        return lambda: self._shim.arm(SYSTEM_CALL, call, 1, SIGNAL, number)

    def _check(self, case, log, work):
        with Caught() as outcome:
            case.whole()
        if outcome.error is not None:
            raise Fault(text_of(outcome.error))
        if finish(case, log) != self.expected:
            raise Fault("other bits when it is run again")
        if left := leftovers(work):
            raise Fault(f"left behind by the next run: {', '.join(map(str, left))}")


def check_end(number, status, said):
    """Raise Fault if a command that got a signal has not ended as it should.

    During the imports, before the first line of the command, SIGINT is an exception like any other,
    which NumPy turns into an ImportError.
    """
    if number == signal.SIGINT and "_cli/main.py" not in said and "Traceback" in said:
        return
    if status not in {-number, 0, INTERRUPTED if number == signal.SIGINT else 0}:
        raise Fault(f"exit status {status}\n{said}")
    if "Traceback" in said:
        raise Fault(said)


class Command:
    """`fastbp train` in a process of its own, killed at random times, startup included."""

    name, calls = "fastbp train", 0

    def __init__(self):
        with tempfile.TemporaryDirectory() as place:
            begin = time.perf_counter()
            self.expected = self._train(Path(place))
            self.seconds = time.perf_counter() - begin

    def _command(self, folder):
        write_table(folder / "table.csv")
        options = ["--hidden", "8", "--epochs", "40", "--seed", "1", "--target", "target", "-q"]
        return [sys.executable, "-P", "-m", "fastbp", "train", "table.csv", "-o", "model", *options]

    def _train(self, folder):
        """The model of an undisturbed run."""
        done = subprocess.run(self._command(folder), cwd=folder, check=False, capture_output=True)
        if done.returncode:
            raise Fault(f"it cannot be run again: {done.stderr.decode()}")
        return model_bits(folder / "model")

    def _said_by(self, process):
        """What a process writes to stderr until it ends."""
        try:
            return process.communicate(timeout=PATIENCE)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[1]
            raise Fault(f"it has not ended after {PATIENCE} s\n{said}") from None

    def kill(self, number, call=None, after=None):
        """See `Victim.kill`."""
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            process = subprocess.Popen(
                self._command(folder), cwd=folder, stderr=subprocess.PIPE, text=True
            )
            time.sleep(after)
            process.send_signal(number)
            said = self._said_by(process)
            check_end(number, process.returncode, said)
            with Caught() as outcome:
                found = model_bits(folder / "model")
            if outcome.error is not None:
                raise Fault(text_of(outcome.error))
            if process.returncode == 0 and found != self.expected:
                raise Fault("exit status 0, and another model")
            if self._train(folder) != self.expected:
                raise Fault("another model when it is run again")
            if left := leftovers(folder):
                raise Fault(f"left behind by the next run: {', '.join(map(str, left))}")
            return process.returncode != 0


# ---- all kills ----------------------------------------------------------------------------


def orders(victims, command, rng):
    """Yield (victim, signal, keywords of `kill`) for ever: at each call once, then at any time."""
    at_calls = [
        (victim, number, {"call": call})
        for victim in victims
        for number in SIGNALS
        for call in range(1, victim.calls + 1)
    ]
    rng.shuffle(at_calls)
    for turn in range(10**9):
        if turn % 4 and at_calls:
            yield at_calls.pop()
            continue
        victim = command if turn % 32 == 0 else rng.choice(victims)
        yield victim, rng.choice(SIGNALS), {"after": rng.uniform(0, victim.seconds)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="of killing (default: 120)")
    parser.add_argument("--seed", type=int, help="of times and order (default: another each time)")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    gc.collect()
    gc.freeze()
    shim = Shim()
    victims = [Victim(name, make, shim) for name, make in of_kind("kill").items()]
    command, deadline = Command(), time.monotonic() + args.seconds
    killed, resumed, faults = Counter(), 0, 0
    for victim, number, how in orders(victims, command, rng):
        if time.monotonic() > deadline:
            break
        try:
            killed[number] += victim.kill(number, **how)
            resumed += 1
        except Fault as fault:
            faults += 1
            print(f"FAULT in {victim.name}, {number.name}, {how}: {fault}", flush=True)
    names = ", ".join(f"{number.name} {killed[number]}" for number in SIGNALS)
    print(
        f"kill: {killed.total():,} kills ({names}), {resumed:,} resumed to the same bits, "
        f"{faults} faults"
    )
    return bool(faults)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        restart_with_shim()
        from scenarios import CommandFailed, leftovers, model_bits, of_kind, write_table

        from fastbp._files import atomic

        sys.exit(main())
