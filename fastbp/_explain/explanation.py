"""The result of `Network.explain`: figures, a table of them, and advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import groupby
from textwrap import wrap

from .._checks.words import counted
from .._core import bf16_rows, fastest_isa, isa_base
from .._html import shortened
from .._precision import HIGHEST, NAMES, described

PHASES = ("forward", "loss", "delta", "gradient", "update", "waiting", "other")  # order of C's enum
PRODUCTS = ("forward", "delta", "gradient")
_COLUMNS = 100


@dataclass(frozen=True)
class PhaseTime:
    """One phase of one layer in the mean step.

    Attributes
    ----------
    layer : int or None
        l = 1 … L. None for "waiting" and "other", which belong to no layer and have no limit.
    phase : str
        "forward", "loss", "delta", "gradient", "update", "waiting" or "other". A batch of few rows
        has no phase "gradient", because "update" computes the gradient.
    kernel : str or None
        The function of the engine, and which copies of W it reads or writes.
    us : float
        Microseconds, the mean of the threads.
    share : float
        The share of the step.
    gflops : float or None
        GFLOP/s of a product with 2·n_in·n_out·batch operations; None for a phase without one.
    gbytes : float or None
        GB/s, with each operand counted once.
    limit : str or None
        The nearer limit: "memory", or the operations of the product, "fma" or "bf16".
    of_limit : float or None
        The share of that limit that was reached.
    """

    layer: int | None
    phase: str
    kernel: str | None
    us: float
    share: float
    gflops: float | None = None
    gbytes: float | None = None
    limit: str | None = None
    of_limit: float | None = None


@dataclass(frozen=True)
class Threads:
    """How many threads the steps ran on, and why.

    Attributes
    ----------
    used : int
        How many threads the steps ran on.
    allowed : int
        `n_threads`, or `fastbp.get_num_threads()`.
    cpus : int
        How many CPUs this process can use.
    work : float
        What a step costs, in floating-point operations, the update included.
    work_each : float
        The least share of it for which a thread is used.
    next_batch : int
        The batch size from which one more thread would be used, if it were allowed.
    why : str
        The reason for `used`.
    """

    used: int
    allowed: int
    cpus: int
    work: float
    work_each: float
    next_batch: int
    why: str

    @property
    def at_once(self) -> int:
        """How many of the threads can run at the same time."""
        return min(self.used, self.cpus)


@dataclass(frozen=True)
class Explanation:
    """Where the time of a training step goes; `str` gives a table, `to_dict` plain types.

    Attributes
    ----------
    widths, activations, loss, dtype, matmul_precision, optimizer, batch_size, isa, tune
        What was timed; `tune` is the machine that the kernels are tuned for.
    products : str
        How the engine makes the matrix products: "f32", "f64", or in which way at a lower
        matmul_precision.
    steps : int
        How many steps were timed.
    step_us : float
        Microseconds of a step with the clocks running; the sum of `phases`.
    plain_step_us : float
        Microseconds of a step without clocks.
    samples_per_second, gflops, of_peak : float
        From plain_step_us: samples/s; GFLOP/s of the products only; and their share of the peak
        of all threads that run at the same time. The peak is bf16_peak, or fma_peak without it.
    fma_peak : float
        GFLOP/s of multiply-adds of one thread, in the dtype of the network.
    bf16_peak : float or None
        GFLOP/s of products in bfloat16 of one thread, whose factors are as exact as
        matmul_precision says; None if the engine makes the products in another way.
    memory_rate : float
        GB/s of all threads that run at the same time.
    memory_bytes : int
        The size of the memory in which memory_rate was measured.
    cpu_share : float
        The share of their time that the system gave the threads; less than 1 if they wait long or
        other programs run.
    threads : Threads
        How many threads the steps ran on, and why.
    copies : str
        Which copies of W the engine keeps, and why.
    row_blocks, weight_tiles : int
        Number of tasks in the two sweeps.
    arena_bytes : int
        The engine's own memory, without parameters and moments.
    phases : tuple of PhaseTime
        The times, layer by layer.
    """

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str
    dtype: str
    matmul_precision: str
    products: str
    optimizer: str
    batch_size: int
    isa: str
    tune: str
    steps: int
    step_us: float
    plain_step_us: float
    samples_per_second: float
    gflops: float
    of_peak: float
    fma_peak: float
    bf16_peak: float | None
    memory_rate: float
    memory_bytes: int
    cpu_share: float
    threads: Threads
    copies: str
    row_blocks: int
    weight_tiles: int
    arena_bytes: int
    phases: tuple[PhaseTime, ...]

    @property
    def advice(self) -> tuple[str, ...]:
        """One or two sentences about what costs most, and what would help."""
        return _advise(self)

    def total(self, phase: str) -> float:
        """The share of the step, 0 … 1, that a phase takes in all layers."""
        return sum(each.share for each in self.phases if each.phase == phase)

    def to_dict(self) -> dict[str, object]:
        """All fields and the advice, as dicts, lists, strings and numbers that JSON can hold."""
        fields = asdict(self) | {"advice": self.advice}
        return {name: _plain(value) for name, value in fields.items()}

    def __str__(self) -> str:
        return "\n".join([*_head(self), "", *_table(self), "", *_wrapped(self.advice)])


def _plain(value: object) -> object:
    """The value with lists in place of tuples, at every depth."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


