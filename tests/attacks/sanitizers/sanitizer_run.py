"""Run tests, and faults planted to be found, with an extension that was built with a sanitizer.

`nox -s asan`, `nox -s ubsan` and `nox -s tsan` build the extension and call this program. Further
arguments are passed to pytest.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import sanitizer_planted
import sanitizer_reports as reports
from sanitizer_process import FLAGS, OPTIONS, ROOT, TESTS, check_build, environment

sys.path.insert(0, str(TESTS / "attacks" / "driver"))
import driver_build

# Everything that reaches C. The other folders test the reference, pages, documentation and other
# libraries.
FOLDERS = ["kernels", "engine", "gates", "training", "population", "files", "estimators"]
# Threads of the engine, and sessions that use several of them.
THREADS = [
    *("engine/test_threads_*.py", "engine/test_shared_arrays.py", "engine/test_accumulate.py"),
    *("engine/test_hooks.py", "engine/test_engine_fit*.py", "engine/test_sparse.py"),
    *("engine/test_train_batch.py", "engine/test_network_formulas.py"),
    *("training/test_streaming.py", "training/test_checkpoints.py"),
    *("population/test_*.py", "attacks/threads/test_*.py"),
]
# The bounded share: kernels, layers, losses, rules, derivatives, formulas, readers and threads.
QUICK = [
    *("kernels/test_kernels.py", "kernels/test_vmath.py", "kernels/test_bf16.py"),
    *("kernels/test_programs.py", "engine/test_layers.py", "engine/test_losses.py"),
    *("engine/test_sparse.py", "engine/test_derivatives_of_layers.py", "engine/test_curvature.py"),
    *("engine/test_engine_memory.py", "engine/test_threads_fork.py", "engine/test_walk.py"),
    *("engine/test_optim_rules.py", "engine/test_network_formulas.py", "files/test_csvscan.py"),
    *("training/test_checkpoints.py", "files/test_formula_files.py"),
]
QUICK_THREADS = [
    *("engine/test_threads_bits.py", "engine/test_threads_together.py"),
    *("engine/test_threads_end.py", "engine/test_shared_arrays.py"),
]


def run_tests(sanitizer, isa, paths, folder, arguments):
    """Run pytest on an ISA; return the counts by outcome and whether it succeeded."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = folder / "counts.json"
    counts.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "under_sanitizer", *arguments]
    command += ["-p", "no:faulthandler", "-p", "no:cacheprovider", "--counts", str(counts)]
    done = subprocess.run(
        [*command, *paths], env=environment(sanitizer, folder, isa), cwd=ROOT, check=False
    )
    found = json.loads(counts.read_text()) if counts.exists() else {"ended early": 1}
    # pytest ends with 2 when the budget is spent, and with 5 if the arguments choose no test.
    good = done.returncode in (0, 2, 5) and "ended early" not in found
    return found, good and not found["failed"] and not found["error"]


def expand(patterns):
    """The paths of tests that match; every pattern has to match something."""
    paths = []
    for pattern in patterns:
        matched = sorted(TESTS.glob(pattern))
        if not matched:
            sys.exit(f"no test matches tests/{pattern}, which {Path(__file__).name} lists")
        paths += map(str, matched)
    return paths


def plan(chosen, isas):
    """(isa, paths, arguments of pytest) of each run: ISAs with a base run tests of products."""
    paths = QUICK if chosen.quick else FOLDERS
    if chosen.sanitizer == "tsan":
        paths = QUICK_THREADS if chosen.quick else THREADS
    paths = chosen.folder or paths
    wanted = chosen.isa or [*isas]
    runs = []
    for isa in wanted:
        based = isas[isa] != isa and chosen.sanitizer != "tsan"
        runs.append((isa, expand(paths), ["-m", "products"] if based else []))
    return runs


def run_driver(sanitizer, folder, isas):
    """Run the driver, a C program that calls all of fastbp.h; return whether it succeeded.

    isas: those to build.
    """
    flags = ["-g", "-O1", *FLAGS[sanitizer], "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
    variables = environment(sanitizer, folder)
    del variables["LD_PRELOAD"]
    folder.mkdir()
    try:
        program = driver_build.build_driver("gcc", flags, isas, folder.with_name("objects"))
        print("--", driver_build.run_driver(program, environment=variables), flush=True)
    except driver_build.BuildError as error:
        print(error)
        return False
    return True


def arguments_of_run():
    """The arguments, and those that are passed to pytest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sanitizer", choices=OPTIONS)
    parser.add_argument("--quick", action="store_true", help="a share of 60 seconds of tests")
    parser.add_argument("--seconds", type=float, help="of tests, in all; no limit by default")
    parser.add_argument("--folder", action="append", help="of tests/; all that reach C by default")
    parser.add_argument("--isa", action="append", help="an ISA to test; all by default")
    parser.add_argument("--driver", action="store_true", help="run the driver in C alone")
    chosen, others = parser.parse_known_args()
    chosen.seconds = chosen.seconds or (60 if chosen.quick else None)
    return chosen, others


def run_all(chosen, others, isas, folder):
    """Run the tests of each ISA, and the driver; return the sums of counts and what failed."""
    total, failed = Counter(), []
    runs = [] if chosen.driver else plan(chosen, isas)
    for isa, paths, marked in runs:
        bound = ["--budget", str(chosen.seconds / len(runs))] if chosen.seconds else []
        start = time.monotonic()
        arguments = [*marked, *bound, *others]
        counts, passed = run_tests(chosen.sanitizer, isa, paths, folder / isa, arguments)
        failed += [] if passed else [f"tests on {isa}"]
        listed = ", ".join(f"{n:,} {name}" for name, n in counts.items() if n)
        print(f"-- {isa}: {listed}; {time.monotonic() - start:.0f} s", flush=True)
        total += Counter(counts)
    if runs and not total["passed"]:
        failed.append("no test passed: the arguments choose none, or none finished")
    whole = not (chosen.seconds or chosen.folder or chosen.isa or others)
    own = [isa for isa, base in isas.items() if isa == base]
    if (chosen.driver or whole) and not run_driver(chosen.sanitizer, folder / "driver", own):
        failed.append("the driver")
    return total, failed


def main():
    chosen, others = arguments_of_run()
    name = chosen.sanitizer
    folder = ROOT / "build" / "sanitizers" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    isas = check_build(name, folder)
    n_planted = sanitizer_planted.check(name, folder / "planted")
    total, failed = run_all(chosen, others, isas, folder)
    runs = [path for path in folder.iterdir() if path.is_dir() and path.name != "planted"]
    faults = [fault for path in runs for fault in reports.faults_of(path)]
    for path, fault in faults:
        print(f"\n{path.relative_to(ROOT)}:\n{fault}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    n_isas = 0 if chosen.driver else len(chosen.isa or isas)
    print(
        f"{name}: {n_isas} ISAs, {total['passed']:,} tests, {n_planted} planted faults found, "
        f"{len(faults)} reports"
    )
    sys.exit(1 if failed or faults else 0)


if __name__ == "__main__":
    main()
