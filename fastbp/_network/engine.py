"""The backend on the C engine: most methods are one call; csrc/README.md describes the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core
from .._checks import arguments as check
from .._checks.batch_norm import check_statistics
from .._precision import HIGHEST, NAMES
from .._training.divided import Divided
from .._training.exchange import Exchange
from .._types import (
    Array,
    BoundParts,
    Data,
    Lock,
    Place,
    Rows,
    SessionOptions,
    SparseRows,
    StepSettings,
)
from ..activations import Activation
from ..errors import DivergenceError
from ..losses import FormulaLoss, Loss
from ..losses._losses import engine_function
from ..optim import Optimizer
from .architecture import Architecture
from .backend import bind
from .dense import Dense

if TYPE_CHECKING:
    from ..gates._program import Program


class EngineBackend:
    """The arithmetic of one architecture on the C engine; see `backend.Backend`.

    `net` is the engine's own network, which has no parameters. Buffers are made when they are first
    needed and kept: those of the stored pass, those of a second pass for derivatives, and a session
    for `train_batch`. Derivatives compute with the matmul_precision "highest" throughout: they have
    a network of the engine of their own, unless that is the precision of the architecture.
    """

    def __init__(self, architecture: Architecture, lock: Lock | None = None) -> None:
        self._n_in, self._n_out = architecture.widths[0], architecture.widths[-1]
        self._architecture = architecture
        self._widths, self._dtype = architecture.widths, architecture.dtype
        self.arithmetic = _core.isa()
        self._whole_rows = architecture.whole_rows
        lock = self.new_lock() if lock is None else lock
        assert isinstance(lock, _core.ReadWriteLock)
        self.net = self._exact = _engine_network(architecture, lock)
        if architecture.matmul_precision != HIGHEST:
            self._exact = _engine_network(replace(architecture, matmul_precision=HIGHEST), lock)
        self._pass: _core.Pass | None = None
        self._stored: dict[str, list[Array]] = {}  # of _pass: "z", "a" and "delta" by layer
        self._theta, self._n_rows = np.empty(0), 0  # of its forward
        self._probe: _core.Pass | None = None
        self._batches: EngineSession | None = None

    @staticmethod
    def new_lock() -> _core.ReadWriteLock:
        return _core.ReadWriteLock()

    def inputs(self, X: object, name: str) -> Rows:
        """X as the engine reads it: of the network's dtype or another real one, or sparse."""
        if type(X) is np.ndarray and self.net.fits(X):
            return X  # the fast way for calls with one row
        rows = check.as_inputs(X, self._n_in, self._dtype, name=name)
        if self._whole_rows and isinstance(rows, SparseRows):
            raise TypeError(
                f"{name} is sparse, and the first layer needs whole rows for its input dropout, "
                f"categories, embedding or residual: write {name}.toarray()"
            )
        return rows

    def set_trainable(self, l: int, trainable: bool) -> None:
        for net in {self.net, self._exact}:
            net.set_trainable(l, trainable)

    # ---- the stored pass ------------------------------------------------------------------

    def forward(
        self, theta: Array, X: Rows, masks: tuple[int, int] | None = None
    ) -> list[tuple[Array, Array]]:
        n = len(X)
        p = self._pass
        if (
            p is None
            or n > p.capacity
            or (n < p.capacity and not self._same_products(n, p.capacity))
        ):
            self._pass, self._stored, p = None, {}, None  # let go of the old buffers first
            p = _core.Pass(self.net, n)
            layers = range(1, len(self._widths))
            self._stored = {
                which: [_array_of(p.buffer(which, l)) for l in layers]
                for which in ("z", "a", "delta")
            }
            self._pass = p  # last, because there may be no memory for the arrays
        if not isinstance(X, SparseRows) and p.overlaps(X):
            X = X.copy()  # a view of some a, which is about to be overwritten
        p.forward(theta, X, masks)
        self._theta, self._n_rows = theta, n
        pairs = zip(self._stored["z"], self._stored["a"], strict=True)
        return [(z[:n], a[:n]) for z, a in pairs]

    def _same_products(self, n: int, m: int) -> bool:
        """Whether n rows make their products as m rows do, so that they may share buffers."""
        return self.net.products(n) == self.net.products(m)

    @property
    def _passed(self) -> _core.Pass:
        if self._pass is None:
            raise RuntimeError(check.NO_FORWARD)
        return self._pass

    def backward(self, y: Array | None, s: Array | None, grad: Array) -> float:
        return self._passed.backward(self._theta, y, s, grad)

    def backward_from(self, delta: Array, s: Array | None, grad: Array) -> None:
        self._passed.backward_from(self._theta, self._apart(delta), s, grad)

    def output_delta(self, y: Array | None, s: Array | None) -> float:
        return _core.backward_output(self._passed, self._theta, y, s)

    def inject_delta(self, delta: Array, s: Array | None) -> None:
        _core.backward_inject(self._passed, self._apart(delta), s)

    def _apart(self, delta: Array) -> Array:
        """delta, or a copy if it is a view of a buffer that is about to be overwritten."""
        return delta.copy() if self._passed.overlaps(delta) else delta

    def move_statistics(self, theta: Array) -> None:
        _core.move_statistics(self._passed, theta)

    def hidden_delta(self, l: int) -> None:
        _core.backward_layer(self._passed, self._theta, l)

    def gradient(self, grad: Array) -> None:
        _core.backward_gradient(self._passed, self._theta, grad)

    def delta(self, l: int) -> Array:
        return self._stored["delta"][l - 1][: self._n_rows]

    def pull_back(self, l: int, g: Array) -> Array:
        out = np.array(g, order="C")
        _core.pull_back(self._passed, l, out)
        return out

    def input_gradient(self) -> Array:
        out = self._empty(self._n_rows, self._n_in)
        self._passed.input_gradient(self._theta, out)
        return out

    # ---- data sets ------------------------------------------------------------------------

    def predict(self, theta: Array, X: Rows) -> Array:
        out = np.empty((len(X), self._n_out), self._dtype)
        self.net.predict(theta, X, out)
        return out

    def cost(self, theta: Array, X: Rows, y: Array | None, s: Array | None) -> float:
        return self.net.cost(theta, X, y, s)

    def evaluate(
        self, theta: Array, X: Rows, y: Array | None, s: Array | None
    ) -> tuple[float, Array]:
        out = self._empty(X.shape[0], self._n_out)
        return self.net.cost(theta, X, y, s, out), out

    # ---- training -------------------------------------------------------------------------

    def step(self, theta: Array, grad: Array, optimizer: Optimizer) -> None:
        self.net.step(theta, grad, optimizer)

    def train_batch(
        self,
        theta: Array,
        X: Rows,
        y: Array | None,
        s: Array | None,
        optimizer: Optimizer,
        seed: int,
    ) -> float:
        session, n = self._batches, len(X)
        if (
            session is None
            or not session.takes(theta, optimizer, n)
            or (n < session.batch_size and not self._same_products(n, session.batch_size))
        ):
            self._batches = None
            if self._architecture.has_batch_norm:
                check_statistics(self._architecture.blocks(theta))
            options = SessionOptions(batch_size=n, shuffle=False)
            bind(optimizer, theta, len(self._widths) - 1)
            session = self.session(theta, (X, y, s), optimizer, options, seed)
            self._batches = session
        else:
            session.rebind(X, y, s)
        diverged, _, _, _, J, last = session.run(0.0)
        if diverged:
            raise DivergenceError(last, epoch=0, step=optimizer.t)
        return J

    def session(
        self, theta: Array, data: Data, optimizer: Optimizer, options: SessionOptions, seed: int
    ) -> EngineSession:
        return EngineSession(self.net, theta, data, optimizer, options, seed)

    # ---- derivatives: on a pass of their own ----------------------------------------------

    def _forwarded(self, theta: Array, X: Rows) -> _core.Pass:
        """The second pass, with z and a of X. Derivatives need whole rows."""
        if isinstance(X, SparseRows):
            X = X.toarray()
        if self._probe is None or len(X) > self._probe.capacity:
            self._probe = None  # let go of the old one first
            self._probe = _core.Pass(self._exact, len(X))
        self._probe.forward(theta, X)
        return self._probe

    def _backwarded(
        self, theta: Array, X: Rows, y: Array | None, s: Array | None = None
    ) -> _core.Pass:
        """The second pass, with every δ of X and y as well."""
        probe = self._forwarded(theta, X)
        probe.backward(theta, y, s, None)
        return probe

    def _empty(self, *shape: int) -> Array:
        return np.empty(shape, self._dtype)

    def vjp(self, theta: Array, X: Rows, v: Array) -> Array:
        out = self._empty(len(X), self._n_in)
        _core.vjp(self._forwarded(theta, X), theta, v, out)
        return out

    def jacobian(self, theta: Array, X: Rows) -> Array:
        out = self._empty(len(X), self._n_out, self._n_in)
        _core.jacobian(self._forwarded(theta, X), theta, out.reshape(len(X), -1))
        return out

    def sample_gradients(self, theta: Array, X: Rows, y: Array | None) -> Array:
        out = self._empty(len(X), theta.size)
        _core.sample_gradients(self._backwarded(theta, X, y), out)
        return out

    def layer_norms(self, theta: Array, X: Rows, y: Array | None) -> Array:
        out = np.empty((len(X), len(self._widths) - 1))
        _core.gradient_norms(self._backwarded(theta, X, y), out)
        return out

    def relevance(self, theta: Array, X: Rows, y: Array | None) -> list[Array]:
        outs = [self._empty(len(X), n) for n in self._widths]
        _core.relevance(self._backwarded(theta, X, y), theta, outs)
        return outs

    def jvp(self, theta: Array, X: Rows, dX: Array | None, dtheta: Array | None) -> Array:
        out = self._empty(len(X), self._n_out)
        _core.jvp(self._forwarded(theta, X), theta, dX, dtheta, out)
        return out

    def hvp(self, theta: Array, X: Rows, y: Array | None, s: Array | None, v: Array) -> Array:
        out = np.empty_like(theta)
        _core.hvp(self._backwarded(theta, X, y, s), theta, v, out)
        return out


