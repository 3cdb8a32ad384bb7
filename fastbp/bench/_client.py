"""Starting and questioning the processes of `fastbp.bench._worker`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO

from ._peers import PROGRAMS
from ._suites import Config

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from fastbp.bench._worker import main; main()"
)
_GRACE = 10.0  # seconds that a process may take to end


class WorkerError(ChildProcessError):
    """A program could not be set up or run; the message is what it said."""


@dataclass(frozen=True)
class Worker:
    """A process for one program on n_threads; it stays for many configurations."""

    program: str
    n_threads: int
    process: subprocess.Popen
    errors: IO[str]

    def ask(self, do: str, **arguments: object) -> dict:
        """The reply to an order. Raises WorkerError if the process ended instead."""
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": do} | arguments) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise WorkerError(self._last_words())
        return json.loads(line)

    def setup(self, config: Config, dtype: str) -> dict:
        """Make everything ready for a configuration."""
        fields = asdict(config)
        return self.ask(
            "setup", program=self.program, config=fields, threads=self.n_threads, dtype=dtype
        )

    def _last_words(self) -> str:
        code = self.process.wait(_GRACE)
        self.errors.seek(0)
        lines = [line for line in self.errors.read().splitlines() if line.strip()]
        raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        return (raised or lines or [f"the process ended with code {code}"])[-1]


@contextlib.contextmanager
def start(program: str, n_threads: int, isa: str | None = None) -> Iterator[Worker]:
    """A Worker, whose process ends with the block. isa: the engine's, by default the best."""
    environment = os.environ | PROGRAMS[program].environment(n_threads)
    if isa is not None:
        environment["FASTBP_ISA"] = isa
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the parent, which ends this process in turn
        )
        try:
            yield Worker(program, n_threads, process, errors)
        except BaseException:
            process.kill()
            raise
        finally:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
