"""Build the C engine without Python, for sanitizers, fuzzers and other platforms.

    from engine_build import build, link

    objects = build("gcc", ["-g", "-O1", "-fsanitize=address"], ["scalar", "avx2"], folder)
    program = link("gcc", ["-fsanitize=address"], [*objects, "program.c"], folder / "program")

The flags and ISAs are those of setup.py. `python tests/engine_build.py --help` does the same from a
shell, and prints the object files.
"""

import argparse
import ast
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"


class BuildError(Exception):
    """A compiler is missing or has failed; the message has its command and what it printed."""


def from_setup(*wanted, **names):
    """Return what setup.py defines by these names, as {name: object}.

    Only that is run, in a module with `names`: the rest of setup.py needs setuptools and Cython.
    """
    body = [
        node
        for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and node.name in wanted
        or isinstance(node, ast.Assign)
        and node.targets[0].id in wanted
    ]
    exec(compile(ast.Module(body, []), "setup.py", "exec"), names)  # noqa: S102 - our own file
    return {name: names[name] for name in wanted}


@cache
def tables():
    """Return the tables ISAS, ONLY and FLAGS of setup.py, and its function entry."""
    return from_setup("ISAS", "ONLY", "FLAGS", "entry")


def find_compiler():
    """Return the name of a C compiler of this machine, or None."""
    return next(filter(shutil.which, ("cc", "gcc", "clang")), None)


def can_run(compiler, flags):
    """Whether a compiler, if there is one, makes programs with these flags that run here."""
    if compiler is None or shutil.which(compiler) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "empty")
        command = [compiler, *flags, "-x", "c", "-", "-o", program]
        text = b"int main(void) { return 0; }\n"
        made = subprocess.run(command, input=text, check=False, capture_output=True)
        return made.returncode == 0 and subprocess.run([program], check=False).returncode == 0


def command_of(compiler):
    """Return a compiler, such as "gcc" or "python -m ziglang cc -target …", as a list of words."""
    words = shlex.split(compiler) if isinstance(compiler, str) else [str(word) for word in compiler]
    if shutil.which(words[0]) is None:
        raise BuildError(
            f"there is no compiler {words[0]} on PATH; install it, or name another one"
        )
    return words