class EngineSession:
    """A training session of the engine; see `fastbp._types.DataSession`."""

    def __init__(
        self,
        net: _core.Net,
        theta: Array,
        data: Data,
        optimizer: Optimizer,
        options: SessionOptions,
        seed: int,
    ) -> None:
        X, y, s = data
        parts: Divided | None = options.parts
        self._exchange: Exchange | None = None
        bound = None if parts is None else self._bind_parts(net, theta, optimizer, parts)
        fit = _core.Fit(
            net,
            theta,
            X,
            y,
            s,
            optimizer,
            options.batch_size,
            options.shuffle,
            seed,
            options.n_threads,
            options.part_rows,
            options.population,
            options.rows,
            bound,
            None if parts is None else parts.rows,
        )
        if self._exchange is not None:
            self._exchange.bind(fit.share())
        self._parts = parts
        self.fit, self._optimizer, self._theta = fit, optimizer, theta
        self.batch_size, self.population = options.batch_size, options.population
        self._n_rows = len(X) if options.rows is None else len(options.rows)
        if parts is not None:
            self._n_rows = int(parts.rows.sum())
        self.run = fit.run

    def _bind_parts(
        self, net: _core.Net, theta: Array, optimizer: Optimizer, parts: Divided
    ) -> BoundParts:
        """The parts as the engine reads them; the optimiser keeps its share of the state."""
        share = 0, 0
        if parts.ranks is not None:
            outer = parts.outer
            self._exchange = Exchange(
                parts, theta, lambda grad: net.step(theta, grad, outer) if outer else None
            )
        if parts.shared:
            cuts = _core.shares(net, parts.size)
            parts.narrow(optimizer, cuts)
            share = cuts[parts.rank], max(cuts[parts.rank + 1] - cuts[parts.rank], 1)
        return BoundParts(parts.n, parts.rank, parts.size, parts.sync_every, self._exchange, share)

    @property
    def exchange(self) -> Exchange | None:
        """What the ranks send each other, if there are several."""
        return self._exchange

    @property
    def flags(self) -> int:
        return self.fit.flags

    def raise_flags(self, flags: int) -> None:
        self.fit.raise_flags(flags)

    def rebind(self, X: Rows, y: Array | None, s: Array | None) -> None:
        self.fit.rebind(X, y, s, None if self._parts is None else self._parts.rows)

    def set_steps(self, settings: StepSettings) -> None:
        rates, momenta, smoothing, dropout = settings
        self.fit.set_rates(rates, momenta)
        n = max((len(each) for each in (smoothing, dropout) if each is not None), default=0)
        self.fit.set_smoothing(n, smoothing, None if dropout is None else dropout.ravel())

    def set_clocks(self, on: bool) -> None:
        self.fit.set_clocks(on)

    def report(self) -> Mapping[str, Any]:
        return self.fit.report()

    def takes(self, theta: Array, optimizer: Optimizer, n_rows: int) -> bool:
        """Whether this session can make a step of theta on n_rows rows with this optimiser."""
        mine = optimizer is self._optimizer and theta is self._theta
        return mine and n_rows <= self.batch_size

    @property
    def place(self) -> Place:
        return Place(*self.fit.place)

    @property
    def rows_done(self) -> int:
        epoch, _, _, first, _, _ = self.fit.place
        return epoch * self._n_rows + first

    def bind(self, data: Data) -> bool:
        X, y, s = data
        try:
            self.rebind(X, y, s)
        except ValueError:  # more rows than it has room for
            return False
        self._n_rows = len(X) if self._parts is None else int(self._parts.rows.sum())
        return True

    def seek(self, place: Place) -> None:
        self.fit.seek(*place)

    def close(self) -> None:
        """Nothing to do: buffers and threads end with the session."""


