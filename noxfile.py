"""The checks of a change by name, such as `nox -s lint types tests docs bench`.

Only this file contains the commands. .ci/run and the workflows in .github/ call its sessions.
Arguments after `--` are passed to the program of the session: nox -s tests -- -k layers
"""

from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.options.reuse_venv = "yes"
PROJECT = nox.project.load_toml("pyproject.toml")["project"]
EXTRAS, DEPENDENCIES = PROJECT["optional-dependencies"], PROJECT["dependencies"]


@nox.session
def lint(session):
    """Run formatters and linters in the versions of the extra `lint`; change nothing."""
    session.install(*EXTRAS["lint"])
    sources = [str(p) for p in Path("csrc").rglob("*") if p.suffix in {".c", ".h", ".inc"}]
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
