"""JAX: one compiled function for the whole step, which may overwrite the state it gets."""

from __future__ import annotations

import os
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np

from ..._types import Array
from .._data import Data
from .._suites import Config
from ._base import Program, batches

if TYPE_CHECKING:
    import jax

Parameters: TypeAlias = "list[tuple[jax.Array, jax.Array]]"  # W and b of each layer
# Parameters, first moments, second moments, and the number of steps
State: TypeAlias = "tuple[Parameters, Parameters, Parameters, jax.Array]"

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8


class JaxSteps(Program):
    """One call per step, on batches that were split before; each step waits for its result."""

    name = "jax"
    package = "jax"
    ways: ClassVar = {"highest": "highest", "high": "high", "bfloat16": "medium"}
    wait: ClassVar[bool] = True

    @classmethod
    def environment(cls, n_threads: int) -> dict[str, str]:
        eigen = ["--xla_cpu_multi_thread_eigen=false"] if n_threads == 1 else []
        return super().environment(n_threads) | {
            "JAX_PLATFORMS": "cpu",
            "NPROC": str(n_threads),  # the size of XLA's thread pool
            "PJRT_NPROC": str(n_threads),
            "XLA_FLAGS": " ".join([os.environ.get("XLA_FLAGS", ""), *eigen]).strip(),
        }

    def use(self, precision: str) -> None:
        import jax

        super().use(precision)
        jax.config.update("jax_default_matmul_precision", precision)

    def product(self, A: Array, B: Array) -> Array:
        import jax

        return np.asarray(jax.jit(lambda A, B: A @ B)(A, B))

    def prepare(self, config: Config, data: Data, n_threads: int, dtype: str) -> None:
        import jax

        jax.config.update("jax_enable_x64", dtype == "float64")
        self.config = config
        self.X, self.y = jax.device_put((data.X, data.y))
        self.rng = np.random.default_rng(0)
        self.state = _initial_state(config.widths, dtype)
        self.train = partial(_step, config.activation, config.loss, config.learning_rate)
        if config.kind == "epoch":
            self.prepare_epoch()
        elif config.kind == "predict":
            forward = jax.jit(partial(_forward, config.activation))
            self.unit = lambda: jax.block_until_ready(forward(self.state[0], self.X))
        else:
            self.prepare_steps()

    def prepare_steps(self) -> None:
        """Set `unit` to one step."""
        import jax

        rows, self.n_steps = batches(self.X, self.y, self.config.batch), 1
        step = jax.jit(self.train, donate_argnums=0)

        def unit() -> None:
            self.state = step(self.state, *next(rows))
            if self.wait:
                jax.block_until_ready(self.state)

        self.unit = unit

    def prepare_epoch(self) -> None:
        """Set `unit` to one pass over shuffled rows; each step selects its rows."""
        import jax

        def train_rows(state: State, X: jax.Array, y: jax.Array, rows: jax.Array) -> State:
            return self.train(state, X[rows], y[rows])

        step = jax.jit(train_rows, donate_argnums=0)
        batch = self.config.batch

        def unit() -> None:
            order = self.rng.permutation(len(self.X))
            for start in range(0, len(order), batch):
                self.state = step(self.state, self.X, self.y, order[start : start + batch])
                if self.wait:
                    jax.block_until_ready(self.state)

        self.unit = unit

    def run(self, repeats: int) -> None:
        """Do the work `repeats` times, and wait until it is finished."""
        import jax

        super().run(repeats)
        jax.block_until_ready(self.state)


class JaxAsync(JaxSteps):
    """The same steps, without waiting for the results of any but the last."""

    name = "jax-async"
    usual = False
    kinds = ("steps", "epoch")
    wait = False


class JaxScan(JaxSteps):
    """A whole epoch in one compiled call of lax.scan."""

    name = "jax-scan"
    usual = False
    kinds = ("steps", "epoch")
    wait = False

    def prepare_steps(self) -> None:
        """Set `unit` to one pass over the batches."""
        import jax

        n_steps = self.config.n_steps
        X, y = (rows.reshape(n_steps, -1, *rows.shape[1:]) for rows in (self.X, self.y))

        def many(state: State, X: jax.Array, y: jax.Array) -> State:
            last: State
            last, _ = jax.lax.scan(lambda s, rows: (self.train(s, *rows), None), state, (X, y))
            return last

        steps = jax.jit(many, donate_argnums=0)

        def unit() -> None:
            self.state = steps(self.state, X, y)

        self.unit = unit

    def prepare_epoch(self) -> None:
        """Set `unit` to one pass over shuffled rows."""
        import jax

        n_rows, batch = len(self.X), self.config.batch
        whole = n_rows // batch * batch

        def epoch(state: State, X: jax.Array, y: jax.Array, order: jax.Array) -> State:
            def body(state: State, rows: jax.Array) -> tuple[State, None]:
                return self.train(state, X[rows], y[rows]), None

            state, _ = jax.lax.scan(body, state, order[:whole].reshape(-1, batch))
            return body(state, order[whole:])[0] if whole < n_rows else state

        pass_over = jax.jit(epoch, donate_argnums=0)

        def unit() -> None:
            order = self.rng.permutation(n_rows)
            self.state = pass_over(self.state, self.X, self.y, order)

        self.unit = unit


def _initial_state(widths: tuple[int, ...], dtype: str) -> State:
    """Draw the parameters, and return the first state."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    theta = [
        (
            jnp.asarray(
                rng.standard_normal((n_in, n_out), np.dtype(dtype)) * np.sqrt(2 / n_in), dtype
            ),
            jnp.zeros(n_out, dtype),
        )
        for n_in, n_out in pairwise(widths)
    ]
    m, v = (jax.tree_util.tree_map(jnp.zeros_like, theta) for _ in range(2))
    return theta, m, v, jnp.zeros((), dtype)


def _forward(activation: str, theta: Parameters, X: jax.Array) -> jax.Array:
    import jax
    import jax.numpy as jnp

    between = {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation]
    for W, b in theta[:-1]:
        X = between(X @ W + b)
    W, b = theta[-1]
    return X @ W + b


def _cost(activation: str, loss: str, theta: Parameters, X: jax.Array, y: jax.Array) -> jax.Array:
    import jax
    import jax.numpy as jnp

    z = _forward(activation, theta, X)
    if loss == "cross_entropy":
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()
    return ((z - y) ** 2).mean()


def _step(activation: str, loss: str, lr: float, state: State, X: jax.Array, y: jax.Array) -> State:
    """Return the state after one step of Adam."""
    import jax
    import jax.numpy as jnp

    tree_map = jax.tree_util.tree_map
    theta, m, v, t = state
    grad = jax.grad(partial(_cost, activation, loss))(theta, X, y)
    t = t + 1
    m = tree_map(lambda m, g: _BETA1 * m + (1 - _BETA1) * g, m, grad)
    v = tree_map(lambda v, g: _BETA2 * v + (1 - _BETA2) * g * g, v, grad)
    scale, root = lr / (1 - _BETA1**t), jnp.sqrt(1 - _BETA2**t)
    theta = tree_map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) / root + _EPS), theta, m, v)
    return theta, m, v, t
