"""Measures where the time of a training step goes, and the limits of the machine.

A phase is compared with the nearer of two limits (Williams, Waterman & Patterson, "Roofline",
CACM 52(4), 2009): the operations of the cores, of the kind that makes the products, and the bytes
that they move through as much memory as a step uses. Both are measured in the same call.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any, Protocol

import numpy as np

from .. import _core
from .._checks import arguments as check
from .._config import isa, usable_cores
from .._precision import HIGHEST
from .._training.fit import data_set, plan_batches
from .._types import Array, Data, SessionOptions, SparseRows, Trainee
from ..activations import Activation
from ..errors import DivergenceError
from ..optim import Optimizer
from ..optim import resolve as resolve_optimizer
from .explanation import PHASES, PRODUCTS, Explanation, PhaseTime, Threads, megaflop

_SLICE = 0.05  # seconds between two looks at signals
_LIMIT_SECONDS = 0.05  # of each measurement of a limit
_MOST_BYTES = 1 << 28  # beyond every cache
_LEAST_LR = 1e-9


class Clocked(Protocol):
    """A session with clocks."""

    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]: ...

    def set_clocks(self, on: bool) -> None: ...

    def report(self) -> Mapping[str, Any]: ...


class TimedLayer(Protocol):
    """What the phases of a layer depend on."""

    @property
    def W(self) -> Array: ...

    @property
    def trainable(self) -> bool: ...

    def parameters(self) -> dict[str, Array]: ...


class Timed(Trainee, Protocol):
    """A network on the engine."""

    @property
    def layers(self) -> Sequence[TimedLayer]: ...

    @property
    def activations(self) -> tuple[Activation, ...]: ...

    @property
    def l1(self) -> float: ...

    @property
    def l2(self) -> float: ...

    def _timed_session(
        self, data: Data, optimizer: Optimizer, options: SessionOptions
    ) -> Clocked: ...


def explain(
    net: Timed,
    X: object,
    y: object,
    *,
    batch_size: int = 64,
    optimizer: str | Optimizer = "adam",
    sample_weight: object = None,
    n_threads: int | None = None,
    seconds: float = 0.5,
) -> Explanation:
    """The measured explanation of a step; `fastbp.Network.explain` describes the arguments."""
    rows, targets, s = data_set(net, X, y, sample_weight)
    batch_size = check.check_at_most_all(batch_size, "batch_size")
    net.criterion.check_batch_size(batch_size)
    n_threads = 0 if n_threads is None else check.check_n_threads(n_threads, "n_threads")
    seconds = check.check_positive(seconds, "seconds")
    copied = copy.deepcopy(resolve_optimizer(optimizer))  # its moments matter for the time
    net._bind(copied)
    batch_size, _ = plan_batches(len(rows), batch_size, 1, copied)
    shown = repr(copied)
    copied.lr = min(copied.lr, _LEAST_LR)  # so that every step is one of the network as it is
    n = len(rows) // batch_size * batch_size
    weights = None if s is None else np.ones(n, net.dtype)  # a batch of weight 0 would be no step
    whole = (rows[:n], None if targets is None else targets[:n], weights)
    session = net._timed_session(whole, copied, SessionOptions(batch_size, True, n_threads))

    f64 = net.dtype == np.float64
    before = _peaks(net, session)
    _run(session, 0.0)  # one step, which warms up pages, caches and threads
    began = perf_counter(), process_time()
    _alternate(session, seconds)
    elapsed, busy = perf_counter() - began[0], process_time() - began[1]
    report = session.report()
    threads = _threads(report, asked=n_threads > 0)
    fma_peak, bf16_peak = map(max, before, _peaks(net, session))
    n_bytes = report["bytes"] + net.theta.nbytes * (1 + copied.n_moments)
    n_bytes = min(n_bytes, _MOST_BYTES)
    rate = _core.memory_rate(f64, n_bytes, threads.at_once, _LIMIT_SECONDS)

    peaks = fma_peak * threads.at_once, bf16_peak * threads.at_once
    step = _Step(
        net, report, batch_size, copied.n_moments, isinstance(rows, SparseRows), *peaks, rate
    )
    return Explanation(
        widths=net.widths,
        activations=tuple(str(activation) for activation in net.activations),
        loss=str(net.criterion),
        dtype=str(net.dtype),
        matmul_precision=net.matmul_precision,
        products=report["products"],
        optimizer=shown,
        batch_size=batch_size,
        isa=isa(),
        tune=_core.tune(),
        steps=report["clocked"]["steps"],
        step_us=step.seconds * 1e6,
        plain_step_us=step.plain_seconds * 1e6,
        samples_per_second=batch_size / step.plain_seconds,
        gflops=step.gflops,
        of_peak=step.of_peak,
        fma_peak=fma_peak,
        bf16_peak=bf16_peak or None,
        memory_rate=rate,
        memory_bytes=n_bytes,
        cpu_share=min(1.0, busy / (elapsed * threads.at_once)),
        threads=threads,
        copies=step.copies(),
        row_blocks=report["row_blocks"],
        weight_tiles=report["tiles"],
        arena_bytes=report["bytes"],
        phases=tuple(step.phases()),
    )


def bf16_peak(products: str, precision: str, seconds: float) -> float:
    """GFLOP/s of one thread for products in bfloat16 at that precision of their factors.

    `products` is as in `Explanation`. Returns 0 if they are made in another way.
    """
    if products != isa():
        return 0.0
    return _core.bf16_peak(_planes(precision), seconds)


def _planes(precision: str) -> int:
    """How many numbers in bfloat16 stand for a factor."""
    return 2 if precision == "high" else 1


def _peaks(net: Timed, session: Clocked) -> tuple[float, float]:
    """`fma_peak` and `bf16_peak` of an `Explanation`, measured once."""
    products = session.report()["products"]
    return (
        _core.fma_peak(net.dtype == np.float64, _LIMIT_SECONDS),
        bf16_peak(products, net.matmul_precision, _LIMIT_SECONDS),
    )


def _run(session: Clocked, seconds: float) -> None:
    diverged, _, epoch, step, _, last = session.run(seconds)
    if diverged:
        raise DivergenceError(last, epoch=epoch, step=step)


def _alternate(session: Clocked, seconds: float) -> None:
    """Run steps with clocks and without, in turn, so that both see the same machine."""
    turn = min(_SLICE, seconds / 4)
    end = perf_counter() + seconds
    while True:
        for clocks in (True, False):
            session.set_clocks(clocks)
            left = turn
            until = perf_counter() + turn
            while left > 0:  # a run ends with the epoch
                _run(session, left)
                left = until - perf_counter()
        if perf_counter() >= end:
            return


def _threads(report: Mapping[str, Any], *, asked: bool) -> Threads:
    used, planned, allowed = (report[f"threads{end}"] for end in ("", "_planned", "_allowed"))
    work, each = report["step_work"], report["thread_work"]
    amount, needed = megaflop(work), megaflop(each)
    if used < planned:
        why = f"{planned} were wanted, but the pool was busy or could not start them"
    elif allowed == 1:
        why = "n_threads=1" if asked else "this process is to use one"
    elif planned < allowed:
        why = f"a step is worth {amount}, and every thread has to get {needed}"
    else:
        why = f"all that are allowed; a step is worth {amount}, enough for them"
    return Threads(used, allowed, usable_cores(), work, each, report["next_rows"], why)


@dataclass(frozen=True)
class _Step:
    """The mean step: the times by the engine's clocks, and operations and bytes of each phase.

    sparse: whether the rows of X are. The peaks in GFLOP/s and rate, in GB/s, are those of all
    threads that run at the same time; bf16_peak 0: no such products; rate 0: not measured.
    """

    net: Timed
    report: Mapping[str, Any]
    batch: int
    n_moments: int
    sparse: bool
    fma_peak: float
    bf16_peak: float
    rate: float

    @property
    def seconds(self) -> float:
        return self._seconds("clocked")

    @property
    def plain_seconds(self) -> float:
        return self._seconds("plain")

    def _seconds(self, kind: str) -> float:
        runs = self.report[kind]
        return max(float(runs["seconds"]), 1e-9) / int(runs["steps"])

    @property
    def gflops(self) -> float:
        return sum(self._operations(*place) for place in self._places()) / self.plain_seconds / 1e9

    @property
    def of_peak(self) -> float:
        """The time that the peaks would allow for the products, as a share of the step."""
        least = sum(self._operations(*place) / self._peak(place[0]) for place in self._places())
        return least / 1e9 / self.plain_seconds

    def phases(self) -> list[PhaseTime]:
        """The phases, layer by layer, then those of no layer; the sum of the shares is 1."""
        clocks = [
            dict(zip(PHASES, layer["seconds"], strict=True)) for layer in self.report["layers"]
        ]
        clocked = sum(sum(clock.values()) for clock in clocks)
        for clock, layer in zip(clocks, self.report["layers"], strict=True):
            if layer["outer"]:  # the sums of δ are all that is left of the gradient
                clock["update"] += clock.pop("gradient")
        places = set(self._places())
        for l, clock in enumerate(clocks[1:], 1):  # passing by a frozen layer is nobody's phase
            passed = [phase for phase in clock if (l, phase) not in places]
            clocks[0]["other"] += sum(clock[phase] for phase in passed)
        # what the threads had; the rest of it they spent outside the region, without work
        whole = max(clocked, self.report["threads"] * self.report["clocked"]["seconds"])
        found = [self._phase(l, phase, clocks[l][phase] / whole) for l, phase in self._places()]
        for phase, idle in (("waiting", whole - clocked), ("other", 0.0)):
            share = (clocks[0][phase] + idle) / whole
            found.append(PhaseTime(None, phase, None, share * self.seconds * 1e6, share))
        return found

    def copies(self) -> str:
        """Which copies of W are kept, and why."""
        limit, layers = self.report["copies_above"], self.report["layers"]
        rounded = self.net.matmul_precision != HIGHEST
        names = ("Wᵀ", "W" if self.bf16_peak else "W in panels")
        kept = [
            f"{name} of {_layers([l for l, layer in enumerate(layers) if layer[kind]])}"
            for kind, name in zip(("transposed", "panels"), names, strict=True)
            if any(layer[kind] for layer in layers)
        ]
        if kept and rounded:
            factors = "factors in bfloat16" if self.bf16_peak else "rounded factors"
            return f"{'; '.join(kept)}: products read {factors}"
        if kept:
            return f"{'; '.join(kept)}: a batch of more than {limit} rows repays them"
        if self.sparse and len(self.net.layers) == 1:
            return "none: a single layer sends no δ back, and products of sparse rows read W itself"
        if self.batch <= limit:
            return f"none: a batch of at most {limit} rows would not repay them"
        return "none: a single layer sends no δ back, and its rows of W are short"

    def _places(self) -> list[tuple[int, str]]:
        """(l, phase) of every phase that a layer has, l = 1 … L."""
        last = len(self.net.layers)
        absent = {(1, "delta")}
        absent |= {(l, "gradient") for l in range(1, last + 1) if self._layer(l)["outer"]}
        frozen = [l for l, layer in enumerate(self.net.layers, 1) if not layer.trainable]
        absent |= {(l, phase) for l in frozen for phase in ("gradient", "update")}
        lowest = min(set(range(1, last + 1)) - set(frozen), default=last + 1)
        absent |= {(l, "delta") for l in range(1, min(lowest, last) + 1)}
        if not self._penalised:
            absent |= {(l, "loss") for l in range(1, last)}
        every = ((l, phase) for l in range(1, last + 1) for phase in PHASES[:5])
        return [place for place in every if place not in absent]

    def _layer(self, l: int) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.report["layers"][l]
        return found

    @property
    def _penalised(self) -> bool:
        return self.net.l1 > 0 or self.net.l2 > 0

    def _phase(self, l: int, phase: str, share: float) -> PhaseTime:
        seconds = max(share * self.seconds, 1e-12)
        operations, n_bytes = self._operations(l, phase), self._bytes(l, phase)
        by_peak = operations / (self._peak(l) * 1e9)
        by_memory = n_bytes / (self.rate * 1e9) if self.rate > 0 else 0.0
        return PhaseTime(
            layer=l,
            phase=phase,
            kernel=self._kernel(l, phase),
            us=share * self.seconds * 1e6,
            share=share,
            gflops=operations / seconds * 1e-9 if operations else None,
            gbytes=n_bytes / seconds * 1e-9,
            limit=("bf16" if self._in_bf16(l) else "fma") if by_peak > by_memory else "memory",
            of_limit=max(by_peak, by_memory) / seconds,
        )

    def _in_bf16(self, l: int) -> bool:
        """Whether the products of layer l are made in bfloat16; those of sparse rows are not."""
        return self.bf16_peak > 0 and not (l == 1 and self.sparse)

    def _peak(self, l: int) -> float:
        return self.bf16_peak if self._in_bf16(l) else self.fma_peak

    def _operations(self, l: int, phase: str) -> int:
        product = phase in PRODUCTS or (phase == "update" and self._layer(l)["outer"])
        return 2 * self.net.layers[l - 1].W.size * self.batch if product else 0

    def _bytes(self, l: int, phase: str) -> int:
        """The bytes of a phase: every operand read once, every result written once."""
        (n_in, n_out), batch = self.net.layers[l - 1].W.shape, self.batch
        categories = self.net.dense[l - 1].categories
        tables = {} if categories is None else categories.shapes()
        parameters = self.net.layers[l - 1].parameters().items()
        sizes = [self._rows_read(l) if name in tables else x.size for name, x in parameters]
        W, b, x, out = n_in * n_out, sum(sizes[1:]), batch * n_in, batch * n_out
        output = out if l == len(self.net.layers) else 0
        copies = self._layer(l)["panels"] + self._layer(l)["transposed"]
        own = self.net.dtype.itemsize
        in_bf16 = self._in_bf16(l)
        factor = 2 * _planes(self.net.matmul_precision) if in_bf16 else own
        forms = 2 * factor if in_bf16 else 0  # a result becomes two factors of later products
        n_bytes = {
            "forward": (W + x) * factor + b * own + out * (own + forms),  # and a^{l-1}, a^l
            "loss": (3 * output + W * self._penalised) * own,  # a^L or z^L, y, δ^L
            "delta": (W + out) * factor + x * (2 * own + forms),  # and δ^l, a^{l-1}, δ^{l-1}
            "gradient": (x + out) * factor,  # a^{l-1}, δ^l; the sums stay in cache
            "update": 2 * (1 + self.n_moments) * (W + b) * own + W * copies * factor,
        }
        if self._layer(l)["outer"]:
            n_bytes["update"] += n_bytes["gradient"]
        return int(n_bytes[phase])

    def _rows_read(self, l: int) -> int:
        """The elements of tables that a batch reads, at most."""
        of = self.net.dense[l - 1].categories
        pairs = () if of is None else zip(of.levels, of.width, strict=True)
        return sum(min(n, self.batch) * width for n, width in pairs)

    def _kernel(self, l: int, phase: str) -> str:
        layer = self._layer(l)
        copies = layer["panels"] + layer["transposed"]
        update = "update_outer" if layer["outer"] else "update"
        if self._in_bf16(l) and phase in PRODUCTS:
            return "product in bfloat16"
        return {
            "forward": "gemm_nn, panels" if layer["panels"] else "gemm_nn",
            "loss": "loss_rows" if l == len(self.net.layers) else "penalty",
            "delta": "gemm_nn, transposed" if layer["transposed"] else "gemm_nt",
            "gradient": "gemm_tn",
            "update": update + ("", ", 1 copy", ", 2 copies")[copies],
        }[phase]


def _layers(numbers: list[int]) -> str:
    """Numbers of layers, ascending, as text.

    >>> _layers([3]), _layers([2, 3, 4])
    ('layer 3', 'layers 2 to 4')
    """
    first, last = numbers[0], numbers[-1]
    whole = numbers == list(range(first, last + 1))
    if first == last:
        return f"layer {first}"
    return f"layers {first} to {last}" if whole else f"layers {', '.join(map(str, numbers))}"
