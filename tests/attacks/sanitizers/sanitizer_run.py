"""Run tests, and faults planted to be found, with an extension that was built with a sanitizer.

`nox -s asan`, `nox -s ubsan` and `nox -s tsan` build the extension and call this program. Further
arguments are passed to pytest.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import sanitizer_reports as reports

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TESTS = HERE.parents[1]

# Everything that reaches C. The other folders test the reference, pages, documentation and other
# libraries.
FOLDERS = ["kernels", "engine", "gates", "training", "files", "estimators"]
# Threads of the engine, and sessions that use several of them.
THREADS = [
    *("engine/test_threads_*.py", "engine/test_shared_arrays.py", "engine/test_accumulate.py"),
    *("engine/test_hooks.py", "engine/test_engine_fit*.py", "engine/test_sparse.py"),
    *("engine/test_train_batch.py", "engine/test_network_formulas.py"),
    *("training/test_streaming.py", "training/test_checkpoints.py"),
]
# The bounded share: files that together reach each source file of csrc/.
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

SHARED = {"abort_on_error": 1}
OPTIONS = {
    "asan": {
        "ASAN_OPTIONS": {
            **SHARED,
            "allocator_may_return_null": 1,  # tests ask for more memory than there is
            "alloc_dealloc_mismatch": 0,  # libraries of others, in C++
            "detect_leaks": 1,
            "detect_stack_use_after_return": 1,
            "exitcode": 0,  # leaks are judged by their stacks; an error aborts the process
        },
    },
    "ubsan": {"UBSAN_OPTIONS": {**SHARED, "print_stacktrace": 1}},
    "tsan": {
        "TSAN_OPTIONS": {
            "abort_on_error": 0,
            "allocator_may_return_null": 1,
            "die_after_fork": 0,
            "exitcode": 66,
            "ignore_noninstrumented_modules": 1,  # only locks of Python and NumPy are seen
            "suppressions": HERE / "tsan.supp",
        },
    },
}
LIBRARIES = {"asan": ["libasan.so", "libstdc++.so.6"], "ubsan": [], "tsan": ["libtsan.so"]}
SYMBOLS = {"asan": b"__asan_init", "ubsan": b"__ubsan_handle", "tsan": b"__tsan_init"}


def library(name):
    """The path of a library of gcc."""
    gcc = shutil.which("gcc")
    path = (
        gcc
        and subprocess.run(
            [gcc, f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
    )
    if not path or not os.path.isabs(path):
        sys.exit(f"there is no {name} of gcc here; on Debian: apt-get install gcc libstdc++6")
    return os.path.realpath(path)


def environment(sanitizer, folder, isa=None):
    """The variables of a process that loads the extension and writes its reports to a folder."""
    variables = os.environ | {
        "SANITIZER": sanitizer,
        "LD_PRELOAD": " ".join(map(library, LIBRARIES[sanitizer])),
        "PYTHONMALLOC": "malloc",  # one block of the allocator for each object
        "PYTHONSAFEPATH": "1",  # the installed package, not fastbp/ in this folder
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(HERE), str(TESTS), os.environ.get("PYTHONPATH")])
        ),
    }
    for name, options in OPTIONS[sanitizer].items():
        options = options | {"log_path": folder / "report"}
        variables[name] = ":".join(f"{key}={value}" for key, value in options.items())
    if isa:
        variables["FASTBP_ISA"] = isa
    return variables


def python(sanitizer, folder, code, *arguments, isa=None, **options):
    """Run code in a process with the sanitizer."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, env=environment(sanitizer, folder, isa), text=True, check=False, **options
    )


def check_build(sanitizer, folder):
    """End with a message if the installed extension has no sanitizer; return its ISAs."""
    code = """from fastbp import _core
isas = _core.available_isas()
print(_core.__file__, *(f"{isa}:{_core.isa_base(isa)}" for isa in isas))"""
    done = python(sanitizer, folder, code, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"the extension does not load under {sanitizer}")
    path, *isas = done.stdout.split()
    if SYMBOLS[sanitizer] not in Path(path).read_bytes():
        sys.exit(f"{path} was not built for {sanitizer}; `nox -s {sanitizer}` builds it")
    return dict(isa.split(":") for isa in isas)


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sanitizer", choices=OPTIONS)
    parser.add_argument("--quick", action="store_true", help="a share of 60 seconds of tests")
    parser.add_argument("--seconds", type=float, help="of tests, in all; no limit by default")
    parser.add_argument("--folder", action="append", help="of tests/; all that reach C by default")
    parser.add_argument("--isa", action="append", help="an ISA to test; all by default")
    chosen, arguments = parser.parse_known_args()
    seconds = chosen.seconds or (60 if chosen.quick else None)

    folder = ROOT / "build" / "sanitizers" / chosen.sanitizer
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    isas = check_build(chosen.sanitizer, folder)
    import sanitizer_planted as planted

    n_planted = planted.check(chosen.sanitizer, folder / "planted")
    runs = plan(chosen, isas)
    total, failed = {}, []
    for isa, paths, marked in runs:
        bound = ["--budget", str(seconds / len(runs))] if seconds else []
        start, own = time.monotonic(), folder / isa
        counts, passed = run_tests(chosen.sanitizer, isa, paths, own, [*marked, *bound, *arguments])
        if not passed:
            failed.append(isa)
        listed = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
        print(f"-- {isa}: {listed}; {time.monotonic() - start:.0f} s", flush=True)
        for name, n in counts.items():
            total[name] = total.get(name, 0) + n
    faults = [fault for isa, _, _ in runs for fault in reports.faults_of(folder / isa)]
    for path, fault in faults:
        print(f"\n{path.relative_to(ROOT)}:\n{fault}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    print(
        f"{chosen.sanitizer}: {len(runs)} ISAs, {total.get('passed', 0):,} tests, "
        f"{n_planted} planted faults found, {len(faults)} reports"
    )
    sys.exit(1 if failed or faults else 0)


if __name__ == "__main__":
    main()
