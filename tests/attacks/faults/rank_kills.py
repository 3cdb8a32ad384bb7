"""Kill ranks of fits at random times, and continue on other numbers of ranks to the same bits.

    python tests/attacks/faults/rank_kills.py --kills 50
    python tests/attacks/faults/rank_kills.py --kills 4 --seed 7 --case adam

A fit of rank_fits.py runs on 1, 2, 3, 4 or 8 ranks, or in one process with the same parts. One of
its processes, chosen at random, gets SIGKILL at a random time. Then nothing runs any more within
seconds, both checkpoints are whole, and the same fit is started again on another number of ranks,
until it is over. Theta, the state of the optimiser and the history then have the bits of a fit in
one process that nothing has disturbed.

It needs mpi4py and an MPI with `mpiexec`.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path

PATIENCE = 120.0  # seconds after which a start counts as hanging
TO_END = 20.0  # seconds in which all ranks have ended after one of them
RANKS = (0, 1, 2, 3, 4, 8)  # 0: one process without MPI
CASES = ("adam", "memmap", "streams", "steps")
SCRIPT = Path(__file__).with_name("rank_fits.py")


class Fault(Exception):
    """What must not happen after a kill."""


def mpiexec():
    """The launcher of the installed MPI."""
    places = os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent)])
    found = shutil.which("mpiexec", path=places) or shutil.which("mpiexec")
    if found is None:
        sys.exit('rank_kills: needs mpiexec: pip install "fastbp[mpi]"')
    return found


# ---- one job ------------------------------------------------------------------------------


class Job:
    """A fit of a case in a folder, on n ranks."""

    def __init__(self, case, folder, n):
        self.folder, self.size = folder, max(n, 1)
        for note in folder.glob("pid-*"):
            note.unlink()
        launcher = [] if n == 0 else [mpiexec(), "-n", str(n)]
        alone = ["alone"] if n == 0 else []
        self.said = folder / "stderr"
        with self.said.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*launcher, sys.executable, str(SCRIPT), case, str(folder), *alone],
                stdout=stderr,
                stderr=stderr,
                env=os.environ | {"FASTBP_NUM_THREADS": "1"},
            )

    def pids(self):
        """The processes by rank, when all of them are about to fit; None if the job is over."""
        until = time.monotonic() + PATIENCE
        notes = [self.folder / f"pid-{rank}" for rank in range(self.size)]
        while not all(note.exists() and note.read_text() for note in notes):
            if self.process.poll() is not None:
                return None
            if time.monotonic() > until:
                raise Fault(f"it has not begun after {PATIENCE:.0f} s")
            time.sleep(0.01)
        return [int(note.read_text()) for note in notes]

    def wait(self, seconds, pids=()):
        """The exit status of the job, when all its processes have ended. Raises Fault."""
        until = time.monotonic() + seconds
        try:
            status = self.process.wait(seconds)
            while any(map(runs, pids)):
                if time.monotonic() > until:
                    raise Fault(f"ranks run on after {seconds:.0f} s\n{self.said.read_text()}")
                time.sleep(0.02)
        except subprocess.TimeoutExpired:
            raise Fault(f"it hangs\n{self.said.read_text()}") from None
        finally:
            self.end(pids)
        return status

    def end(self, pids):
        """Let nothing run on."""
        self.process.kill()
        self.process.wait()
        for pid in filter(runs, pids):
            os.kill(pid, signal.SIGKILL)


def runs(pid):
    """Whether a process runs; one that has ended, but was not asked for its status, does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


# ---- one fit ------------------------------------------------------------------------------