# ---- the table ---------------------------------------------------------------------------


def _head(e: Explanation) -> list[str]:
    widths, activations = _runs(e.widths, "-"), _runs(tuple(map(shortened, e.activations)), ", ")
    kind = described(e.dtype, e.matmul_precision)
    t, used = e.threads, counted(e.threads.at_once, "thread")
    step = f"{_digits(e.plain_step_us)} µs; {_digits(e.step_us)} µs with the clocks of this table"
    speed = f"{e.samples_per_second:,.0f} samples/s, {e.gflops:.4g} GFLOP/s in products: "
    peak = "FMA" if e.bf16_peak is None else "bfloat16"
    speed += f"{_percent(e.of_peak)} of the {peak} peak of {used}"
    limits = f"{e.fma_peak:.4g} GFLOP/s a thread"
    limits += f", {e.bf16_peak:.4g} in bfloat16; " if e.bf16_peak is not None else "; "
    limits += f"{e.memory_rate:.4g} GB/s on {used}, "
    limits += f"through {_size(e.memory_bytes)}"
    threads = f"{t.used} of {t.allowed} allowed, {counted(t.cpus, 'CPU')}: {t.why}"
    facts = {
        "network": f"{widths} ({activations}; {shortened(e.loss)}), {kind}",
        "kernels": f"{e.isa}, tuned for {e.tune}; products in {e.products}",
        "batch": f"{e.batch_size}, {e.optimizer}",
        "step": step,
        "speed": speed,
        "limits": limits,
        "threads": f"{threads}; running {_percent(e.cpu_share)} of the time",
        "tasks": f"{counted(e.row_blocks, 'block')} of rows, "
        f"{counted(e.weight_tiles, 'tile')} of W",
        "copies": e.copies,
        "memory": f"{_size(e.arena_bytes)} and the parameters with their moments",
    }
    return _wrapped([f"{name:8} {fact}" for name, fact in facts.items()], indent=9)


def _table(e: Explanation) -> list[str]:
    digits = sum(e.step_us < limit for limit in (1e5, 1e3, 1e2))
    lines = [
        _row("layer", "units", "phase", "kernel", "µs", "share", "GFLOP/s", "GB/s", "of limit")
    ]
    before = None
    for p in e.phases:
        layer = units = limit = ""
        if p.layer is not None and p.layer != before:
            layer, units = str(p.layer), f"{e.widths[p.layer - 1]} -> {e.widths[p.layer]}"
        if p.limit is not None and p.of_limit is not None:
            limit = f"{100 * p.of_limit:3.0f} % {p.limit}"
        before = p.layer
        us, share = f"{p.us:.{digits}f}", f"{100 * p.share:.1f} %"
        gflops, gbytes = ("" if rate is None else f"{rate:.1f}" for rate in (p.gflops, p.gbytes))
        kernel = p.kernel or ""
        lines.append(_row(layer, units, p.phase, kernel, us, share, gflops, gbytes, limit))
    lines.append(_row("step ", "", "", "", f"{e.step_us:.{digits}f}", "100.0 %", "", "", ""))
    return lines


def _row(
    layer: object,
    units: str,
    phase: str,
    kernel: str,
    us: str,
    share: str,
    gflops: str,
    gbytes: str,
    limit: str,
) -> str:
    place = f"{layer:>5}{units:>14}  {phase:9}{kernel:23}"
    return f"{place}{us:>10}{share:>8}{gflops:>8}{gbytes:>7}  {limit}".rstrip()


def _wrapped(lines: list[str] | tuple[str, ...], indent: int = 0) -> list[str]:
    """Lines of at most _COLUMNS characters; continuation lines are indented."""
    return [part for line in lines for part in wrap(line, _COLUMNS, subsequent_indent=" " * indent)]


def _runs(values: tuple[object, ...], mark: str) -> str:
    """Values with a mark between them; three or more equal ones are shortened.

    >>> _runs((784, 256, 256, 256, 10, 10), "-")
    '784-256×3-10-10'
    """
    found = ((value, len(list(run))) for value, run in groupby(values))
    return mark.join(f"{value}×{n}" if n > 2 else mark.join([str(value)] * n) for value, n in found)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _digits(x: float) -> str:
    return f"{x:,.{sum(x < limit for limit in (1e3, 1e2, 10))}f}"


