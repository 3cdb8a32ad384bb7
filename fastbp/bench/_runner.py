"""Measuring: every program in a process of its own, all of them turn and turn about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from . import _report as report
from ._client import Worker, WorkerError, start
from ._lane import Lane, Options
from ._memory import numpy_bytes
from ._peers import ENGINE, PROGRAMS
from ._suites import Config


def measure(
    selection: Sequence[tuple[Config, bool]],
    peers: Sequence[str],
    options: Options,
    tell: Callable[[str], object] = lambda text: None,
) -> dict:
    """The report, as `fastbp.bench._report` describes it.

    selection: configurations, and whether the peers named join in. tell: hears of each
    configuration what is known of it when it is done. What a peer fails at is noted in the
    report; raises WorkerError if the engine fails.
    """
    bench = _Bench(options)
    with bench:
        results = []
        for config, with_peers in selection:
            results.append(bench.result(config, peers if with_peers else ()))
            tell(report.block(results[-1]))
    return report.assemble(options, results, bench.failures)


class _Bench:
    """The processes of a run, started when first needed."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._workers: dict[tuple[str, int], Worker] = {}
        self._stack = ExitStack()
        self._numpy_bytes = numpy_bytes()
        self.failures: list[dict] = []

    def __enter__(self) -> None:
        self._stack.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._stack.__exit__(*exception)

    def result(self, config: Config, peers: Sequence[str]) -> dict:
        """Everything about one configuration."""
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
        """A program ready to be timed; None, with a note of it, for a peer that is not up to it."""
        key = program, n_threads
        try:
            if key not in self._workers:
                worker = start(program, n_threads, self._options.isa)
                self._workers[key] = self._stack.enter_context(worker)
            worker = self._workers[key]
            source = worker.setup(config, self._options.dtype)["source"]
            repeats = worker.ask("calibrate", seconds=self._options.seconds)["repeats"]
            return Lane(worker, repeats, source)
        except WorkerError as error:
            if program == ENGINE:
                raise
            self._workers.pop(key, None)
            note = {"config": config.name, "program": program, "threads": n_threads}
            self.failures.append(note | {"error": str(error)})
            return None

    def _memory(self, program: str, config: Config) -> int | None:
        """Peak bytes of a process that trains, over one that imports NumPy and holds the data."""
        if self._numpy_bytes is None:
            return None
        with start(program, self._options.threads[0], self._options.isa) as worker:
            data_bytes = worker.setup(config, self._options.dtype)["data_bytes"]
            worker.ask("time", repeats=1, warm=False, peak_seconds=0.0)
            return worker.ask("memory")["bytes"] - self._numpy_bytes - data_bytes
