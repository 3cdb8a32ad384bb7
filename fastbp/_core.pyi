"""Types of the binding; _core.pyx and csrc/fastbp.h describe its functions.

tests/package/test_core_stub.py compares names, parameters and defaults with the compiled module.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt

from ._types import BoundParts, SparseRows, UpdateRule

# float32 or float64; the dtype of the network if one is involved.
_Floats: TypeAlias = npt.NDArray[np.floating[Any]]
_FloatsT = TypeVar("_FloatsT", npt.NDArray[np.float32], npt.NDArray[np.float64])
_Float32s: TypeAlias = npt.NDArray[np.float32]
_Float64s: TypeAlias = npt.NDArray[np.float64]
_Uint16s: TypeAlias = npt.NDArray[np.uint16]
# left, left_t, right, right_t
_Bf16Forms: TypeAlias = tuple[_Uint16s | None, _Uint16s | None, _Uint16s | None, _Uint16s | None]
_Int64s: TypeAlias = npt.NDArray[np.int64]
# Rows of X, of any dtype that the engine converts.
_Rows: TypeAlias = npt.NDArray[Any] | SparseRows
# Dense targets, class numbers, or None for a loss of pairs of rows.
_Targets: TypeAlias = _Floats | npt.NDArray[np.int32] | None
_Loss: TypeAlias = Callable[[bytearray, bytearray], tuple[_Float64s, _Floats]]
# no_bias, norm, norm_eps, dropout, residual, max_norm, non_negative, scale;
# numbers, n_frequencies, width, rectified, keeps, levels, level_widths
_LayerOptions: TypeAlias = tuple[
    bool,
    int,
    float,
    float,
    float,
    bool,
    float,
    bool,
    bool,
    int,
    int,
    int,
    bool,
    bool,
    tuple[int, ...],
    tuple[int, ...],
]

class _Program(Protocol):
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def constants(self) -> tuple[float, ...]: ...
    @property
    def temporaries(self) -> tuple[str, ...]: ...
    @property
    def code(self) -> tuple[tuple[str, int, int, int, int], ...]: ...
    @property
    def outputs(self) -> tuple[int, ...]: ...

# number of constants, per unit, (value, slope, push, curve)
_Formula: TypeAlias = tuple[int, bool, tuple[_Program, _Program, _Program, _Program]]

class _LayerReport(TypedDict):
    seconds: list[float]
    panels: bool
    transposed: bool
    outer: bool

class _Runs(TypedDict):
    steps: int
    seconds: float

class _Report(TypedDict):
    threads: int
    threads_planned: int
    threads_allowed: int
    threads_now: int
    threads_changes: int
    step_work: float
    thread_work: float
    next_rows: int
    copies_above: int
    row_blocks: int
    tiles: int
    products: str
    bytes: int
    clocked: _Runs
    plain: _Runs
    layers: list[_LayerReport]

CELL_KINDS: Final[dict[str, int]]
MAX_CELL: Final[int]

def available_isas() -> list[str]: ...
def select_isa(name: str) -> None: ...
def fastest_isa() -> str: ...
def isa() -> str: ...
def isa_base(name: str) -> str | None: ...
def bf16_rows(isa: str, precision: int) -> int: ...
def available_tunes() -> list[str]: ...
def select_tune(name: str) -> None: ...
def tune() -> str: ...
def machine() -> tuple[str, str, int, int, int]: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def stop_threads() -> bool: ...

ACTIVATIONS: dict[str, int]
SLOPES: dict[str, str]
LOSSES: dict[str, int]
ELEMENTS: dict[str, int]
VMATH: dict[str, int]
OPERATIONS: dict[str, int]
RULES: dict[str, int]
HYPERS: dict[str, int]

def note_fork() -> None: ...

class ReadWriteLock:
    def __init__(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *raised: object) -> None: ...
    def copy(self, array: np.ndarray) -> np.ndarray: ...

class Net:
    def __init__(
        self,
        widths: tuple[int, ...],
        activations: tuple[str, ...],
        alphas: tuple[float, ...],
        loss: str,
        f64: bool,
        l1: float,
        l2: float,
        loss_params: tuple[float, ...],
        n_targets: int,
        options: tuple[_LayerOptions, ...] = (),
        input_dropout: float = 0.0,
        function: _Loss | None = None,
        precision: int = 0,
        formulas: tuple[_Formula | None, ...] = (),
        loss_formula: tuple[_Program, _Program, _Program] | None = None,
        lock: ReadWriteLock | None = None,
        ignore_nan: bool = False,
    ) -> None: ...
    @property
    def n_params(self) -> int: ...
    @property
    def widths(self) -> tuple[int, ...]: ...
    def set_trainable(self, layer: int, trainable: bool) -> None: ...
    def products(self, rows: int) -> str: ...
    def fits(self, x: np.ndarray) -> bool: ...
    def predict(self, theta: _Floats, x: _Rows, out: _Floats) -> None: ...
    def cost(
        self,
        theta: _Floats,
        x: _Rows,
        y: _Targets,
        weights: _Floats | None,
        out: _Floats | None = None,
    ) -> float: ...
    def step(self, theta: _Floats, grad: _Floats, optimizer: UpdateRule) -> None: ...

class Buffer:
    def __buffer__(self, flags: int, /) -> memoryview: ...

class _Share(TypedDict):
    first: tuple[int, ...]
    piece: tuple[int, ...]
    slots: tuple[int, ...]
    head: Any
    heads: Any
    squares: Any
    sums: Any
    received: Any

class Pass:
    def __init__(self, net: Net, capacity: int) -> None: ...
    @property
    def net(self) -> Net: ...
    @property
    def capacity(self) -> int: ...
    def buffer(self, which: str, layer: int) -> Buffer: ...
    def overlaps(self, array: npt.NDArray[Any]) -> bool: ...
    def forward(self, theta: _Floats, x: _Rows, masks: tuple[int, int] | None = None) -> None: ...
    def backward(
        self, theta: _Floats, y: _Targets, weights: _Floats | None, grad: _Floats | None
    ) -> float: ...
    def backward_from(
        self, theta: _Floats, delta: _Floats, weights: _Floats | None, grad: _Floats
    ) -> None: ...
    def input_gradient(self, theta: _Floats, out: _Floats) -> None: ...

def backward_output(p: Pass, theta: _Floats, y: _Targets, weights: _Floats | None) -> float: ...
def move_statistics(p: Pass, theta: _Floats) -> None: ...
def backward_inject(p: Pass, delta: _Floats, weights: _Floats | None) -> None: ...
def backward_layer(p: Pass, theta: _Floats, layer: int) -> None: ...
def backward_gradient(p: Pass, theta: _Floats, grad: _Floats) -> None: ...
def pull_back(p: Pass, layer: int, g: _Floats) -> None: ...
def vjp(p: Pass, theta: _Floats, v: _Floats, out: _Floats) -> None: ...
def jacobian(p: Pass, theta: _Floats, out: _Floats) -> None: ...
def sample_gradients(p: Pass, out: _Floats) -> None: ...
def gradient_norms(p: Pass, out: _Float64s) -> None: ...
def relevance(p: Pass, theta: _Floats, outs: list[_Floats]) -> None: ...
def jvp(
    p: Pass, theta: _Floats, dx: _Floats | None, dtheta: _Floats | None, out: _Floats
) -> None: ...
def hvp(p: Pass, theta: _Floats, v: _Floats, out: _Floats) -> None: ...

class Packed: ...

class Population:
    def __init__(self, n_threads: int = 0) -> None: ...
    def interleave(self, choice: bool | None) -> None: ...
    def run(
        self, turns: list[tuple[Any, float, int]]
    ) -> list[tuple[list[list[float]], tuple[bool, bool, int, int, float, float] | Exception]]: ...

class Fit:
    @property
    def beside(self) -> int: ...
    @property
    def flags(self) -> int: ...
    def __init__(
        self,
        net: Net,
        theta: _Floats,
        x: _Rows,
        y: _Targets,
        weights: _Floats | None,
        optimizer: UpdateRule,
        batch_size: int,
        shuffle: bool,
        seed: int,
        n_threads: int = 0,
        part_rows: int = 0,
        population: Population | None = None,
        chosen: npt.NDArray[np.int32] | None = None,
        parts: BoundParts | None = None,
        rows_of_parts: npt.NDArray[np.intp] | None = None,
    ) -> None: ...
    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]: ...
    def set_rates(self, rates: _Float64s | None, momenta: _Float64s | None = None) -> None: ...
    def set_smoothing(
        self, n: int, smoothing: _Float64s | None, dropout: _Float64s | None
    ) -> None: ...
    def set_teams(self, sizes: npt.NDArray[np.int32] | None) -> None: ...
    def set_clocks(self, on: bool) -> None: ...
    def report(self) -> _Report: ...
    def raise_flags(self, flags: int) -> None: ...
    def share(self) -> _Share: ...
    def rebind(
        self,
        x: _Rows,
        y: _Targets,
        weights: _Floats | None,
        rows_of_parts: npt.NDArray[np.intp] | None = None,
    ) -> None: ...
    @property
    def place(self) -> tuple[int, int, int, int, float, float]: ...
    def seek(
        self, epoch: int, step: int, block: int, first: int, loss_sum: float, weight_sum: float
    ) -> None: ...

def shares(net: Net, n_ranks: int) -> tuple[int, ...]: ...

class CsvTexts:
    def __init__(self, n: int, max_bytes: int = -1) -> None: ...
    def take(
        self,
        column: int,
        values: _Float64s | None = None,
        codes: npt.NDArray[np.int32] | None = None,
        few: int = 0,
    ) -> tuple[list[str] | None, ValueError | None, list[int]]: ...

class CsvPass:
    def __init__(
        self,
        delimiter: str,
        decimal: str,
        thousands: str,
        n: int = 0,
        comment: str = "",
    ) -> None: ...
    @property
    def line(self) -> int: ...
    @property
    def n_cells(self) -> int: ...
    @property
    def n_marked(self) -> int: ...
    def width(self, block: bytearray, start: int, stop: int, last: bool) -> tuple[int, str]: ...
    def numbers(
        self,
        block: bytearray,
        start: int,
        stop: int,
        last: bool,
        values: _Float64s,
        lines: _Int64s,
        counts: _Int64s,
        first: _Int64s,
        kinds: npt.NDArray[np.uint8],
        texts: CsvTexts | None = None,
    ) -> tuple[int, int, str]: ...
    def texts(
        self,
        block: bytearray,
        start: int,
        stop: int,
        last: bool,
        chosen: tuple[int, ...],
        texts: CsvTexts,
        codes: _Int64s,
        wanted: npt.NDArray[np.uint8] | None = None,
    ) -> tuple[int, int, str]: ...

def vmath(name: str, x: _FloatsT, out: _FloatsT | None = None) -> _FloatsT: ...

class Program:
    def __init__(self, program: _Program) -> None: ...

def run_program(
    program: _Program,
    inputs: Sequence[npt.NDArray[Any]],
    shape: tuple[int, int],
    f64: bool = False,
    *,
    by_rows: bool | None = None,
    scale: _Floats | None = None,
    out: Sequence[_Floats] | None = None,
    repeats: int = 1,
) -> list[npt.NDArray[Any]]: ...
def round_factor(x: _FloatsT, precision: int, out: _FloatsT | None = None) -> _FloatsT: ...
def gemm(
    form: str,
    a: _Floats,
    b: _Floats,
    c: _Floats,
    *,
    bias: _Floats | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    aux: _Floats | None = None,
    z: _Floats | None = None,
    panels: bool = False,
    part_rows: npt.NDArray[np.intp] | None = None,
    repeats: int = 1,
) -> None: ...
def bf16_pack(
    x: _Float32s,
    forms: _Bf16Forms,
    *,
    planes: int = 1,
    listed: bool = False,
    repeats: int = 1,
) -> None: ...
def bf16_product(
    a: _Float32s,
    b: _Float32s,
    c: _Float32s,
    *,
    planes: int = 1,
    bias: _Float32s | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    aux: _Float32s | None = None,
    z: _Float32s | None = None,
    forms: _Bf16Forms = (None, None, None, None),
    repeats: int = 1,
) -> None: ...
def fma_peak(f64: bool = False, seconds: float = 0.2) -> float: ...
def bf16_peak(planes: int = 1, seconds: float = 0.2) -> float: ...
def memory_rate(
    f64: bool = False, bytes: int = 268435456, n_threads: int = 0, seconds: float = 0.05
) -> float: ...
def pool_latency(n_threads: int, repeats: int) -> float: ...
