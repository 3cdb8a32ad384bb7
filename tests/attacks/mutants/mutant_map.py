"""Which test runs which line of the engine, and how long it takes.

A build with gcc's -fsanitize-coverage=trace-pc marks the code that runs (trace.c). One process runs
the first and the last case of every test function below; each test that passes gets the lines that
it reached. The map is a file in build/mutants, made again when asked for.
"""

import ctypes
import json
import re
import time
from functools import cache

import mutant_build
import mutant_run
import numpy as np
import pytest
from mutant_tokens import functions_of, tokens_of

PATH = mutant_build.WORK / "map.json"
# The tests that need the engine and run it in their own process.
SUITES = [
    "tests/kernels",
    "tests/engine",
    *(f"tests/gates/test_{name}.py" for name in ("program", "compile", "random_programs")),
    *(f"tests/files/test_{name}.py" for name in ("csvscan", "csvfile", "formula_files", "io")),
    *(f"tests/training/test_{name}.py" for name in ("streaming", "states", "schedules")),
    *(f"tests/training/test_{name}.py" for name in ("checkpoints", "training_loop", "shuffle")),
    "tests/training/test_fit_scores.py",
]
# Tests for code that runs in processes of its own or whose lines the map does not have.
BY_FILE = {
    **{
        place: [
            f"tests/engine/test_threads_{name}"
            for name in (
                "end.py::test_a_callback_may_stop_the_threads",
                "fork.py::test_the_pool_of_a_child_is_free",
                "limits.py::test_small_work_starts_no_threads",
                "together.py::test_two_sessions_share_the_pool",
            )
        ]
        for place in ("threads/pool.c", "threads/team.c", "threads/wait.c")
    },
    **{
        place: ["tests/population/test_population_bits.py"]
        for place in ("nn/population.c", "nn/rooms.c", "nn/session.c")
    },
    "nn/tiles.c": ["tests/engine/test_engine.py::test_layers_that_need_several_strips_of_sums"],
    "nn/fit.c": [
        f"tests/package/test_explain.py::test_memory_counts_{what}"
        for what in ("the_buffers_of_the_session", "what_the_input_needs")
    ],
    "nn/profile.c": ["tests/package/test_explain.py::test_phases_add_up_to_the_step"],
    "threads/sizing.c": [
        "tests/engine/test_threads_teams.py::test_the_size_follows_what_is_measured"
    ],
    "threads/count.c": ["tests/engine/test_threads_limits.py"],
    "base/machine.c": ["tests/engine/test_machine.py"],
    "base/cpu.c": ["tests/engine/test_machine.py"],
    # The map has two cases of a test, and these take a function or an activation as the case.
    **{
        place: ["tests/kernels/test_activations.py"]
        for place in ("kernels/activation.inc", "kernels/gates.inc")
    },
    **{
        place: ["tests/engine/test_losses.py"]
        for place in ("kernels/loss_rows.inc", "kernels/loss_terms.inc")
    },
    "kernels/curve.inc": ["tests/engine/test_curvature.py"],
    "simd": [
        "tests/kernels/test_vmath.py::test_every_length_and_offset_gives_the_same_bits",
        "tests/kernels/test_vmath.py::test_special_values",
        "tests/kernels/test_activations.py",
        "tests/kernels/test_programs.py",
        "tests/engine/test_layers.py::test_passes",
        "tests/training/test_shuffle.py",
    ],
    "kernels/gemm.inc": ["tests/kernels/test_kernels.py"],
}
BF16 = ["tests/kernels/test_bf16.py", "tests/engine/test_rounded_products.py"]
ROUNDED = ["tests/engine/test_rounded_products.py", "tests/engine/test_matmul_precision.py"]
# Tests of other processes, which the trace does not see.
IGNORED = [
    "tests/engine/test_engine_memory.py",
    *(
        f"tests/engine/test_threads_{name}.py"
        for name in ("end", "fork", "limits", "memory", "processes", "together")
    ),
]
SLOWEST = 1.0  # seconds of the processor; slower tests are not in the map


