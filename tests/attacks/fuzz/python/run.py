"""Fuzz the readers of Python: forged files, formulas, names, command lines.

    python tests/attacks/fuzz/python/run.py --seconds 60              # each target in turn
    python tests/attacks/fuzz/python/run.py --target npz --save found

With the package atheris, coverage of fastbp's Python code guides the search; without it, inputs of
the corpus are changed at random, from a seed. Each target runs in a process of its own, whose
memory is limited, and prints one line: its name, executions, how many inputs were loaded and
refused, and the number of different faults. A process that crashes or does not end is a fault, too.
The exit status is 1 if there is a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

HERE = Path(__file__).resolve().parent
WORKER = (sys.executable, __file__)
sys.path[:0] = [str(HERE)]

_MEMORY = 1 << 30  # bytes of address space that one target may take beyond what it begins with
_COUNTS = struct.Struct("<5Q")  # executions, loaded, refused, faults, bytes of the input in work
_SHARED = 4 << 20
_GRACE = 300  # seconds for imports, the inputs of the corpus and the last input of a process


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="in total (default: 60)")
    parser.add_argument("--target", action="append", help="only this target; may be repeated")
    parser.add_argument("--seed", type=int, help="of the search (default: another each time)")
    parser.add_argument("--save", type=Path, help="folder for inputs that show a fault")
    parser.add_argument("--engine", choices=("auto", "plain", "atheris"), default="auto")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine == "auto":
        args.engine = "atheris" if importlib.util.find_spec("atheris") else "plain"
    if args.worker:
        work(args)
        return 0
    from reader_targets import TARGETS

    unknown = set(args.target or ()) - set(TARGETS)
    if unknown:
        parser.error(f"unknown target {min(unknown)}; known: {', '.join(TARGETS)}")
    if args.seed is None:
        args.seed = SystemRandom().randrange(10**6)
    print(f"seed {args.seed}", flush=True)
    n_faults = executions = 0
    names = args.target or list(TARGETS)
    args.seconds /= len(names)
    for name in names:
        n, faults = run(name, args)
        executions, n_faults = executions + n, n_faults + faults
    print(f"python readers: {len(names)} targets, {executions:,} executions, {n_faults} faults")
    return int(n_faults > 0)


def run(name: str, args: argparse.Namespace) -> tuple[int, int]:
    """Run one target in a process; print its line; return its executions and faults."""
    save = (args.save or Path(tempfile.mkdtemp(prefix="fuzz-"))) / name
    save.mkdir(parents=True, exist_ok=True)
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=fast) as scratch:
        shared = Path(scratch, "shared")
        shared.write_bytes(bytes(_SHARED))
        options = ["--seconds", str(args.seconds), "--seed", str(args.seed), "--save", str(save)]
        command = [*WORKER, "--worker", name, "--scratch", scratch, *options]
        with open(save / "log", "wb") as log:
            process = subprocess.Popen(
                [*command, "--engine", args.engine], stdout=log, stderr=subprocess.STDOUT
            )
            try:
                status = process.wait(args.seconds + _GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
        found = shared.read_bytes()
    n, loaded, refused, n_faults, size = _COUNTS.unpack_from(found)
    if status != 0:  # a crash, or no end: the input in work is to blame
        (save / f"ended-with-{status}").write_bytes(found[_COUNTS.size :][:size])
        n_faults += 1
    print(f"{name}: {n:,} executions ({loaded:,} loaded, {refused:,} refused), {n_faults} faults")
    if n_faults:
        print(f"{(save / 'log').read_text('utf-8', 'replace')[-4000:]}in {save}", flush=True)
    elif args.save is None:
        shutil.rmtree(save.parent)
    return n, n_faults


# ---- in the process of a target -------------------------------------------------------------


def work(args: argparse.Namespace) -> None:
    if args.engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["fastbp"]):
            from reader_targets import TARGETS  # imports the modules to instrument
    else:
        from reader_targets import TARGETS
    from reader_corpus import seeds_of
    from reader_harness import MAX_INPUT

    import fastbp

    target = TARGETS[args.worker]
    fastbp.set_num_threads(1)
    folder = args.scratch / "work"
    folder.mkdir()
    with open(args.scratch / "shared", "r+b") as file:
        trial = Trial(target, folder, args.save, mmap.mmap(file.fileno(), _SHARED))
    limit_memory()
    seeds = list(seeds_of(target.name).values())
    for seed in seeds:
        trial(seed)
    seeds = [seed for seed in seeds if len(seed) <= MAX_INPUT]
    if args.engine == "atheris" and target.traced:
        guided(trial, seeds, args)
    else:
        at_random(trial, seeds, args)


class Trial:
    """Examines inputs, counts them where the parent sees it, and saves those that show a fault.

    Of each kind of fault, the shortest input is saved, in a file with the name of the kind.
    """

    def __init__(self, target: Any, folder: Path, save: Path, shared: mmap.mmap) -> None:
        self.target, self.folder, self.save, self.shared = target, folder, save, shared
        self.n = self.loaded = self.refused = 0
        self.faults: set[str] = set()

    def __call__(self, data: bytes) -> str:
        from reader_harness import Fault, examine, signature

        self.shared[_COUNTS.size : _COUNTS.size + len(data)] = data
        self._count(len(data))
        try:
            outcome = examine(self.target, data, self.folder)
        except Fault as fault:
            outcome = "fault"
            name = "".join(c if c.isalnum() else "-" for c in signature(fault))[:80]
            path = self.save / name
            if not path.exists() or len(data) < path.stat().st_size:
                path.write_bytes(data)
            if name not in self.faults:
                self.faults.add(name)
                print(f"{name}: {fault}", flush=True)
        self.n += 1
        self.loaded += outcome == "loaded"
        self.refused += outcome == "refused"
        self._count(len(data))
        return outcome

    def _count(self, size: int) -> None:
        counts = (self.n, self.loaded, self.refused, len(self.faults), size)
        _COUNTS.pack_into(self.shared, 0, *counts)


def at_random(trial: Trial, seeds: list[bytes], args: argparse.Namespace) -> None:
    """Change inputs of the corpus; an input that was loaded may be changed further."""
    from reader_harness import MAX_INPUT

    rng, pool = Random(args.seed), list(seeds)
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        data = trial.target.mutate(rng.choice(pool), rng, seeds)[:MAX_INPUT]
        if trial(data) == "loaded" and len(pool) < 500:
            pool.append(data)


def guided(trial: Trial, seeds: list[bytes], args: argparse.Namespace) -> None:
    """Let libFuzzer choose the inputs, with our changes and its own. It ends the process."""
    import atheris
    from reader_harness import MAX_INPUT

    def mutate(data: Any, most: int, seed: int) -> bytes:
        rng = Random(seed)
        if rng.random() < 0.25:
            return bytes(atheris.Mutate(data, most))
        return trial.target.mutate(bytes(data), rng, seeds)[:most]

    corpus = args.scratch / "corpus"
    corpus.mkdir()
    for i, seed in enumerate(seeds):
        (corpus / str(i)).write_bytes(seed)
    options = [f"-max_total_time={max(1, int(args.seconds))}", f"-max_len={MAX_INPUT}"]
    options += [
        f"-seed={args.seed + 1}",
        "-timeout=86400",
        "-report_slow_units=86400",
        "-rss_limit_mb=0",
        "-verbosity=0",
    ]
    options += [f"-artifact_prefix={args.save}/"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], trial, custom_mutator=mutate)
    atheris.Fuzz()


def limit_memory() -> None:
    """Let the process take a bounded amount of further memory, where the system can do that."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


if __name__ == "__main__":
    sys.exit(main())
