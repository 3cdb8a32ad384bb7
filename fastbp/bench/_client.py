"""Start the processes of `fastbp.bench._worker`, and send them requests."""

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
from typing import IO, Any

from ._peers import PROGRAMS
from ._suites import Config

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from fastbp.bench._worker import main; main()"
)
_GRACE = 10.0  # seconds that a process has to end


class WorkerError(ChildProcessError):
    """A program could not be set up or run; the message is its own error message."""


@dataclass(frozen=True)
class Worker:
    """A process with one program, at one precision, for any number of configurations."""

    program: str
    precision: str
    n_threads: int
    process: subprocess.Popen[str]
    requests: IO[str]
    replies: IO[str]
    errors: IO[str]

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        """Send a request and return the reply. Raises WorkerError if the process ends instead."""
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self.requests.write(json.dumps({"do": do} | arguments) + "\n")
            self.requests.flush()
            line = self.replies.readline()
        if not line:
            raise WorkerError(self._error_message())
        reply: dict[str, Any] = json.loads(line)
        return reply

    def setup(self, config: Config, dtype: str) -> dict[str, Any]:
        """Prepare the process for a configuration."""
        return self.ask("setup", config=asdict(config), threads=self.n_threads, dtype=dtype)

    def end(self) -> None:
        """Let the process end, and kill it if it does not."""
        with contextlib.suppress(BrokenPipeError):
            self.requests.close()
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.replies.close()

    def _error_message(self) -> str:
        code = self.process.wait(_GRACE)
        self.errors.seek(0)
        lines = [line for line in self.errors.read().splitlines() if line.strip()]
        raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        return (raised or lines or [f"the process ended with code {code}"])[-1]


@contextlib.contextmanager
def start(
    program: str, n_threads: int, isa: str | None = None, precision: str = "highest"
) -> Iterator[Worker]:
    """Start a Worker whose process ends with the block.

    `isa` is the instruction set of the engine, by default the best one; `precision` is a key of
    `ways` of the program. Raises WorkerError if the program cannot be loaded.
    """
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
            start_new_session=True,  # only the parent gets Ctrl-C; it then ends this process
        )
        assert process.stdin is not None and process.stdout is not None  # they are pipes
        pipes = process.stdin, process.stdout, errors
        worker = Worker(program, precision, n_threads, process, *pipes)
        try:
            worker.ask("load", program=program, precision=precision)
            yield worker
        except BaseException:
            process.kill()
            raise
        finally:
            worker.end()