class Tracer:
    """Keeps the first and the last case of each test function, and what each test reaches."""

    def __init__(self, out):
        self.out = out
        self.reached = {}

    def pytest_collection_modifyitems(self, items):
        cases = {}
        for item in items:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
        self.cases = {name: len(each) for name, each in cases.items()}
        items[:] = [item for each in cases.values() for item in dict.fromkeys([each[0], each[-1]])]
        self.seen = trace_array()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.seen[:] = 0
        begin = time.process_time()
        result = yield
        seconds = time.process_time() - begin
        self.reached[item.nodeid] = [seconds, offsets_in(self.seen)]
        return result

    def pytest_runtest_logreport(self, report):
        if not report.passed:
            self.reached.pop(report.nodeid, None)

    def pytest_sessionfinish(self):
        with self.out.open("w") as file:
            json.dump([self.reached, self.cases], file)


def trace_array():
    """The bytes of trace.c as an array of words."""
    import fastbp._core

    library = ctypes.CDLL(fastbp._core.__file__)
    library.fbp_trace_seen.restype = ctypes.POINTER(ctypes.c_uint8)
    return np.ctypeslib.as_array(library.fbp_trace_seen(), shape=(1 << 24,)).view(np.uint64)


def offsets_in(seen):
    """Return the offsets of the bytes that are set, word by word because few are."""
    words = np.flatnonzero(seen)
    rows, bytes_ = np.nonzero(seen[words].view(np.uint8).reshape(-1, 8))
    return (8 * words[rows] + bytes_).tolist()


def traced_units():
    """Everything that the map has lines of; two of the kernels are too slow to compile."""
    csrc = mutant_build.ROOT / "csrc"
    for path in sorted(csrc.rglob("*.c")):
        name = path.relative_to(csrc).as_posix()
        if path.parent.name in {"nn", "threads", "text", "base"}:
            yield f"csrc/{name[:-2]}.o", f"csrc/{name}", [], None
    kernels = [slot for slot in mutant_build.slots() if slot not in {"gemm_nn", "gemm_tn"}]
    flags = mutant_build.SETUP["ISAS"]["avx2"]["unix"]
    for half in ("FBP_ONLY_F32", "FBP_ONLY_F64"):
        yield f"{half}/patch.o", "csrc/isa/avx2.c", [*flags, f"-D{half}=1"], kernels


def traced_module(base):
    """Link the module with traced objects."""
    objects = {}
    for unit in traced_units():
        objects[unit[0]] = out = mutant_build.WORK / "traced" / unit[0]
        if mutant_build.is_newer(out):
            continue
        if not mutant_build.compile_unit(unit, out, ["-g1", "-fsanitize-coverage=trace-pc"]):
            raise SystemExit(f"mutants: {unit[1]} does not compile with -fsanitize-coverage")
    source = mutant_build.ROOT / "tests/attacks/mutants/trace.c"
    objects["trace.o"] = out = mutant_build.WORK / "traced/trace.o"
    mutant_build.command("gcc", "-O2", "-fPIC", "-c", str(source), "-o", str(out))
    mutant_build.link(base, objects)


def line_of_offsets(offsets):
    """Return "file:line" of each offset of code, without the folder csrc/."""
    module = mutant_build.TREE / mutant_build.MODULE
    asked = "\n".join(f"{offset:#x}" for offset in offsets)
    told = mutant_build.command("addr2line", "-e", str(module), input=asked).stdout.splitlines()
    found = {}
    for offset, line in zip(offsets, told, strict=True):
        match = re.search(r"csrc/(?:isa/\.\./|nn/\.\./)?(?P<file>\S+):(?P<line>\d+)", line)
        if match:
            file = re.sub(r"[^/]+/\.\./", "", match["file"])
            found[offset] = f"{file}:{match['line']}"
    return found