def _array_of(buffer: _core.Buffer) -> Array:
    """A buffer of the engine as an array."""
    array = np.asarray(buffer)
    if array.ndim != 2:  # without memory, NumPy takes the buffer for a scalar of dtype object
        raise MemoryError("not enough memory for the arrays of this network and batch")
    return array


def _engine_network(net: Architecture, lock: _core.ReadWriteLock) -> _core.Net:
    return _core.Net(
        net.widths,
        tuple(activation.name for activation in net.activations),
        tuple(activation.alpha or 0.0 for activation in net.activations),
        net.criterion.name,
        net.dtype == np.float64,
        net.l1,
        net.l2,
        net.criterion.params(net.widths[-1]),
        net.criterion.n_targets(net.widths[-1]),
        tuple(_options(layer) for layer in net.dense),
        net.input_dropout,
        engine_function(net.criterion, net.dtype, net.widths[-1]),
        NAMES.index(net.matmul_precision),
        tuple(_formula(activation, i, net.dtype) for i, activation in enumerate(net.activations)),
        _loss_formula(net.criterion, net.dtype),
        lock,
        net.criterion.ignore_nan,
    )


def _formula(
    activation: Activation, i: int, dtype: np.dtype[Any]
) -> tuple[int, bool, tuple[Program, Program, Program, Program]] | None:
    """The programs of an activation that is a formula: (n_constants, per unit, programs)."""
    formula = activation.formula
    if formula is None:
        return None
    programs = formula.programs()
    _check_numbers(programs, f"the activation of layers[{i}]", dtype)
    return len(formula.constants), formula.per == "unit", programs


