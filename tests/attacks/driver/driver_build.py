"""Build the driver, a C program that calls every function of the engine, and run it.

python tests/attacks/driver/driver_build.py --compiler gcc -- -g -O1 -fsanitize=thread
python tests/attacks/driver/driver_build.py --compiler x86_64-w64-mingw32-gcc --under wine64
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from engine_build import CSRC, BuildError, build, compile_all, link, tables

HEADERS = ("fastbp.h", "text/csv.h", "text/texts.h")
LIMIT = 1800  # seconds, for emulated machines
# Sanitizers end the program unless they are told that it asks for too much memory on purpose.
SANITIZERS = {
    "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1",
    "TSAN_OPTIONS": "allocator_may_return_null=1:exitcode=66",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def functions():
    """Return the names of all functions that the public headers declare."""
    names = []
    for header in HEADERS:
        text = (CSRC / header).read_text(encoding="utf-8")
        text = re.sub(
            r"/\*.*?\*/|^\s*#(?:[^\n]*\\\n)*[^\n]*", " ", text, flags=re.DOTALL | re.MULTILINE
        )
        names += re.findall(r"\b(fastbp_\w+(?<!_t))\s*\(", text)
    assert len(names) == len(set(names)) > 50
    return names


def write_calls(folder):
    """Write driver_calls.h: each call of a function of the engine notes that it was called."""
    names = functions()
    lines = [f'#include "{header}"' for header in HEADERS]
    lines += ["#include <stdatomic.h>", f"enum {{ DRIVER_FUNCTIONS = {len(names)} }};"]
    lines += ["extern atomic_int driver_called[DRIVER_FUNCTIONS];"]
    lines += ["static const char *const driver_names[] = {"]
    lines += [*(f'    "{name}",' for name in names), "};"]
    lines += ["#define DRIVER_NOTE(i) \\"]
    lines += ["    atomic_store_explicit(&driver_called[i], 1, memory_order_relaxed)"]
    for i, name in enumerate(names):
        lines.append(f"#define {name}(...) (DRIVER_NOTE({i}), {name}(__VA_ARGS__))")
    text = "\n".join(["#ifndef DRIVER_CALLS_H", "#define DRIVER_CALLS_H", *lines, "#endif", ""])
    path = Path(folder, "driver_calls.h")
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def build_driver(compiler, flags, isas, folder):
    """Compile the engine and the driver into a folder; return the program.

    The arguments are those of engine_build.build.
    """
    objects = build(compiler, flags, isas, folder)
    write_calls(folder)
    engine = tables()["FLAGS"]["unix"]["engine"]
    own = [*engine, f"-I{CSRC}", f"-I{folder}", "-Wno-unused-const-variable", *flags]
    work = [(path, f"driver_{path.stem}.o", own) for path in sorted(HERE.glob("*.c"))]
    objects += compile_all(compiler, work, folder)
    return link(compiler, flags, objects, Path(folder, "driver"))


def run_driver(program, isas=(), small=False, under=(), environment=None):
    """Run the driver on some ISAs, or on all that the machine has; return its line of counts.

    Raises
    ------
    BuildError
        If a check failed or the program ended in another way; the message has what it printed.
    """
    command = [*under, str(program), *(["--small"] if small else []), *isas]
    environment = SANITIZERS | dict(os.environ) if environment is None else environment
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=LIMIT, env=environment
    )
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode or not last or not last[0].endswith(" 0 faults"):
        shown = f"{done.stdout}{done.stderr}"[-8000:]
        raise BuildError(f"{shlex.join(command)} ended with {done.returncode}\n{shown}")
    return last[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--compiler", default="cc", help="the compiler with its target: %(default)s"
    )
    parser.add_argument("--isas", help="ISAs to build, with commas between them; all if not given")
    parser.add_argument("--run", help="ISAs to run, with commas; all that the machine supports")
    parser.add_argument("--out", default="build/driver", help="folder: %(default)s")
    parser.add_argument("--under", default="", help='a program that runs the driver, as "wine"')
    parser.add_argument("--label", default="driver", help="first word of the line of counts")
    parser.add_argument("--small", action="store_true", help="a small share of the checks")
    parser.add_argument("flags", nargs="*", help="of the compiler, after --, besides -Werror")
    chosen = parser.parse_args()
    isas = chosen.isas.split(",") if chosen.isas else None
    run = chosen.run.split(",") if chosen.run else ()
    flags = [*tables()["FLAGS"]["unix"]["werror"], *chosen.flags]
    try:
        program = build_driver(chosen.compiler, flags, isas, chosen.out)
        counts = run_driver(program, run, chosen.small, shlex.split(chosen.under))
        print(chosen.label + counts.removeprefix("driver"))
    except BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
