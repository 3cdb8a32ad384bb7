"""Types of the binding; what each thing does is said in _core.pyx and csrc/fastbp.h."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .optim import Optimizer

def available_isas() -> list[str]: ...
def select_isa(name: str) -> None: ...
def isa() -> str: ...
def machine() -> tuple[str, int, int, int]: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...

class Net:
    n_params: int
    widths: tuple[int, ...]
    def __init__(
        self,
        widths: tuple[int, ...],
        activations: tuple[int, ...],
        alphas: tuple[float, ...],
        loss: int,
        f64: bool,
        l1: float,
        l2: float,
        loss_params: tuple[float, ...],
        n_targets: int,
        options: tuple[tuple[float, ...], ...] = (),
        input_dropout: float = 0.0,
        function: Callable[[bytearray, bytearray], tuple[np.ndarray, np.ndarray]] | None = None,
    ) -> None: ...
    def set_trainable(self, layer: int, trainable: bool) -> None: ...
    def predict(self, theta: np.ndarray, x: np.ndarray, out: np.ndarray) -> None: ...
    def cost(
        self,
        theta: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None,
        out: np.ndarray | None = None,
    ) -> float: ...
    def step(self, theta: np.ndarray, grad: np.ndarray, optimizer: Optimizer) -> None: ...

class Buffer:
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Pass:
    net: Net
    capacity: int
    def __init__(self, net: Net, capacity: int) -> None: ...
    def buffer(self, which: str, layer: int) -> Buffer: ...
    def overlaps(self, array: np.ndarray) -> bool: ...
    def forward(self, theta: np.ndarray, x: np.ndarray) -> None: ...
    def backward(
        self,
        theta: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None,
        grad: np.ndarray | None,
    ) -> float: ...
    def backward_from(
        self, theta: np.ndarray, delta: np.ndarray, weights: np.ndarray | None, grad: np.ndarray
    ) -> None: ...
    def input_gradient(self, theta: np.ndarray, out: np.ndarray) -> None: ...

class Fit:
    def __init__(
        self,
        net: Net,
        theta: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None,
        optimizer: Optimizer,
        batch_size: int,
        shuffle: bool,
        seed: int,
        n_threads: int = 0,
        part_rows: int = 0,
    ) -> None: ...
    def set_rates(self, rates: np.ndarray | None, momenta: np.ndarray | None = None) -> None: ...
    @property
    def place(self) -> tuple[int, int, int, int, float, float]: ...
    def rebind(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None: ...
    def seek(
        self, epoch: int, step: int, block: int, first: int, loss_sum: float, weight_sum: float
    ) -> None: ...
    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]: ...
    def set_clocks(self, on: bool) -> None: ...
    def report(self) -> dict[str, Any]: ...

def backward_output(
    p: Pass, theta: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> float: ...
def backward_inject(p: Pass, delta: np.ndarray, weights: np.ndarray | None) -> None: ...
def backward_layer(p: Pass, theta: np.ndarray, layer: int) -> None: ...
def backward_gradient(p: Pass, theta: np.ndarray, grad: np.ndarray) -> None: ...
def pull_back(p: Pass, layer: int, g: np.ndarray) -> None: ...
def vjp(p: Pass, theta: np.ndarray, v: np.ndarray, out: np.ndarray) -> None: ...
def jacobian(p: Pass, theta: np.ndarray, out: np.ndarray) -> None: ...
def sample_gradients(p: Pass, out: np.ndarray) -> None: ...
def gradient_norms(p: Pass, out: np.ndarray) -> None: ...
def relevance(p: Pass, theta: np.ndarray, outs: list[np.ndarray]) -> None: ...
def jvp(
    p: Pass, theta: np.ndarray, dx: np.ndarray | None, dtheta: np.ndarray | None, out: np.ndarray
) -> None: ...
def hvp(p: Pass, theta: np.ndarray, v: np.ndarray, out: np.ndarray) -> None: ...
def vmath(name: str, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def gemm(
    form: str,
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    *,
    bias: np.ndarray | None = None,
    activation: int = 0,
    alpha: float = 0,
    aux: np.ndarray | None = None,
    z: np.ndarray | None = None,
    panels: bool = False,
    repeats: int = 1,
) -> None: ...
def fma_peak(f64: bool = False, seconds: float = 0.2) -> float: ...
def memory_rate(
    f64: bool = False, bytes: int = ..., n_threads: int = 0, seconds: float = 0.05
) -> float: ...
def pool_latency(n_threads: int, repeats: int) -> float: ...

CELL_KINDS: dict[str, int]
MAX_CELL: int

class CsvPass:
    line: int
    n_cells: int
    n_marked: int
    def __init__(
        self, delimiter: str, decimal: str, thousands: str, n_columns: int = 0
    ) -> None: ...
    def width(self, block: bytearray, start: int, stop: int, last: bool) -> tuple[int, str]: ...
    def numbers(
        self,
        block: bytearray,
        start: int,
        stop: int,
        last: bool,
        values: np.ndarray,
        lines: np.ndarray,
        counts: np.ndarray,
        first: np.ndarray,
        kinds: np.ndarray,
    ) -> tuple[int, int, str]: ...
    def texts(
        self,
        block: bytearray,
        start: int,
        stop: int,
        last: bool,
        chosen: tuple[int, ...],
        known: list[dict[bytes, int]],
        codes: np.ndarray,
    ) -> tuple[int, int, str]: ...
