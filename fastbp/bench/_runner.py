"""Measure each program in its own process, all of them in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from . import _report as report
from ._client import Worker, WorkerError, start
from ._lane import Lane, Options
from ._layout import Failure, Report, Result
from ._memory import numpy_bytes
from ._peers import ENGINE, PROGRAMS
from ._suites import Config


def measure(
    selection: Sequence[tuple[Config, bool]],
    peers: Sequence[str],
    options: Options,
    show: Callable[[str], object] = lambda text: None,
) -> Report:
    """Measure some configurations and return a report.

    Parameters
    ----------
    selection : sequence of (Config, bool)
        The configurations, and for each of them whether the peers take part; see `select`.
    peers : sequence of str
        The names of the peers.
    options : Options
        How to measure.
    show : function, optional
        Called with a text about each configuration after it has been measured.

    Returns
    -------
    dict
        The report; `fastbp/bench/_layout.py` describes it. It also lists the peers that failed.

    Raises
    ------
    WorkerError
        fastbp itself could not be measured.
    """
    results = []
    with ExitStack() as stack:
        bench = _Bench(options, stack)
        for config, with_peers in selection:
            results.append(bench.result(config, peers if with_peers else ()))
            show(report.block(results[-1]))
    return report.assemble(options, results, bench.failures)


class _Bench:
    """The processes of a run. Each one starts when it is first needed, and ends with the stack."""

    def __init__(self, options: Options, stack: ExitStack) -> None:
        self._options = options
        self._workers: dict[tuple[str, int], Worker] = {}
        self._stack = stack
        self._numpy_bytes = numpy_bytes()
        self.failures: list[Failure] = []

    def result(self, config: Config, peers: Sequence[str]) -> Result:
        """Measure one configuration."""
        programs = [ENGINE, *(p for p in peers if config.kind in PROGRAMS[p].kinds)]
        named = [(program, n) for program in programs for n in self._options.threads]
        lanes = [lane for name in named if (lane := self._lane(*name, config)) is not None]
        for i in range(self._options.rounds):
            for lane in lanes[:: -1 if i % 2 else 1]:
                lane.time(self._options)
        with_memory = programs if self._options.peer_memory else [ENGINE]
        memory = {program: self._memory(program, config) for program in with_memory}
        return report.result(config, lanes, memory)

    def _lane(self, program: str, n_threads: int, config: Config) -> Lane | None:
        """Return a program that is ready to be timed. If a peer fails, note that; return None."""
        key = program, n_threads
        try:
            if key not in self._workers:
                process = start(program, n_threads, self._options.isa)
                self._workers[key] = self._stack.enter_context(process)
            worker = self._workers[key]
            source = worker.setup(config, self._options.dtype)["source"]
            repeats = worker.ask("calibrate", seconds=self._options.seconds)["repeats"]
            return Lane(worker, repeats, source)
        except WorkerError as error:
            if program == ENGINE:
                raise
            self._workers.pop(key, None)
            self.failures.append(
                {
                    "config": config.name,
                    "program": program,
                    "threads": n_threads,
                    "error": str(error),
                }
            )
            return None

    def _memory(self, program: str, config: Config) -> int | None:
        """Return the peak bytes of a process that trains, without NumPy and the data."""
        if self._numpy_bytes is None:
            return None
        with start(program, self._options.threads[0], self._options.isa) as worker:
            data_bytes = worker.setup(config, self._options.dtype)["data_bytes"]
            worker.ask("time", repeats=1, warm=False, peak_seconds=0.0)
            return int(worker.ask("memory")["bytes"] - self._numpy_bytes - data_bytes)