def megaflop(work: float) -> str:
    """Floating-point operations as text.

    >>> megaflop(4.1e5), megaflop(2.5e9)
    ('0.410 MFLOP', '2,500 MFLOP')
    """
    return f"{_digits(work / 1e6)} MFLOP"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.3g} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.3g} kB"


# ---- advice -------------------------------------------------------------------------------

Finding = tuple[float, str] | None  # the share of the step that it concerns, and a sentence


def _advise(e: Explanation) -> tuple[str, ...]:
    """The two findings with the largest share, or a sentence for the case that there is none."""
    found = sorted(filter(None, (rule(e) for rule in _RULES)), reverse=True)
    return tuple(text for _, text in found[:2]) or (_nothing_found(e),)


def _lower_isa(e: Explanation) -> Finding:
    best = fastest_isa()
    if e.isa == best:
        return None
    in_bf16 = any(0 < _bf16_rows(e, isa) <= e.batch_size for isa in (e.isa, best))
    if isa_base(e.isa) == isa_base(best) and not in_bf16:
        return None
    return 1.0, f"The kernels are those of {e.isa}: this machine has {best}, which is faster."


def _bf16_rows(e: Explanation, isa: str) -> int:
    """The batch size from which an ISA makes these products in bfloat16; 0: never."""
    return bf16_rows(isa, NAMES.index(e.matmul_precision))


def _rounded_in_float32(e: Explanation) -> Finding:
    if e.matmul_precision == HIGHEST or e.bf16_peak is not None:
        return None
    least = _bf16_rows(e, e.isa)
    text = f"The products at {e.matmul_precision} are made in float32, from rounded factors, which "
    text += f"is slower than {HIGHEST}: use matmul_precision {HIGHEST}"
    return 1.0, text + (f", or batches of {least} rows or more." if least else ".")


def _other_programs(e: Explanation) -> Finding:
    taken = 1 - e.cpu_share - e.total("waiting")
    if taken < 0.1:
        return None
    text = f"Other programs had the CPUs for {_percent(taken)} of the time: "
    return 1.0, text + "measure again when they are done."


def _crowded(e: Explanation) -> Finding:
    t = e.threads
    if t.used <= t.cpus:
        return None
    return 1.0, f"{t.used} threads share {counted(t.cpus, 'CPU')}: n_threads={t.cpus} is faster."


def _waiting(e: Explanation) -> Finding:
    share = e.total("waiting")
    if share < 0.1 or e.threads.used == 1 or _crowded(e) or _other_programs(e):
        return None
    text = f"The threads wait for each other for {_percent(share)} of the step: "
    return share, text + "a larger batch would give them more to do between two barriers."


def _idle_threads(e: Explanation) -> Finding:
    t = e.threads
    if t.used == t.allowed or t.next_batch <= e.batch_size:
        return None
    text = f"{counted(t.used, 'thread')}: a step worth {megaflop(t.work)} is below the threshold "
    text += f"of {t.used + 1}; batches of {t.next_batch} would reach it."
    return 1 - t.used / t.allowed, text


def _large_update(e: Explanation) -> Finding:
    share = e.total("update")
    if share < 0.2:
        return None
    text = f"The update takes {_percent(share)} of the step: "
    return share, text + "a larger batch would share it among more rows."


def _books(e: Explanation) -> Finding:
    share = e.total("other")
    if share < 0.1:
        return None
    text = f"Finding rows and keeping books take {_percent(share)} of the step: "
    return share, text + "a larger batch, or wider layers, would make them count for less."


def _slow_product(e: Explanation) -> Finding:
    """The product that loses the largest share of the step against its limit."""
    products = [(p, p.of_limit) for p in e.phases if p.phase in PRODUCTS and p.of_limit is not None]
    worst, of_limit = max(products, key=lambda pair: pair[0].share * (1 - pair[1]))
    lost = worst.share * (1 - of_limit)
    if lost < 0.1:
        return None
    text = f"Most is lost in layer {worst.layer}, {worst.phase}: {_percent(worst.share)} of the "
    return lost, text + f"step, at {_percent(of_limit)} of its limit ({worst.limit})."


_RULES = (
    *(_lower_isa, _rounded_in_float32, _other_programs, _crowded, _waiting, _idle_threads),
    *(_large_update, _books, _slow_product),
)


def _nothing_found(e: Explanation) -> str:
    share = _percent(sum(map(e.total, PRODUCTS)))
    less = "fewer units" if e.dtype == "float32" else "float32, fewer units"
    return (
        f"The products take {share} of the step and nothing else stands out: "
        f"{less} or more CPUs are what would make it faster."
    )
