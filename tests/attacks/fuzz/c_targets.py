"""Build the targets of tests/attacks/fuzz/c/, with libFuzzer or to replay files."""

import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SOURCES, CORPUS = HERE / "c", HERE / "corpus"
sys.path[:0] = [str(ROOT / "tests")]

from engine_build import build, link

# Each has a file c/target_NAME.c and a folder corpus/NAME.
TARGETS = tuple(sorted(path.stem.removeprefix("target_") for path in SOURCES.glob("target_*.c")))
SHARED = [SOURCES / f"{name}.c" for name in ("fuzz", "csv_reference", "programs", "specs")]
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
    """Whether a compiler, if there is one, links and runs programs with the sanitizers."""
    if shutil.which(compiler) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "empty")
        command = [compiler, *flags_of(compiler), "-x", "c", "-", "-o", program]
        made = subprocess.run(command, input=b"int main(void) { return 0; }\n", check=False)
        return made.returncode == 0 and subprocess.run([program], check=False).returncode == 0


def build_targets(compiler, isas, out, *, fuzzer, names=TARGETS):
    """Return the program of each target, by name, in the folder `out`.

    With `fuzzer`, libFuzzer gives the inputs, which needs clang. Without, the files that the
    program is called with are the inputs.
    """
    flags = flags_of(compiler)
    engine_flags = [*flags, *(["-fsanitize=fuzzer-no-link"] if fuzzer else [])]
    objects = build(compiler, engine_flags, isas, out)
    own = [*flags, *(["-fsanitize=fuzzer"] if fuzzer else []), "-Wl,--wrap=fbp_machine"]
    entry = [] if fuzzer else [SOURCES / "replay.c"]
    return {
        name: link(
            compiler,
            own,
            [SOURCES / f"target_{name}.c", *SHARED, *entry, *objects],
            Path(out) / f"target_{name}",
        )
        for name in names
    }