def run(command, **options):
    """Run a command and return what it printed on its standard output."""
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, **options
    )
    if done.returncode:
        raise BuildError(f"{shlex.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def target_of(compiler, flags=()):
    """Return the machine and system of a compiler's programs, such as ("aarch64", "linux")."""
    command = [*command_of(compiler), *flags, "-dM", "-E", "-x", "c", os.devnull]
    macros = {line.split()[1] for line in run(command).splitlines() if line}
    machines = {"__x86_64__": "x86_64", "__aarch64__": "aarch64"}
    systems = {"_WIN32": "win32", "__APPLE__": "darwin", "__linux__": "linux"}
    machine = next((name for macro, name in machines.items() if macro in macros), "other")
    return machine, next((name for macro, name in systems.items() if macro in macros), "other")


def buildable(compiler, flags=(), emulated=True):
    """Return the ISAs that a compiler can translate for its target, the slowest first."""
    isas = tables()["ISAS"]
    machine, system = target_of(compiler, flags)
    machines = {"any", machine} | ({"emulated"} if emulated else set())
    return [
        name
        for name, isa in isas.items()
        if isa["machine"] in machines
        and isa.get("system", system) == system
        and ("probe" not in isa or knows(compiler, [*isa["unix"], *flags], isa["probe"]))
    ]


def knows(compiler, flags, probe):
    """Whether a compiler and its assembler can translate a line with intrinsics."""
    command = [*command_of(compiler), *flags, "-x", "c", "-c", "-", "-o", os.devnull]
    text = f"#include <immintrin.h>\n{probe}\n"
    done = subprocess.run(command, input=text, check=False, capture_output=True, text=True)
    return done.returncode == 0


def flags_of_target(compiler, flags):
    """Return the flags that a compiler needs for its target: those of gcc for Windows."""
    mingw = tables()["FLAGS"]["unix"]["mingw"]
    with tempfile.TemporaryDirectory() as folder:
        command = [*command_of(compiler), *flags, *mingw, "-x", "c", "-c", os.devnull]
        command += ["-o", f"{folder}/probe.o"]
        knows_them = subprocess.run(command, check=False, capture_output=True).returncode == 0
    return mingw if target_of(compiler, flags)[1] == "win32" and knows_them else []


def jobs_of(compiler, isas, flags):
    """Return (source, name of the object file, all flags) of each file, the slowest first."""
    table = tables()
    engine = [*table["FLAGS"]["unix"]["engine"], *flags_of_target(compiler, flags), f"-I{CSRC}"]
    jobs = []
    for isa in reversed(isas):
        units = [None] if "base" in table["ISAS"][isa] else table["ONLY"]
        for only in units:
            chosen = [
                *engine,
                *table["ISAS"][isa]["unix"],
                *flags,
                *([f"-D{only}=1"] if only else []),
            ]
            jobs.append((CSRC / f"isa/{isa}.c", f"isa_{isa}_{only or 'both'}.o", chosen))
    listed = " ".join(map(table["entry"], isas))
    for source in sorted(CSRC.rglob("*.c")):
        if source.parent.name != "isa":
            isa_list = [f"-DFBP_ISAS={listed}"] if source == CSRC / "dispatch.c" else []
            name = "_".join(source.relative_to(CSRC).with_suffix(".o").parts)
            jobs.append((source, name, [*engine, *flags, *isa_list]))
    return jobs


def is_fresh(obj, command):
    """Whether an object file was made by this command and is newer than all its inputs."""
    made_by, listed = obj.with_suffix(".command"), obj.with_suffix(".d")
    if not (obj.exists() and made_by.exists() and listed.exists()):
        return False
    if made_by.read_text(encoding="utf-8") != shlex.join(command):
        return False
    inputs = shlex.split(listed.read_text(encoding="utf-8").replace("\\\n", " ").partition(": ")[2])
    made = obj.stat().st_mtime
    return all(os.path.exists(path) and os.path.getmtime(path) <= made for path in inputs)


def compile_one(compiler, source, flags, obj):
    """Compile one source unless its object file is fresh; return the object file."""
    command = [*command_of(compiler), *flags, "-c", str(source), "-o", str(obj)]
    if not is_fresh(obj, command):
        obj.unlink(missing_ok=True)
        run(command)
        obj.with_suffix(".command").write_text(shlex.join(command), encoding="utf-8")
    return obj


def build(compiler, flags, isas, out, jobs=None):
    """Compile the engine of csrc/ into object files.

    Parameters
    ----------
    compiler : str or list of str
        A compiler with the options of gcc, with those that choose its target, such as
        "python -m ziglang cc -target aarch64-linux-musl".
    flags : list of str
        Flags after those of setup.py, so that `-O1` or `-fvisibility=default` replaces one of them.
    isas : list of str or None
        ISAs of setup.py, with the base of each; None for all that the compiler can translate. The
        scalar ISA is always among them.
    out : path
        The folder for the object files. Files that are fresh are not compiled again.
    jobs : int, optional
        Compilers to run at the same time; by default one per processor.

    Returns
    -------
    list of Path
        The object files.

    Raises
    ------
    BuildError
        If there is no such compiler or ISA, or if it fails.
    """
    flags = list(flags)
    known = buildable(compiler, flags)
    chosen = known if isas is None else ["scalar", *isas]
    if missing := set(chosen) - set(known):
        known = ", ".join(known)
        raise BuildError(f"{compiler} cannot build {', '.join(missing)}; it can build {known}")
    bases = {tables()["ISAS"][isa].get("base", "scalar") for isa in chosen}
    chosen = [isa for isa in known if isa in bases or isa in chosen]
    return compile_all(compiler, jobs_of(compiler, chosen, flags), out, jobs)


def compile_all(compiler, work, out, jobs=None):
    """Compile (source, name of the object file, all flags) into a folder; return the objects."""
    Path(out).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        begun = [
            pool.submit(compile_one, compiler, source, flags, Path(out, name))
            for source, name, flags in work
        ]
        try:
            return [each.result() for each in begun]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def link(compiler, flags, inputs, program):
    """Link object files, and C sources that include fastbp.h, into a program; return its path."""
    _, system = target_of(compiler, flags)
    program = Path(program)
    if system == "win32":
        program, flags = program.with_suffix(".exe"), ["-static", *flags]
    engine = [flag for flag in tables()["FLAGS"]["unix"]["engine"] if flag != "-MMD"]
    libraries = tables()["FLAGS"]["unix"]["link"]
    run([*command_of(compiler), *engine, f"-I{CSRC}", *flags, *inputs, "-o", program, *libraries])
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--compiler", default="cc", help="the compiler with its target: %(default)s"
    )
    parser.add_argument("--isas", help="ISAs, with commas between them; all if not given")
    parser.add_argument("--out", default="build/engine", help="folder: %(default)s")
    parser.add_argument("flags", nargs="*", help="further flags, after --")
    chosen = parser.parse_args()
    isas = chosen.isas.split(",") if chosen.isas else None
    try:
        print(*build(chosen.compiler, chosen.flags, isas, chosen.out), sep="\n")
    except BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
