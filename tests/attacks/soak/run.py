"""The soak: random trainings, checked, copied, killed and resumed, while memory has to stay flat.

    python tests/attacks/soak/run.py --seconds 3600 --seed 0
    python tests/attacks/soak/run.py --case 147            # one case again

Case number i is drawn from seed + i alone. Every case is trained in the engine and in the
reference, on several numbers of threads and from several kinds of X, and its copies train on. Every
tenth case is also trained in another process, which is killed and started again until it ends.
The memory, threads and open files of this process are counted all the time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import numpy as np
import soak_checks as checks
from soak_cases import draw

import fastbp
from fastbp.errors import DivergenceError

KILLED = 10  # one case of so many is killed
GROWTH = 1.02, 4.0  # the resident memory may grow by this factor, plus MiB
FEWEST = 200  # cases for that; the buffers of so few differ too much


class Resources:
    """What this process uses, once per case: MiB of memory, threads, open files."""

    def __init__(self):
        self.seen = []

    def note(self):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        threads, files = (len(os.listdir(f"/proc/self/{name}")) for name in ("task", "fd"))
        self.seen.append((pages * os.sysconf("SC_PAGE_SIZE") / 2**20, threads, files))

    def phases(self):
        """The medians of the second and of the last fifth; in the first one, caches fill."""
        fifth = max(1, len(self.seen) // 5)
        parts = self.seen[fifth : 2 * fifth] or self.seen, self.seen[-fifth:]
        return tuple(tuple(map(median, zip(*part, strict=True))) for part in parts)

    def fault(self):
        """What has grown, or None."""
        if len(self.seen) < FEWEST:
            return None
        (memory, threads, files), (later, more_threads, more_files) = self.phases()
        if later > memory * GROWTH[0] + GROWTH[1]:
            return f"the memory grew from {memory:.1f} to {later:.1f} MiB"
        if (more_threads, more_files) != (threads, files):
            return (
                f"threads, files: {threads}, {files} at first, {more_threads}, {more_files} later"
            )
        return None


class Soak:
    def __init__(self, folder):
        self.folder = folder
        self.counts, self.kills, self.faults = Counter(), Counter(), []
        self.resources = Resources()

    def run(self, seed, killed):
        """All checks of one case. A check that fails is printed, and the others go on."""
        case = draw(seed)
        attempted = [checks.check_reference, checks.check_threads, self.copy]
        for check in attempted + [self.kill] * killed:
            self.attempt(seed, check, case)
        self.counts["cases"] += 1
        self.resources.note()

    def copy(self, case):
        return checks.check_copies(case, self.folder)

    def kill(self, case):
        rng = np.random.default_rng([case.seed, 4])
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            self.kills.update(checks.check_kills(case, folder, rng))
        return "resumed"

    def attempt(self, seed, check, case):
        try:
            self.counts[check(case)] += 1
        except DivergenceError:
            self.counts["diverged"] += 1  # check_reference compares the messages
        except Exception:  # noqa: BLE001 - whatever a check raises is a fault
            self.faults.append(seed)
            print(f"FAULT in case {seed}: {case}\n{traceback.format_exc()}", flush=True)

    def summary(self):
        (memory, *_), (later, *_) = self.resources.phases()
        c, kills = self.counts, " ".join(f"{name} {n}" for name, n in sorted(self.kills.items()))
        return (
            f"soak: {c['cases']} cases; reference: {c['agrees']} agree, {c['diverges']} diverge "
            f"alike, {c['undecided']} undecided, {c['left out']} left out; {c['same bits']} same "
            f"bits on 1, 2, 3 threads; {c['equal']} copies; {sum(self.kills.values())} kills "
            f"({kills}), {c['resumed']} resumed to the same bits; memory {memory:.0f} to "
            f"{later:.0f} MiB; "
            f"{len(self.faults)} faults"
        )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (3600)")
    parser.add_argument("--seed", type=int, default=0, help="of the first case (0)")
    parser.add_argument("--case", type=int, help="run this case only, with kills")
    chosen = parser.parse_args(arguments)
    if sys.platform != "linux":
        sys.exit("the soak needs Linux: it reads memory, threads and files from /proc/self")
    warnings.simplefilter("ignore", UserWarning)  # such as that of float32 targets far from 0
    end = reported = time.monotonic()
    end += chosen.seconds
    with tempfile.TemporaryDirectory() as folder:
        soak, seed = Soak(folder), chosen.seed
        print(f"fastbp {fastbp.__version__}, {fastbp.isa()}, first case {chosen.seed}", flush=True)
        if chosen.case is not None:
            soak.run(chosen.case, True)
        while chosen.case is None and time.monotonic() < end:
            soak.run(seed, seed % KILLED == 0)
            seed += 1
            if time.monotonic() - reported > 60:
                reported = time.monotonic()
                print(soak.summary(), flush=True)
    grown = soak.resources.fault()
    if grown:
        print(f"FAULT: {grown}")
        soak.faults.append("memory")
    print(soak.summary())
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
