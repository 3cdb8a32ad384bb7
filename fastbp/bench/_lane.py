"""What is measured together: the options of a run, and one program with its measurements."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import sleep

from ._client import Worker
from ._layout import Choice
from ._peers import ENGINE

_SETTLE = 0.005  # seconds for the threads of the program before to stop spinning


@dataclass(frozen=True)
class Options:
    """How to measure.

    Parameters
    ----------
    threads
        The numbers of threads that each program is run with.
    dtype
        The dtype of data and parameters.
    isa
        The instruction set of the engine; None for the default.
    precisions
        The precisions of fastbp's products. float64 has "highest" only.
    rounds
        Measurements of each program.
    seconds
        How long one measurement takes, about.
    peak_seconds
        How long the peak of the core is measured before each measurement of the engine.
    peer_memory
        Whether to measure the memory of the peers too.
    """

    threads: tuple[int, ...] = (1, 2)
    dtype: str = "float32"
    isa: str | None = None
    precisions: tuple[str, ...] = ("highest",)
    rounds: int = 9
    seconds: float = 0.1
    peak_seconds: float = 0.01
    peer_memory: bool = False


@dataclass
class Lane:
    """One program at one precision and number of threads, and its measurements so far."""

    worker: Worker
    repeats: int
    source: str
    seconds: list[float] = field(default_factory=list)  # per step, one entry per round
    cpu_seconds: list[float] = field(default_factory=list)  # processor time, all threads
    # GFLOP/s of one core, only of the engine's lanes: of FMA, and of what makes the products
    peaks: list[float] = field(default_factory=list)
    products_peaks: list[float] = field(default_factory=list)

    @property
    def is_engine(self) -> bool:
        """Whether the program is fastbp itself."""
        return self.worker.program == ENGINE

    @property
    def choice(self) -> Choice:
        """Precision and number of threads."""
        return {"precision": self.worker.precision, "threads": self.worker.n_threads}

    def time(self, options: Options) -> None:
        """One round."""
        sleep(_SETTLE)
        reply = self.worker.ask(
            "time",
            repeats=self.repeats,
            warm=self.repeats > 1,  # a single repeat that fills a round needs no warm-up
            peak_seconds=options.peak_seconds if self.is_engine else 0.0,
        )
        self.seconds.append(reply["seconds"])
        self.cpu_seconds.append(reply["cpu_seconds"])
        if self.is_engine:
            self.peaks.append(reply["peak"])
            self.products_peaks.append(reply["products_peak"])
