"""The process in which one program is measured: requests on stdin, replies on stdout.

Each request and each reply is one line of JSON. The key "do" of a request names the action:

    load       program, precision                         → nothing
    product                                               → digest of the bits of products
    setup      config (fields of Config), threads, dtype  → source, data_bytes
    calibrate  seconds                                    → repeats
    time       repeats, warm, peak_seconds                → seconds and cpu_seconds per step; peak
                                                            and products_peak, or None
    memory                                                → bytes

The process ends at the end of stdin, or with a traceback on stderr if a request fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from itertools import pairwise
from typing import Any

import numpy as np

from .. import _core
from .._explain.measure import bf16_peak
from ._memory import peak_bytes
from ._peers import PROGRAMS
from ._suites import SUITES, Config
from ._timing import calibrate, elapsed

_PRODUCTS = sorted(
    {(c.batch, *layer) for c in SUITES["steps"].configs for layer in pairwise(c.widths)}
)  # m, k, n


class Bench:
    """A program, with one method for each action."""

    def load(self, program: str, precision: str) -> dict[str, object]:
        """Choose the program, once per process, and its precision."""
        self.program = PROGRAMS[program]()
        self.program.use(precision)
        return {}

    def product(self) -> dict[str, object]:
        """Return a digest of the bits of products of random matrices in float32.

        A library may choose its arithmetic by shape. The shapes are therefore those of all layers
        of the suite "steps".
        """
        rng, digest = np.random.default_rng(0), hashlib.sha256()
        for m, k, n in _PRODUCTS:
            A, B = (rng.standard_normal(shape, np.float32) for shape in ((m, k), (k, n)))
            digest.update(np.ascontiguousarray(self.program.product(A, B)).tobytes())
        return {"digest": digest.hexdigest()}

    def setup(self, config: dict[str, Any], threads: int, dtype: str) -> dict[str, object]:
        """Prepare the program for a configuration."""
        known = Config(**config | {"widths": tuple(config["widths"])})
        self.f64 = np.dtype(dtype) == np.float64
        data = self.program.setup(known, threads, dtype)
        return {"source": data.source, "data_bytes": data.nbytes}

    def calibrate(self, seconds: float) -> dict[str, object]:
        """Return how many repeats take about `seconds`."""
        return {"repeats": calibrate(self.program.run, seconds)}

    def time(self, repeats: int, warm: bool, peak_seconds: float) -> dict[str, object]:
        """Measure seconds and processor seconds per step; first the peaks of one core, if asked."""
        peak = products_peak = None
        if peak_seconds:
            peak = _core.fma_peak(self.f64, peak_seconds)
            program = self.program
            products_peak = bf16_peak(program.products, program.precision, peak_seconds) or peak
        if warm:
            self.program.run(1)
        seconds, used = elapsed(self.program.run, repeats)
        n_steps = repeats * self.program.n_steps
        return {
            "seconds": seconds / n_steps,
            "cpu_seconds": used / n_steps,
            "peak": peak,
            "products_peak": products_peak,
        }

    def memory(self) -> dict[str, object]:
        """Return the peak memory of this process."""
        return {"bytes": peak_bytes()}


def main() -> None:
    """Answer requests until the end of stdin."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of libraries goes to stderr
    bench = Bench()
    for line in sys.stdin:
        request = json.loads(line)
        reply = getattr(bench, request.pop("do"))(**request)
        print(json.dumps(reply), file=replies, flush=True)
