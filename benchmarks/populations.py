"""Populations compared with a loop, processes, PyTorch, JAX and scikit-learn.

    python benchmarks/populations.py [--jobs tab,small,wide,search,memory] [--rounds 5]
                                     [--members N] [--epochs N]

tab, small, wide    Training of 64 × 30-64-32-1, 256 × 8-16-16-1 and 64 × 14-384-384-384-2 with Adam
                    in float32, on 2,048 rows. Every program has its own process for each number of
                    threads, and all of them train in turn. Compilation is not timed.
search              48 candidates and 5 folds on the digits, 20 epochs each.
memory              1,000 × 8-16-16-1: the peak memory of a process, beyond one that imports NumPy.

The output is a Markdown table per job: the medians and the least times of the rounds, and ratios
between times of the same round. --members and --epochs make a run short. Programs whose package is
not installed are named and left out. `population_peers.py` has the programs.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from population_peers import FOLDS, JOBS, PROGRAMS, SEARCH_EPOCHS

from fastbp._config import config
from fastbp.bench._conditions import watch
from fastbp.bench._memory import numpy_bytes
from fastbp.bench._suites import join_widths
from fastbp.bench._timing import paired_ratio, summary

PEERS = Path(__file__).with_name("population_peers.py")
OURS = ("fastbp.Population", "PopulationSearchCV")
PROCESSES = ("joblib, Network.fit",)  # whose processor time is that of other processes
ALWAYS = (*OURS, "loop of Network.fit")
NAMES = (*(name for name in JOBS if name != "memory"), "search", "memory")
CANDIDATES = 48
LONGEST = 20.0  # seconds of a round, after which a program is left out
SETTLE = 0.01  # seconds for the threads of the program before to stop spinning
PACKAGES = sorted({each.package for each in PROGRAMS.values()} - {""})
INSTALL = {"sklearn": "scikit-learn"}  # names on the package index, where they differ


class PeerError(Exception):
    """A program cannot be measured, and why."""


@dataclass
class Lane:
    """A program with a number of threads, its process, and what has been measured."""

    program: str
    threads: int
    process: subprocess.Popen = None
    errors: object = None
    first: dict = None  # the reply when it was ready
    seconds: list = field(default_factory=list)
    cpu: list = field(default_factory=list)  # processor seconds of all threads
    peaks: list = field(default_factory=list)
    score: float = None

    def start(self, job, members):
        """Start the process, and wait until it is ready."""
        request = {
            "program": self.program,
            "job": job,
            "members": members,
            "threads": self.threads,
            "peak": self.program in OURS and self.threads == 1,
        }
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - until `end`
        self.process = subprocess.Popen(
            [sys.executable, str(PEERS), json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | PROGRAMS[self.program].environment(self.threads),
            encoding="utf-8",
        )
        self.first = self.reply()

    def reply(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().split("\n")
        raise PeerError(next((line for line in reversed(lines) if line.strip()), "it ended"))

    def run(self, epochs):
        """One round."""
        time.sleep(SETTLE)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{epochs}\n")
            self.process.stdin.flush()
        found = self.reply()
        self.seconds.append(found["seconds"])
        self.cpu.append(found["cpu"])
        self.score = found["score"]
        if found["peak"]:
            self.peaks.append(found["peak"])

    def end(self):
        if self.process is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.errors.close()


def started(job, members, packages, epochs=1):
    """Lanes whose programs are ready; what cannot run, or not in time, is named."""
    kind = job if job in ("search", "memory") else "steps"
    lanes = []
    for name, program in PROGRAMS.items():
        if kind not in program.kinds or (program.package not in packages and name not in ALWAYS):
            continue
        if program.package and find_spec(program.package) is None:
            package = INSTALL.get(program.package, program.package)
            print(f"{name} is left out: pip install {package}")
            continue
        for threads in program.threads[-1:] if kind == "memory" else program.threads:
            lane = Lane(name, threads)
            try:
                lane.start(job, members)
                if (seconds := lane.first["epoch"] * epochs) > LONGEST:
                    raise PeerError(f"a round would take {seconds:.0f} s")
            except PeerError as error:
                print(f"{name} with {threads} threads is left out: {error}")
                lane.end()
            else:
                lanes.append(lane)
    return lanes


def measure(lanes, rounds, epochs):
    """Let all programs train in turn; returns what else the processors did."""
    with watch([pid for lane in lanes for pid in family(lane.process.pid)]) as found:
        for turn in range(rounds):
            for lane in lanes[:: 1 if turn % 2 == 0 else -1]:
                lane.run(epochs)
            print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return found


def family(pid):
    """A process and those that it has started, where the system tells."""
    found = [pid]
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in path.read_text().split():
                found += family(int(child))
    return found


def median(lane):
    return statistics.median(lane.seconds)


def print_table(heads, rows):
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def steps(name, options):
    """Print the table of a job of training steps."""
    job = JOBS[name]
    members, epochs = options.members or job.members, options.epochs or job.epochs
    about = f"{members} × {join_widths(job.widths)} {job.activation}, batch {job.batch}"
    print(f"\n### {name}: {about}, {epochs} epochs of {job.rows} rows\n")
    lanes = started(name, members, options.peers, epochs)
    try:
        found = measure(lanes, options.rounds, epochs)
    finally:
        for lane in lanes:
            lane.end()
    n_steps = members * epochs * (job.rows // job.batch)
    ours = min((lane for lane in lanes if lane.program in OURS), key=median)
    peaks = next(lane.peaks for lane in lanes if lane.peaks)
    flops = job.config.flops_per_sample * job.batch * n_steps
    rows = []
    for lane in lanes:
        us = summary(1e6 * seconds / n_steps for seconds in lane.seconds)
        share = ""
        if lane.threads == 1:
            shares = [1e-9 * flops / (s * p) for s, p in zip(lane.seconds, peaks, strict=True)]
            share = f"{100 * statistics.median(shares):.0f} %"
        ratio = paired_ratio(lane.seconds, ours.seconds)["median"]
        least = f"{us['min']:.2f}"
        cpu = "" if lane.program in PROCESSES else f"{1e6 * min(lane.cpu) / n_steps:.2f}"
        first = f"{lane.first['first']:.1f}"
        cells = (f"{us['median']:.2f}", least, cpu, share, first, f"{ratio:.2f}")
        rows.append([lane.program, str(lane.threads), *cells])
    heads = ("program", "threads", "µs per step and member", "least", "CPU µs", "of FMA peak")
    print()
    print_table((*heads, "first run, s", "over fastbp.Population"), rows)
    print(f"\nOne core peaks at {statistics.median(peaks):.0f} GFLOP/s. {conditions(found)}")
    print(*findings(lanes, ours), sep="\n")


def findings(lanes, ours):
    """The ratios that matter, as lines of text."""
    one, two = (
        next(lane for lane in lanes if lane.program in OURS and lane.threads == n) for n in (1, 2)
    )
    yield f"- two threads against one: {paired_ratio(one.seconds, two.seconds)['median']:.2f}"
    for threads, mine in ((1, one), (None, ours)):
        others = [
            lane for lane in lanes if lane.program not in OURS and threads in (None, lane.threads)
        ]
        for what, some in (
            ("a loop of fits", [each for each in others if "loop" in each.program]),
            ("the fastest other library", [each for each in others if "fit" not in each.program]),
        ):
            if some:
                best = min(some, key=median)
                ratio = paired_ratio(best.seconds, mine.seconds)["median"]
                where = "on one thread" if threads else "at their best"
                which = f"{best.program}, {best.threads} threads"
                by_cpu = ""
                if threads:
                    least = min(min(lane.cpu) for lane in some) / min(one.cpu)
                    by_cpu = f", by processor time {least:.2f}"
                yield f"- over {what} {where}: {ratio:.2f} ({which}){by_cpu}"


def conditions(found):
    """A sentence on what else ran."""
    if not found:
        return "What other processes did is not known."
    steal, others = (f"{100 * found[name]:.0f} %" for name in ("steal", "others"))
    return f"During the rounds: steal {steal}, other processes {others} of the cores."


def search(options):
    """Print the table of the searches."""
    members = min(options.members or CANDIDATES, CANDIDATES)
    print(f"\n### search: {members} candidates, {FOLDS} folds, digits, {SEARCH_EPOCHS} epochs\n")
    lanes = started("search", members, options.peers)
    try:
        found = measure(lanes, options.rounds, 1)
    finally:
        for lane in lanes:
            lane.end()
    if not lanes:
        return
    ours = min((lane for lane in lanes if lane.program in OURS), key=median)
    rows = []
    for lane in lanes:
        seconds = summary(lane.seconds)
        least = f"{seconds['min']:.2f}"
        ratio = f"{paired_ratio(lane.seconds, ours.seconds)['median']:.1f}"
        cells = (f"{seconds['median']:.2f}", least, f"{lane.score:.3f}", ratio)
        rows.append([lane.program, str(lane.threads), *cells])
    heads = ("search", "threads or jobs", "seconds", "least", "best score")
    print_table((*heads, "over PopulationSearchCV"), rows)
    print(f"\n{conditions(found)}")


def memory(options):
    """Print the table of the memory of many members."""
    job = JOBS["memory"]
    members = options.members or job.members
    about = f"{members} × {join_widths(job.widths)} {job.activation}, {job.rows} rows"
    print(f"\n### memory: {about}\n")
    lanes = started("memory", members, options.peers)
    for lane in lanes:
        lane.end()
    numpy = numpy_bytes()
    if numpy is None:
        print("This system does not say how much memory a process has used.")
        return
    rows = []
    for lane in lanes:
        peak, loaded, before = (lane.first[key] for key in ("bytes", "loaded", "before"))
        beyond = peak - (numpy if lane.program in OURS else before)
        each = (peak - loaded) / members
        rows.append([lane.program, f"{beyond / 2**20:.1f}", f"{each / 2**10:.1f}"])
    print_table(("program", "MB beyond NumPy", "kB per member, without imports"), rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", default=",".join(NAMES), help="names, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PACKAGES), help="packages, or none")
    parser.add_argument("--members", type=int, help="networks, or candidates of the search")
    parser.add_argument("--epochs", type=int, help="epochs of a round, except in the search")
    options = parser.parse_args()
    jobs = options.jobs.split(",")
    for name in jobs:
        if name not in NAMES:
            parser.error(f"--jobs: unknown {name!r}; known: {', '.join(NAMES)}")
    options.peers = [] if options.peers == "none" else options.peers.split(",")
    for name in options.peers:
        if name not in PACKAGES:
            parser.error(f"--peers: unknown {name!r}; known: {', '.join(PACKAGES)}, or none")
    for name in ("rounds", "members", "epochs"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1; got {value}")
    machine = config()
    about = f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}"
    print(about, f"fastbp {machine['fastbp']}, float32", sep=", ")
    others = {"search": search, "memory": memory}
    for name in jobs:
        others[name](options) if name in others else steps(name, options)


if __name__ == "__main__":
    main()
