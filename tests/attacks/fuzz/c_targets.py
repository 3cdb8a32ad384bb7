"""Build the targets of tests/attacks/fuzz/c/, with libFuzzer or to replay files."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SOURCES, CORPUS = HERE / "c", HERE / "corpus"
sys.path[:0] = [str(ROOT / "tests")]

from engine_build import CSRC, build, can_run, compile_all, link, tables

# Each has a file c/target_NAME.c and a folder corpus/NAME.
TARGETS = tuple(sorted(path.stem.removeprefix("target_") for path in SOURCES.glob("target_*.c")))
SHARED = ("fuzz", "csv_reference", "programs", "specs")
# The build of the tests, which test_driver.py shares: its ISAs and its folder.
ISAS_OF_TESTS, FOLDER_OF_TESTS = ["scalar", "amx_emulated"], ROOT / "build/engine-sanitized"
# Not all checks of UndefinedBehaviorSanitizer: those of pointers take the compiler ten times as
# long, and the sanitizer sessions run the whole suite under them.
CHECKS = (
    "address",
    "signed-integer-overflow",
    "integer-divide-by-zero",
    "shift",
    "bounds",
    "float-cast-overflow",
)


def default_isas():
    """Return ISAs with different code: without vectors, with them, and tiles of bfloat16."""
    vectors = {"x86_64": ["avx2"], "amd64": ["avx2"], "aarch64": ["neon"], "arm64": ["neon"]}
    return ["scalar", "amx_emulated", *vectors.get(platform.machine().lower(), [])]


def flags_of(compiler):
    """Return flags for the sanitizers. Checks by calls shorten the compilation to a third."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    option = "-mllvm -{}=0" if "clang" in version.stdout else "--param {}=0"
    return [
        *("-O1", "-g1", f"-fsanitize={','.join(CHECKS)}", "-fno-sanitize-recover=all"),
        *option.format("asan-instrumentation-with-call-threshold").split(),
    ]


def has_sanitizers(compiler):
    """Whether a compiler, if there is one, makes programs with the sanitizers that run here."""
    known = compiler is not None and shutil.which(compiler) is not None
    return known and can_run(compiler, flags_of(compiler))


def build_targets(compiler, isas, out, *, fuzzer, names=TARGETS):
    """Return the program of each target, by name, in the folder `out`.

    With `fuzzer`, libFuzzer gives the inputs, which needs clang. Without, the files that the
    program is called with are the inputs.
    """
    flags = [*flags_of(compiler), *(["-fsanitize=fuzzer-no-link"] if fuzzer else [])]
    objects = build(compiler, flags, isas, out)
    sources = [*SHARED, *([] if fuzzer else ["replay"]), *(f"target_{name}" for name in names)]
    own = [*tables()["FLAGS"]["unix"]["engine"], f"-I{CSRC}", *flags]
    work = [(SOURCES / f"{name}.c", f"fuzz_{name}.o", own) for name in sources]
    made = dict(zip(sources, compile_all(compiler, work, out), strict=True))
    shared = [path for name, path in made.items() if not name.startswith("target_")]
    options = [*flags, *(["-fsanitize=fuzzer"] if fuzzer else []), "-Wl,--wrap=fbp_machine"]
    return {
        name: link(
            compiler,
            options,
            [made[f"target_{name}"], *shared, *objects],
            Path(out) / f"target_{name}",
        )
        for name in names
    }