def make_map(base, only=None):
    """Run the tests on a traced build; write and return the map."""
    traced_module(base)
    out = mutant_build.WORK / "reached.json"
    out.unlink(missing_ok=True)
    suites = [name for name in only or SUITES if (mutant_build.TREE / name).exists()]
    mutant_run.run_tests(
        mutant_build.TREE,
        suites,
        mutant_build.WORK / "map.log",
        limit=3600,
        environment={"FASTBP_ISA": "avx2"},
        plugins=[Tracer(out)],
        extra=[f"--ignore={name}" for name in IGNORED],
    )
    reached, cases = json.loads(out.read_text())
    lines = line_of_offsets(sorted({at for _, offsets in reached.values() for at in offsets}))
    table = {
        name: [
            seconds,
            sorted({lines[at] for at in offsets if at in lines}),
            cases[name.partition("[")[0]],
        ]
        for name, (seconds, offsets) in reached.items()
        if seconds < SLOWEST
    }
    PATH.write_text(json.dumps(table))
    return table


def load_map(base, again=False):
    """Return the map: test → [seconds of the processor, lines that it reaches, cases of its
    function]."""
    return make_map(base) if again or not PATH.exists() else json.loads(PATH.read_text())


def reaching(mutant, table):
    """Return the tests that reach the line of a mutant, or else the lines around it, or its file:
    name → (seconds, cases of the function)."""
    line, file = f"{mutant.file}:{mutant.line}", f"{mutant.file}:"
    near = {f"{file}{mutant.line + d}" for d in range(-3, 4)}
    same = lines_of_avx2(mutant.function) if file.startswith("simd/") else set()
    for wanted in (
        lambda lines: line in lines,
        lambda lines: not same.isdisjoint(lines),
        lambda lines: not near.isdisjoint(lines),
        lambda lines: any(at.startswith(file) for at in lines),
    ):
        found = {name: (s, cases) for name, (s, lines, cases) in table.items() if wanted(lines)}
        if found:
            return found
    # Code of one line may belong to a header of the compiler: every test of kernels.
    kernels = {name: row for name, row in table.items() if name.startswith("tests/kernels/")}
    return {name: (s, cases) for name, (s, _, cases) in kernels.items()}


@cache
def lines_of_avx2(function):
    """Return the lines of the function of that name on the ISA of the map."""
    text = (mutant_build.ROOT / "csrc/simd/avx2.h").read_text()
    return {
        f"simd/avx2.h:{token.line}"
        for each in functions_of(tokens_of(text))
        if each.name == function
        for token in each.body
    }


def by_file(names):
    """Return test file → names, the file with the most names first."""
    files = {}
    for name in names:
        files.setdefault(name.partition("::")[0], []).append(name)
    return dict(sorted(files.items(), key=lambda pair: -len(pair[1])))


def within(costs, budget):
    """Return names from each file in turn, the cheapest first, for `budget` seconds."""
    turns = [
        (turn, costs[name], name)
        for names in by_file(costs).values()
        for turn, name in enumerate(sorted(names, key=costs.get))
    ]
    chosen, spent = [], 0.0
    for _, seconds, name in sorted(turns):
        if spent + seconds < budget:
            chosen.append(name)
            spent += seconds
    return chosen


def rounds_for(mutant, table, killers, budget):
    """Yield the tests of a mutant: those that killed others of its file, with tests of few files;
    tests of all files; at last every case of the functions, where the map has two."""
    found = reaching(mutant, table)
    costs = {name: seconds for name, (seconds, _) in found.items()}
    files = list(by_file(costs).values())  # reading a file of tests takes as long as many tests
    few = [name for names in files[:2] for name in names]
    more = [name for names in files[:8] for name in names]
    first = [name for name in killers if name in table]
    first += within({name: costs[name] for name in few if name not in first}, budget / 4)
    yield first
    yield within({name: costs[name] for name in more if name not in first}, budget)
    whole = {}
    for name in [name for names in files[:5] for name in names]:
        seconds, cases = found[name]
        function = name.partition("[")[0]
        whole[function] = max(whole.get(function, 0), seconds * cases) if cases > 2 else budget
    yield within(whole, budget)
