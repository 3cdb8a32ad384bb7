"""The layout of reports: `measure` returns a Report, and `fastbp bench --json` writes a File."""

from typing import Any, NotRequired, TypedDict

SCHEMA = "fastbp-bench/2"


class Summary(TypedDict):
    """Median, minimum and quartiles of a list of numbers, one number per round.

    A ratio is computed for each round; its summary is that of these ratios.
    """

    median: float
    min: float
    q1: float
    q3: float


class Run(TypedDict):
    """One program at one precision on one number of threads."""

    program: str
    precision: str  # a key of `ways` of the program
    threads: int
    us: Summary  # microseconds per step (or call)
    cpu_us: NotRequired[Summary]  # microseconds of processor time, all threads; not in version 1
    rounds_us: list[float]  # us for each round
    samples_per_second: float  # at the median
    gflops: float  # at the median
    cores_used: Summary  # processor seconds per second
    # gflops / (threads · peak of what makes the products: FMA, or bfloat16); only for fastbp
    peak_share: NotRequired[Summary]
    memory_bytes: NotRequired[int]  # peak memory, without NumPy and the data; only if measured


class Choice(TypedDict):
    """The fastest run of a program, by its median."""

    precision: str
    threads: int


class Comparison(TypedDict):
    """fastbp at one precision, and each peer at this precision or a finer one."""

    chosen: dict[str, Choice]  # {program: its fastest run}
    speedup: dict[str, Summary]  # {number of threads: time of fastbp on the first / on this number}
    over_highest: NotRequired[Summary]  # time of fastbp at "highest" / at this precision
    cpu_over_highest: NotRequired[float]  # the same for the least processor time on few threads
    ratios: dict[str, Summary]  # {peer: its time / that of fastbp, each at its fastest run}
    cpu_ratios: dict[str, float]  # {peer: the same for the least processor time on few threads}
    best: str | None  # the peer with the lowest median
    best_usual: str | None  # the same among the programs that are written in the usual way


class Conditions(TypedDict):
    """What the processors that this process may use did during the rounds; {} if not known."""

    steal: NotRequired[float]  # share that the host of a virtual machine gave to others
    others: NotRequired[float]  # share that other processes of this system used


class Result(TypedDict):
    """One configuration."""

    config: dict[str, Any]  # the fields of Config, and rows, n_steps, flops_per_sample
    data: str  # "synthetic", or the name of the data set
    peak_gflops: Summary  # FMA peak of one core in the dtype, measured between the steps
    conditions: Conditions
    runs: list[Run]
    comparisons: dict[str, Comparison]  # {precision of fastbp: the comparison}


class Failure(TypedDict):
    """A peer that could not be measured."""

    config: str
    program: str
    precision: str
    threads: int
    error: str


class Report(TypedDict):
    """All results of one run on one machine."""

    date: str  # ISO 8601, UTC
    machine: dict[str, Any]  # of fastbp.show_config; isa_fastest; versions {package: version}
    options: dict[str, Any]  # the fields of Options
    same: dict[str, list[str]]  # {peer: precisions with the bits of "highest", not measured}
    failures: list[Failure]
    results: list[Result]


class File(TypedDict):
    """Reports of any number of machines, one report each."""

    schema: str
    machines: list[Report]
