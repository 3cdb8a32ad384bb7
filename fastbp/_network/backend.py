"""What a network needs of the arithmetic behind it: the Protocol `Backend`.

There are two backends: `engine` in this folder, on the C engine, and `_backend` of
`fastbp.reference`, in NumPy. Neither has parameters or hooks. Those belong to the network, which
passes theta with a call, checks all arrays before it, and lets only one call at a time use the
stored pass. A backend holds the lock of theta in the calls for which the network does not: to read
in those of "data sets", and to write in the steps of a session, together with that of the
optimiser.
"""

from __future__ import annotations

from typing import Protocol

from .._types import Array, Data, DataSession, Lock, Rows, SessionOptions
from ..optim import Optimizer
from .architecture import Architecture


class Backend(Protocol):
    """The arithmetic of one architecture, on checked arrays.

    Shapes: theta and grad (n_params,), X (n, n_0), y (n, n_targets), class numbers (n,) or None for
    a loss of pairs of rows, s (n,) the sample weights or None. Layers count from l = 1 to L.
    """

    def __init__(self, architecture: Architecture, lock: Lock | None = None) -> None: ...

    arithmetic: str
    """What computes: the ISA of the engine, or NumPy."""

    @staticmethod
    def new_lock() -> Lock:
        """A lock that backends of this class can hold."""

    def inputs(self, X: object, name: str) -> Rows:
        """X as the other methods take it. Raises TypeError or ValueError, which call it `name`."""

    def set_trainable(self, l: int, trainable: bool) -> None:
        """Let updates change layer l, or leave it as it is."""

    # ---- the stored pass ------------------------------------------------------------------
    # `forward` comes first; the others continue from what it has stored, with its theta.

    def forward(
        self, theta: Array, X: Rows, masks: tuple[int, int] | None = None
    ) -> list[tuple[Array, Array]]:
        """Compute (z, a) of every layer; the arrays are valid until the next forward.

        masks: (seed, t), for a pass as in training: to drop what a session with this seed drops in
        step t, and to norm by the batch. All that continues from this pass goes through the masks
        and the statistics of the batch.
        """

    def move_statistics(self, theta: Array) -> None:
        """Move the running statistics in theta by those of the last forward, if it had masks."""

    def backward(self, y: Array | None, s: Array | None, grad: Array) -> float:
        """Compute every δ, and grad; returns J."""

    def backward_from(self, delta: Array, s: Array | None, grad: Array) -> None:
        """Compute every δ from a given δ^L, and grad."""

    def output_delta(self, y: Array | None, s: Array | None) -> float:
        """Compute δ^L; returns J."""

    def inject_delta(self, delta: Array, s: Array | None) -> None:
        """Take a copy of delta as δ^L."""

    def hidden_delta(self, l: int) -> None:
        """Compute δ^l from δ^{l+1} as it is now."""

    def gradient(self, grad: Array) -> None:
        """Compute grad from the δ as they are now."""

    def delta(self, l: int) -> Array:
        """δ^l (n, n_l), which may be written into."""

    def pull_back(self, l: int, g: Array) -> Array:
        """∂J/∂z^l from g = ∂J/∂a^l, which stays as it is."""

    def input_gradient(self) -> Array:
        """δ^1 W^1ᵀ (n, n_0)."""

    # ---- data sets: nothing is stored -----------------------------------------------------

    def predict(self, theta: Array, X: Rows) -> Array:
        """a^L (n, n_L)."""

    def cost(self, theta: Array, X: Rows, y: Array | None, s: Array | None) -> float:
        """J."""

    def evaluate(
        self, theta: Array, X: Rows, y: Array | None, s: Array | None
    ) -> tuple[float, Array]:
        """J and a^L."""

    # ---- training -------------------------------------------------------------------------

    def step(self, theta: Array, grad: Array, optimizer: Optimizer) -> None:
        """Update theta once. Raises ValueError for an optimiser that another network uses."""

    def train_batch(
        self,
        theta: Array,
        X: Rows,
        y: Array | None,
        s: Array | None,
        optimizer: Optimizer,
        seed: int,
    ) -> float:
        """Make one step, without the stored pass; returns J before it.

        Raises TypeError for something else than an optimiser, and DivergenceError, with nothing
        changed, if J is not finite.
        """

    def session(
        self, theta: Array, data: Data, optimizer: Optimizer, options: SessionOptions, seed: int
    ) -> DataSession:
        """Training steps over a data set, with a bound optimiser."""

    # ---- derivatives: nothing is stored ---------------------------------------------------

    def vjp(self, theta: Array, X: Rows, v: Array) -> Array:
        """v_iᵀ ∂a^L/∂x_i (n, n_0)."""

    def jacobian(self, theta: Array, X: Rows) -> Array:
        """∂a^L/∂x (n, n_L, n_0)."""

    def sample_gradients(self, theta: Array, X: Rows, y: Array | None) -> Array:
        """∂J_i/∂theta (n, n_params)."""

    def layer_norms(self, theta: Array, X: Rows, y: Array | None) -> Array:
        """Norms of ∂J_i by layer (n, L), float64."""

    def relevance(self, theta: Array, X: Rows, y: Array | None) -> list[Array]:
        """a^l ⊙ ∂J_i/∂a^l (n, n_l) for l = 0 … L."""

    def jvp(self, theta: Array, X: Rows, dX: Array | None, dtheta: Array | None) -> Array:
        """The change of a^L along dX and dtheta (n, n_L)."""

    def hvp(self, theta: Array, X: Rows, y: Array | None, s: Array | None, v: Array) -> Array:
        """∇²J v (n_params,)."""


def bind(optimizer: object, theta: Array, n_layers: int) -> Optimizer:
    """The optimiser, with memory for its state. Raises TypeError for anything else."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be an object of fastbp.optim, such as Adam(), which keeps its "
            f"state from call to call; got {optimizer!r}"
        )
    optimizer.bind(theta.size, theta.dtype, n_layers)
    return optimizer
