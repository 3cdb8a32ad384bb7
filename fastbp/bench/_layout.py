"""The layout of a report, as `measure` returns it and `fastbp bench --json` writes it."""

from typing import Any, NotRequired, TypedDict

SCHEMA = "fastbp-bench/1"


class Summary(TypedDict):
    """Median, minimum and quartiles of a list of numbers, one number per round.

    A ratio is computed for each round; its summary is that of these ratios.
    """

    median: float
    min: float
    q1: float
    q3: float


class Run(TypedDict):
    """One program on one number of threads."""

    program: str
    threads: int
    us: Summary  # microseconds per step (or call)
    rounds_us: list[float]  # the same for each round
    samples_per_second: float  # at the median
    gflops: float  # at the median
    cores_used: Summary  # processor seconds per second
    peak_share: NotRequired[Summary]  # gflops / (threads · peak); only for fastbp
    memory_bytes: NotRequired[int]  # peak memory, without NumPy and the data; only if measured


class Result(TypedDict):
    """One configuration."""

    config: dict[str, Any]  # the fields of Config, and rows, n_steps, flops_per_sample
    data: str  # "synthetic", or the name of the data set
    peak_gflops: Summary  # FMA peak of one core, measured between the steps
    runs: list[Run]
    threads: dict[str, int]  # {program: the number of threads with the lowest median}
    speedup: dict[str, Summary]  # {number of threads: time of fastbp on the first / on this number}
    ratios: dict[str, Summary]  # {peer: its time / that of fastbp, each at its best threads}
    best: str | None  # the peer with the lowest median
    best_usual: str | None  # the same among the programs that are written in the usual way


class Failure(TypedDict):
    """A peer that could not be measured."""

    config: str
    program: str
    threads: int
    error: str


class Report(TypedDict):
    """A whole report."""

    schema: str
    date: str  # ISO 8601, UTC
    machine: dict[str, Any]  # what fastbp.show_config shows, and versions {package: version}
    options: dict[str, Any]  # the fields of Options
    failures: list[Failure]
    results: list[Result]
