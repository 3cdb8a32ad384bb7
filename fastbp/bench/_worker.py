"""The process in which one program is measured: orders on stdin, replies on stdout.

Both are lines of JSON. An order names what to do under "do":

    setup      program, config (fields of Config), threads, dtype  → source, data_bytes
    calibrate  seconds                                              → repeats
    time       repeats, warm, peak_seconds                          → seconds (a step), cores, peak
    memory                                                          → bytes

An order that fails ends the process with a traceback on stderr, the end of stdin without one.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

from .. import _core
from ._memory import peak_bytes
from ._peers import PROGRAMS
from ._suites import Config
from ._timing import calibrate, elapsed


class Bench:
    """A program that is set up, and what can be asked of it."""

    def setup(self, program: str, config: dict, threads: int, dtype: str) -> dict:
        config = Config(**config | {"widths": tuple(config["widths"])})
        self.program = PROGRAMS[program]()
        self.f64 = np.dtype(dtype) == np.float64
        data = self.program.setup(config, threads, dtype)
        return {"source": data.source, "data_bytes": data.nbytes}

    def calibrate(self, seconds: float) -> dict:
        return {"repeats": calibrate(self.program.run, seconds)}

    def time(self, repeats: int, warm: bool, peak_seconds: float) -> dict:
        """Seconds a step, cores used, and the peak of one measured just before, if wanted."""
        peak = _core.fma_peak(self.f64, peak_seconds) if peak_seconds else None
        if warm:
            self.program.run(1)
        seconds, used = elapsed(self.program.run, repeats)
        each = seconds / (repeats * self.program.n_steps)
        return {"seconds": each, "cores": used / seconds, "peak": peak}

    def memory(self) -> dict:
        return {"bytes": peak_bytes()}


def main() -> None:
    """Answer orders until there are no more."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes where errors go
    bench = Bench()
    for line in sys.stdin:
        order = json.loads(line)
        reply = getattr(bench, order.pop("do"))(**order)
        print(json.dumps(reply), file=replies, flush=True)