def _loss_formula(loss: Loss, dtype: np.dtype[Any]) -> tuple[Program, Program, Program] | None:
    if not isinstance(loss, FormulaLoss):
        return None
    programs = loss.formula.programs()
    _check_numbers(programs, "the loss", dtype)
    return programs


def _check_numbers(programs: Iterable[Program], what: str, dtype: np.dtype[Any]) -> None:
    """ValueError if a number of a formula or of its derivatives is infinite in dtype."""
    largest = float(np.finfo(dtype).max)
    for number in (number for program in programs for number in program.constants):
        if abs(number) > largest:
            raise ValueError(
                f"the numbers of {what} and of its derivatives must be at most {largest:.3g}, the "
                f"largest of {dtype}; got {number:.6g}. Make the network with dtype='float64' or "
                "change the formula"
            )


class _LayerOptions(NamedTuple):
    """The fields of the engine's fastbp_layer_options_t, which `_core.Net` takes."""

    no_bias: bool
    norm: int
    norm_eps: float
    norm_momentum: float
    dropout: float
    residual: bool
    max_norm: float
    non_negative: bool
    scale: bool
    numbers: int
    n_frequencies: int
    width: int
    rectified: bool
    keeps: bool
    levels: tuple[int, ...]
    level_widths: tuple[int, ...]


def _options(layer: Dense) -> _LayerOptions:
    norm, of, categories = layer.norm, layer.embedding, layer.categories
    return _LayerOptions(
        no_bias=not layer.bias,
        norm=0 if norm is None else norm.code,
        norm_eps=0.0 if norm is None else norm.eps or 0.0,
        norm_momentum=0.0 if norm is None else norm.momentum or 0.0,
        dropout=layer.dropout,
        residual=layer.residual,
        max_norm=layer.max_norm or 0.0,
        non_negative=layer.non_negative,
        scale=layer.scale,
        numbers=0 if of is None else of.n_numbers,
        n_frequencies=0 if of is None else of.frequencies,
        width=0 if of is None else of.width,
        rectified=of is not None and of.relu,
        keeps=of is not None and of.keep,
        levels=() if categories is None else categories.levels,
        level_widths=() if categories is None else categories.width,
    )
