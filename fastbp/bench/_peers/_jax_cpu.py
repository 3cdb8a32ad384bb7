"""JAX: the whole step in one compiled function that is given its state to overwrite."""

from __future__ import annotations

import os
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .._data import Data
from .._suites import Config
from ._base import Program, batches

if TYPE_CHECKING:
    import jax

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8


class JaxSteps(Program):
    """One call a step, on batches cut beforehand, waiting for each step's result."""

    name = "jax"
    package = "jax"
    wait = True

    @classmethod
    def environment(cls, n_threads: int) -> dict[str, str]:
        eigen = ["--xla_cpu_multi_thread_eigen=false"] if n_threads == 1 else []
        return super().environment(n_threads) | {
            "JAX_PLATFORMS": "cpu",
            "NPROC": str(n_threads),  # the size of XLA's pool
            "PJRT_NPROC": str(n_threads),
            "XLA_FLAGS": " ".join([os.environ.get("XLA_FLAGS", ""), *eigen]).strip(),
        }

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
        """One repeat is one step."""
        import jax

        rows, self.n_steps = batches(self.X, self.y, self.config.batch), 1
        step = jax.jit(self.train, donate_argnums=0)

        def unit() -> None:
            self.state = step(self.state, *next(rows))
            if self.wait:
                jax.block_until_ready(self.state)

        self.unit = unit

    def prepare_epoch(self) -> None:
        """One repeat is a pass over a permutation, whose rows are gathered in the step."""
        import jax

        def train_rows(state: tuple, X: jax.Array, y: jax.Array, rows: jax.Array) -> tuple:
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
        import jax

        super().run(repeats)
        jax.block_until_ready(self.state)


class JaxAsync(JaxSteps):
    """The same, but steps queue up and only the last is waited for."""

    name = "jax-async"
    usual = False
    kinds = ("steps", "epoch")
    wait = False


class JaxScan(JaxSteps):
    """A whole epoch in one compiled call, by lax.scan."""

    name = "jax-scan"
    usual = False
    kinds = ("steps", "epoch")
    wait = False

    def prepare_steps(self) -> None:
        import jax

        n_steps = self.config.n_steps
        X, y = (rows.reshape(n_steps, -1, *rows.shape[1:]) for rows in (self.X, self.y))

        def many(state: tuple, X: jax.Array, y: jax.Array) -> tuple:
            return jax.lax.scan(lambda s, rows: (self.train(s, *rows), None), state, (X, y))[0]

        steps = jax.jit(many, donate_argnums=0)

        def unit() -> None:
            self.state = steps(self.state, X, y)

        self.unit = unit

    def prepare_epoch(self) -> None:
        import jax

        n_rows, batch = len(self.X), self.config.batch
        whole = n_rows // batch * batch

        def epoch(state: tuple, X: jax.Array, y: jax.Array, order: jax.Array) -> tuple:
            def body(state: tuple, rows: jax.Array) -> tuple:
                return self.train(state, X[rows], y[rows]), None

            state, _ = jax.lax.scan(body, state, order[:whole].reshape(-1, batch))
            return body(state, order[whole:])[0] if whole < n_rows else state

        pass_over = jax.jit(epoch, donate_argnums=0)

        def unit() -> None:
            order = self.rng.permutation(n_rows)
            self.state = pass_over(self.state, self.X, self.y, order)

        self.unit = unit


def _initial_state(widths: tuple[int, ...], dtype: str) -> tuple:
    """(parameters, first moments, second moments, steps taken)."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    theta = [
        (
            jnp.asarray(rng.standard_normal((n_in, n_out), dtype) * np.sqrt(2 / n_in), dtype),
            jnp.zeros(n_out, dtype),
        )
        for n_in, n_out in pairwise(widths)
    ]
    moments = [jax.tree_util.tree_map(jnp.zeros_like, theta) for _ in range(2)]
    return theta, *moments, jnp.zeros((), dtype)


def _forward(activation: str, theta: list, X: jax.Array) -> jax.Array:
    import jax
    import jax.numpy as jnp

    between = {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation]
    for W, b in theta[:-1]:
        X = between(X @ W + b)
    W, b = theta[-1]
    return X @ W + b


def _cost(activation: str, loss: str, theta: list, X: jax.Array, y: jax.Array) -> jax.Array:
    import jax
    import jax.numpy as jnp

    z = _forward(activation, theta, X)
    if loss == "cross_entropy":
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()
    return ((z - y) ** 2).mean()


def _step(activation: str, loss: str, lr: float, state: tuple, X: jax.Array, y: jax.Array) -> tuple:
    """The state after one step of Adam."""
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
