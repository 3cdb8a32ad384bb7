"""Fuzz the C interface of the engine with libFuzzer.

    python tests/attacks/fuzz/c/run.py --seconds 60            # all targets, one after another
    python tests/attacks/fuzz/c/run.py --target fit --seconds 600 --keep found
    python tests/attacks/fuzz/c/run.py --target fit --replay crash-1234

It needs clang with libFuzzer (on Debian: apt-get install clang libclang-rt-14-dev). It prints one
line per target. The exit status is 1 if there is a fault, whose input is saved.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from c_targets import CORPUS, ROOT, TARGETS, build_targets, default_isas
from engine_build import BuildError

LONGEST = 700  # bytes of an input
HANGS = 60  # seconds after which one input counts as a fault


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="in total (default: 60)")
    parser.add_argument("--target", action="append", choices=TARGETS, help="may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the search; 0: another each time")
    parser.add_argument("--compiler", default="clang")
    parser.add_argument("--isas", help="with commas between them (default: those that differ)")
    parser.add_argument("--keep", type=Path, help="folder of inputs to begin with and to add to")
    parser.add_argument("--save", type=Path, help="folder for inputs that show a fault")
    parser.add_argument("--replay", type=Path, help="run this input only, and print all of it")
    args = parser.parse_args()
    names = args.target or TARGETS
    isas = args.isas.split(",") if args.isas else default_isas()
    try:
        programs = build_targets(
            args.compiler, isas, ROOT / "build/fuzz-libfuzzer", fuzzer=True, names=names
        )
    except (BuildError, OSError) as error:
        print(
            f"{error}\nThe targets need clang with libFuzzer, such as Debian's packages clang and "
            "libclang-rt-14-dev.",
            file=sys.stderr,
        )
        return 2
    if args.replay:
        return subprocess.run([programs[names[0]], args.replay], check=False).returncode
    executions = faults = 0
    for name in names:
        n, found = fuzz(name, programs[name], args, args.seconds / len(names))
        executions, faults = executions + n, faults + found
    print(f"C interface: {len(names)} targets, {executions:,} executions, {faults} faults")
    return int(faults > 0)


def fuzz(name: str, program: Path, args: argparse.Namespace, seconds: float):
    """Run one target; print its line; return its executions and faults."""
    save = args.save or Path(tempfile.mkdtemp(prefix="fuzz-"))
    save.mkdir(parents=True, exist_ok=True)
    found = args.keep / name if args.keep else Path(tempfile.mkdtemp(prefix="fuzz-"))
    found.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": max(1, round(seconds)),
        "max_len": LONGEST,
        "len_control": 0,
        "timeout": HANGS,
        "rss_limit_mb": 4096,
        "artifact_prefix": f"{save}/{name}-",
        "print_final_stats": 1,
        "seed": args.seed,
    }
    command = [program, *(f"-{key}={value}" for key, value in options.items()), found]
    done = subprocess.run(
        [*command, CORPUS / name], capture_output=True, text=True, errors="replace", check=False
    )
    log = done.stderr
    n = int(last(r"stat::number_of_executed_units: (\d+)", log))
    seeds, edges = len(list(found.iterdir())), last(r"cov: (\d+)", log)
    faults = int(done.returncode != 0)
    print(f"{name}: {n:,} executions, {edges} edges, {seeds} new inputs, {faults} faults")
    if faults:
        print(log[-4000:])
        print(f"the input: {last(r'Test unit written to (.*)', log)}", flush=True)
    if not args.keep:
        shutil.rmtree(found)
    if not (faults or args.save):
        shutil.rmtree(save)
    return n, faults


def last(pattern: str, text: str) -> str:
    """What the last match of a pattern holds, or 0."""
    return (re.findall(pattern, text) or ["0"])[-1]


if __name__ == "__main__":
    sys.exit(main())
