"""Measures where the time of a training step goes, and what the machine could do at best.

A phase is held against the nearer of two limits (Williams, Waterman & Patterson, "Roofline",
CACM 52(4), 2009): the multiply-adds of the cores, and the bytes that they move through as much
memory as a step works on. Both are measured in the same call.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .._checks import arguments as check
from .._config import isa, usable_cores
from .._network.base import aligned_zeros
from .._training.fit import cut
from ..errors import DivergenceError
from ..optim import Optimizer
from ..optim import resolve as resolve_optimizer
from .explanation import PHASES, PRODUCTS, Explanation, PhaseTime, Threads, megaflop

if TYPE_CHECKING:
    from .._network.network import Network

_SLICE = 0.05  # seconds between two looks at signals
_LIMIT_SECONDS = 0.05  # of each measurement of a limit
_MOST_BYTES = 1 << 28  # beyond every cache
_LEAST_LR = 1e-9


def explain(
    net: Network,
    X: object,
    y: object,
    *,
    batch_size: int = 64,
    optimizer: str | Optimizer = "adam",
    sample_weight: object = None,
    n_threads: int | None = None,
    seconds: float = 0.5,
) -> Explanation:
    """See `fastbp.Network.explain`."""
    X, y, s = data = net._data(X, y, sample_weight, "X")
    batch_size = check.check_at_most_all(batch_size, "batch_size")
    net.criterion.check_batch_size(batch_size)
    n_threads = 0 if n_threads is None else check.check_n_threads(n_threads, "n_threads")
    seconds = check.check_positive(seconds, "seconds")
    optimizer = _copied(net, optimizer)
    batch_size, _ = cut(data, batch_size, 1, optimizer)
    shown = repr(optimizer)
    optimizer.lr = min(optimizer.lr, _LEAST_LR)  # every step is one of the network as it stands
    rows = len(X) // batch_size * batch_size
    weights = None if s is None else np.ones(rows, net.dtype)  # a batch of zeros would be no step
    theta = aligned_zeros(net.theta.size, net.dtype)
    theta[...] = net.theta
    options = (batch_size, True, net.seed, n_threads)
    fit = _core.Fit(
        net._net, theta, X[:rows], None if y is None else y[:rows], weights, optimizer, *options
    )

    f64 = net.dtype == np.float64
    peak = _core.fma_peak(f64, _LIMIT_SECONDS)
    _run(fit, 0.0)  # one step, which finds its pages, caches and threads
    elapsed = perf_counter(), process_time()
    _alternate(fit, seconds)
    elapsed = perf_counter() - elapsed[0], process_time() - elapsed[1]
    report = fit.report()
    threads = _threads(report, asked=n_threads > 0)
    peak = max(peak, _core.fma_peak(f64, _LIMIT_SECONDS))
    n_bytes = report["bytes"] + theta.nbytes * (1 + optimizer.n_moments)
    n_bytes = min(n_bytes, _MOST_BYTES)
    rate = _core.memory_rate(f64, n_bytes, threads.at_once, _LIMIT_SECONDS)

    step = _Step(net, report, batch_size, optimizer.n_moments, peak * threads.at_once, rate)
    gflops = step.gflops
    return Explanation(
        widths=net.widths,
        activations=tuple(str(activation) for activation in net.activations),
        loss=str(net.criterion),
        dtype=str(net.dtype),
        optimizer=shown,
        batch_size=batch_size,
        isa=isa(),
        steps=report["clocked"]["steps"],
        step_us=step.seconds * 1e6,
        plain_step_us=step.plain_seconds * 1e6,
        samples_per_second=batch_size / step.plain_seconds,
        gflops=gflops,
        of_peak=gflops / step.peak,
        fma_peak=peak,
        memory_rate=rate,
        memory_bytes=n_bytes,
        cpu_share=min(1.0, elapsed[1] / (elapsed[0] * threads.at_once)),
        threads=threads,
        copies=step.copies(),
        row_blocks=report["row_blocks"],
        weight_tiles=report["tiles"],
        arena_bytes=report["bytes"],
        phases=tuple(step.phases()),
    )


def _copied(net: Network, optimizer: str | Optimizer) -> Optimizer:
    """A copy with the moments as they are, for steps take longer or less long with them.

    Of the one that partial_fit keeps, if this is the name by which it was given.
    """
    kept = getattr(net, "_partial", None)
    if isinstance(optimizer, str) and kept is not None and kept.spec == optimizer:
        optimizer = kept.optimizer
    optimizer = copy.deepcopy(resolve_optimizer(optimizer))
    net._bind(optimizer)
    return optimizer


def _run(fit: _core.Fit, seconds: float) -> None:
    diverged, _, epoch, step, _, last = fit.run(seconds)
    if diverged:
        raise DivergenceError(last, epoch=epoch, step=step)


def _alternate(fit: _core.Fit, seconds: float) -> None:
    """Steps with clocks and without, in turn, so that both see the same machine."""
    turn = min(_SLICE, seconds / 4)
    end = perf_counter() + seconds
    while True:
        for clocks in (True, False):
            fit.set_clocks(clocks)
            left = turn
            until = perf_counter() + turn
            while left > 0:  # a run ends with the epoch
                _run(fit, left)
                left = until - perf_counter()
        if perf_counter() >= end:
            return


def _threads(report: dict[str, Any], *, asked: bool) -> Threads:
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
    """The mean step: what the engine's clocks say, with the operations and bytes of each phase.

    peak: GFLOP/s, and rate: GB/s, of all threads that run at once; rate 0: not measured.
    """

    net: Network
    report: dict[str, Any]
    batch: int
    n_moments: int
    peak: float
    rate: float

    @property
    def seconds(self) -> float:
        runs = self.report["clocked"]
        return max(runs["seconds"], 1e-9) / runs["steps"]

    @property
    def plain_seconds(self) -> float:
        runs = self.report["plain"]
        return max(runs["seconds"], 1e-9) / runs["steps"]

    @property
    def gflops(self) -> float:
        return sum(self._operations(*place) for place in self._places()) / self.plain_seconds / 1e9

    def phases(self) -> list[PhaseTime]:
        """Layer by layer, then what belongs to none; the shares add up to 1."""
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
        kept = [
            f"{name} of {_layers([l for l, layer in enumerate(layers) if layer[kind]])}"
            for kind, name in (("transposed", "Wᵀ"), ("panels", "W in panels"))
            if any(layer[kind] for layer in layers)
        ]
        if kept:
            return f"{'; '.join(kept)}: a batch of more than {limit} rows repays them"
        if self.batch <= limit:
            return f"none: a batch of at most {limit} rows would not repay them"
        return "none: a single layer sends no δ back, and its rows of W are short"

    def _places(self) -> list[tuple[int, str]]:
        """(l, phase) of everything that is done in a layer, l = 1 … L."""
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

    def _layer(self, l: int) -> dict[str, Any]:
        return self.report["layers"][l]

    @property
    def _penalised(self) -> bool:
        return self.net.l1 > 0 or self.net.l2 > 0

    def _phase(self, l: int, phase: str, share: float) -> PhaseTime:
        seconds = max(share * self.seconds, 1e-12)
        operations, n_bytes = self._operations(l, phase), self._bytes(l, phase)
        by_fma = operations / (self.peak * 1e9)
        by_memory = n_bytes / (self.rate * 1e9) if self.rate > 0 else 0.0
        return PhaseTime(
            layer=l,
            phase=phase,
            kernel=self._kernel(l, phase),
            us=share * self.seconds * 1e6,
            share=share,
            gflops=operations / seconds * 1e-9 if operations else None,
            gbytes=n_bytes / seconds * 1e-9,
            limit="fma" if by_fma > by_memory else "memory",
            of_limit=max(by_fma, by_memory) / seconds,
        )

    def _operations(self, l: int, phase: str) -> int:
        product = phase in PRODUCTS or (phase == "update" and self._layer(l)["outer"])
        return 2 * self.net.layers[l - 1].W.size * self.batch if product else 0

    def _bytes(self, l: int, phase: str) -> int:
        """Every operand read once, every result written once."""
        (n_in, n_out), batch = self.net.layers[l - 1].W.shape, self.batch
        sizes = [block.size for block in self.net.layers[l - 1].parameters().values()]
        W, b, rows = n_in * n_out, sum(sizes[1:]), batch * (n_in + n_out)
        output = batch * n_out if l == len(self.net.layers) else 0
        copies = self._layer(l)["panels"] + self._layer(l)["transposed"]
        elements = {
            "forward": W + b + rows,  # and a^{l-1}, a^l
            "loss": 3 * output + W * self._penalised,  # a^L or z^L, y, δ^L
            "delta": W + rows + batch * n_in,  # and δ^l, δ^{l-1}, a^{l-1}
            "gradient": rows,  # a^{l-1}, δ^l; the sums stay in cache
            "update": 2 * (1 + self.n_moments) * (W + b) + W * copies,
        }
        if self._layer(l)["outer"]:
            elements["update"] += elements["gradient"]
        return elements[phase] * self.net.dtype.itemsize

    def _kernel(self, l: int, phase: str) -> str:
        layer = self._layer(l)
        copies = layer["panels"] + layer["transposed"]
        update = "update_outer" if layer["outer"] else "update"
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
