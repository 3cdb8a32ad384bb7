"""Every check of a change by name: `nox -s tests lint docs bench`, all but bench without -s.

This file alone holds the commands: .ci/run calls these sessions, and so do the workflows in
.github/. Arguments after `--` go to the program of the session: nox -s tests -- -k layers
"""

from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["lint", "tests", "docs"]
nox.options.reuse_venv = "yes"
EXTRAS = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]


@nox.session
def lint(session):
    """Formatters and linters, in the versions of the extra `lint`; nothing is changed."""
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
    """Whether a command succeeds; those after it run in any case."""
    try:
        session.run(*command)
    except CommandFailed:
        return False
    return True


@nox.session
def tests(session):
    """The suite, on the best instruction set of this machine or on the one in FASTBP_ISA."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def docs(session):
    """The documentation site into build/site, every warning an error; `-- serve` to look at it."""
    session.install(".[docs]")
    arguments = session.posargs or ["build", "--strict"]
    session.run("mkdocs", *arguments, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def bench(session):
    """`fastbp bench`: times on this machine, beside the other libraries that are installed."""
    session.install(".[bench]")
    session.run("fastbp", "bench", *session.posargs)