class Victim:
    """A case: what an undisturbed fit gives."""

    def __init__(self, name):
        self.name = name
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            started = time.monotonic()
            status = Job(name, folder, 0).wait(PATIENCE)
            if status:
                raise Fault(f"{name} cannot run: {(folder / 'stderr').read_text()}")
            self.seconds = time.monotonic() - started
            self.expected = (folder / "digest").read_text()

    def kill(self, folder, n, rng, tally):
        """Start the fit on n ranks and kill one of them; whether the fit is over."""
        job = Job(self.name, folder, n)
        pids = job.pids()
        if pids is None:
            return self._over(job, folder, ())
        time.sleep(rng.uniform(0, 1.5 * self.seconds))
        rank = rng.randrange(len(pids))
        if not runs(pids[rank]):
            return self._over(job, folder, pids)
        os.kill(pids[rank], signal.SIGKILL)
        killed = time.monotonic()
        status = job.wait(TO_END, pids)
        tally.slowest = max(tally.slowest, time.monotonic() - killed)
        whole(folder)
        if (folder / "digest").exists():  # it came too late
            self._compare(folder)
            return True
        if status == 0:
            raise Fault(f"exit status 0 after the kill of rank {rank} of {n}")
        tally.killed[n] += 1
        lines = re.findall(r"^fastbp: .*", job.said.read_text(), re.MULTILINE)
        if len(lines) > 1:
            raise Fault("more than one line about it:\n" + "\n".join(lines))
        tally.named += len(lines)
        return False

    def _over(self, job, folder, pids):
        status = job.wait(PATIENCE, pids)
        if status:
            raise Fault(f"exit status {status}\n{job.said.read_text()}")
        self._compare(folder)
        return True

    def finish(self, folder, n):
        """Run the fit to its end."""
        self._over(Job(self.name, folder, n), folder, ())

    def _compare(self, folder):
        if (folder / "digest").read_text() != self.expected:
            raise Fault("other bits than those of an undisturbed fit")
        left = [each.name for each in folder.glob("checkpoint/*") if "checkpoint-" not in each.name]
        if left:
            raise Fault(f"left behind: {', '.join(left)}")


def whole(folder):
    """Raise Fault unless each checkpoint in a folder is whole."""
    from fastbp._training.checkpoint_file import read
    from fastbp.errors import ModelFileError

    for path in (folder / "checkpoint").glob("checkpoint-*.safetensors"):
        try:
            read(path, tensors=True)
        except ModelFileError as error:
            raise Fault(f"half a checkpoint: {error}") from None


# ---- all kills ----------------------------------------------------------------------------


class Tally:
    def __init__(self):
        self.killed, self.fits, self.faults = Counter(), 0, 0
        self.named, self.slowest = 0, 0.0  # kills with a line; seconds until all had ended


def attack(victims, kills, rng, tally):
    """Kill until there were as many kills; what runs then is run to its end."""
    while tally.killed.total() < kills and not tally.faults:
        victim = rng.choice(victims)
        with tempfile.TemporaryDirectory() as place:
            n, over = None, False
            try:
                while not over and tally.killed.total() < kills:
                    n = rng.choice([each for each in RANKS if each != n])
                    over = victim.kill(Path(place), n, rng, tally)
                if not over:
                    victim.finish(Path(place), rng.choice([each for each in RANKS if each != n]))
                tally.fits += 1
            except Fault as fault:
                tally.faults += 1
                print(f"FAULT in {victim.name} on {n} ranks: {fault}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="how many (default: 50)")
    parser.add_argument("--seed", type=int, help="of times and order (default: another each time)")
    parser.add_argument("--case", choices=CASES, help="only this one (default: all in turn)")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    mpiexec()
    tally = Tally()
    victims = [Victim(name) for name in ([args.case] if args.case else CASES)]
    attack(victims, args.kills, random.Random(seed), tally)
    on = ", ".join(f"{tally.killed[n]} on {n or 'no'} ranks" for n in RANKS if tally.killed[n])
    print(
        f"rank_kills: {tally.killed.total()} kills ({on}), {tally.fits} fits with the same bits, "
        f"{tally.named} kills named, {tally.slowest:.1f} s until all had ended, {tally.faults} "
        "faults"
    )
    return bool(tally.faults)


if __name__ == "__main__":
    sys.exit(main())
