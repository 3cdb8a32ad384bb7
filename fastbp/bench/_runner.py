"""Measure each program in its own process, all of them in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from . import _report as report
from ._assemble import assemble, compared
from ._client import Worker, WorkerError, start
from ._conditions import watch
from ._lane import Lane, Options
from ._layout import Failure, Report, Result
from ._memory import numpy_bytes
from ._peers import ENGINE, PRECISIONS, PROGRAMS
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
    ValueError
        A precision is unknown, or is not "highest" with another dtype than float32.
    """
    check_precisions(options)
    results = []
    with ExitStack() as stack:
        bench = _Bench(options, stack)
        for config, with_peers in selection:
            results.append(bench.result(config, peers if with_peers else ()))
            show(report.block(results[-1]))
    return assemble(options, bench.same, results, bench.failures)


def check_precisions(options: Options) -> None:
    """Raise ValueError if fastbp does not have one of the precisions in this dtype."""
    for name in options.precisions:
        if name not in PRECISIONS:
            raise ValueError(f"unknown precision {name!r}; known: {', '.join(PRECISIONS)}")
        if name != "highest" and options.dtype != "float32":
            raise ValueError(f"precision {name!r} needs float32; {options.dtype} has highest only")


class _Bench:
    """The processes of a run. Each one starts when it is first needed, and ends with the stack."""

    def __init__(self, options: Options, stack: ExitStack) -> None:
        self._options = options
        self._workers: dict[tuple[str, str, int], Worker] = {}
        self._stack = stack
        self._numpy_bytes = numpy_bytes()
        self._ways: dict[str, list[str]] = {}  # what `_ways_of` has found
        self.same: dict[str, list[str]] = {}
        self.failures: list[Failure] = []

    def result(self, config: Config, peers: Sequence[str]) -> Result:
        """Measure one configuration."""
        programs = [ENGINE, *(p for p in peers if config.kind in PROGRAMS[p].kinds)]
        named = [
            (program, way, n_threads)
            for program in programs
            for way in self._ways_of(program)
            for n_threads in self._options.threads
        ]
        lanes = [lane for name in named if (lane := self._lane(*name, config)) is not None]
        with watch([lane.worker.process.pid for lane in lanes]) as conditions:
            for i in range(self._options.rounds):
                for lane in lanes[:: -1 if i % 2 else 1]:
                    lane.time(self._options)
        with_memory = programs if self._options.peer_memory else [ENGINE]
        memory = {program: self._memory(program, config) for program in with_memory}
        return compared(config, lanes, self._options.precisions, conditions, memory)

    def _ways_of(self, program: str) -> list[str]:
        """Return the precisions of a program to measure.

        These are the precisions of the options for fastbp. For a peer, they are all that are as
        fine as the coarsest of these, without those whose products have the bits of "highest".
        """
        if program == ENGINE:
            return list(self._options.precisions)
        if program not in self._ways:
            ways = PROGRAMS[program].ways_for(max(self._options.precisions, key=PRECISIONS.index))
            same = self._same_bits(program, ways) if len(ways) > 1 else []
            if same:
                self.same[program] = same
            for way in same:
                self._workers.pop((program, way, self._options.threads[0])).end()
            self._ways[program] = [way for way in ways if way not in same]
        return self._ways[program]

    def _same_bits(self, program: str, ways: Sequence[str]) -> list[str]:
        """Return the precisions, without the first, whose products have the bits of the first."""
        n_threads = self._options.threads[0]
        try:
            products = {
                way: self._worker(program, way, n_threads).ask("product")["digest"] for way in ways
            }
        except WorkerError:
            return []  # the measurement will fail too, and note why
        return [way for way in ways[1:] if products[way] == products[ways[0]]]

    def _worker(self, program: str, way: str, n_threads: int) -> Worker:
        key = program, way, n_threads
        if key not in self._workers:
            process = start(program, n_threads, self._options.isa, way)
            self._workers[key] = self._stack.enter_context(process)
        return self._workers[key]

    def _lane(self, program: str, way: str, n_threads: int, config: Config) -> Lane | None:
        """Return a program that is ready to be timed. If a peer fails, note that; return None."""
        try:
            worker = self._worker(program, way, n_threads)
            source = worker.setup(config, self._options.dtype)["source"]
            repeats = worker.ask("calibrate", seconds=self._options.seconds)["repeats"]
            return Lane(worker, repeats, source)
        except WorkerError as error:
            if program == ENGINE:
                raise
            self._workers.pop((program, way, n_threads), None)
            self.failures.append(
                {
                    "config": config.name,
                    "program": program,
                    "precision": way,
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
