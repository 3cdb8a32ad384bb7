"""`fastbp.Network`: the network on the C engine, and where the time of its steps goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._checks import arguments as check
from .._types import Data, SessionOptions
from ..optim import Optimizer
from .engine import EngineBackend, EngineSession
from .trainable import TrainableNetwork

if TYPE_CHECKING:
    from .._explain.explanation import Explanation


class Network(TrainableNetwork):
    """A dense network trained by backpropagation, which shows every z, a and δ.

    The objective is

        J = (1/S) Σ_i s_i J_i + l1 ‖W‖₁ + (l2/2) ‖W‖²        S = Σ s_i

    `theta` and `grad` are flat. `layers[i].W`, `.b`, `.dW` and `.db` are views of them, and
    `layers[i].z`, `.a` and `.delta` views of the engine's own buffers. δ is per sample: neither
    multiplied by s_i nor divided by S. Rumelhart, Hinton & Williams, Nature 323, 1986.

    Layers count from 1 to L, as in the formulas, wherever a call takes or shows the number of a
    layer: a^0 is the input. Sequences such as `layers` are of Python: layer l is `layers[l - 1]`.

    Threads may share a network: `predict` and `loss` run at the same time, calls that use the
    stored passes wait for each other, and two that change theta at once mix their updates.

    Parameters
    ----------
    widths : sequence of int
        Units of every layer, inputs first; at least two.
    activation : str, Activation or ActivationFormula, or a sequence of them, default "relu"
        The activation of the hidden layers, or a list of one per hidden layer; see
        `fastbp.activations.NAMES` and `fastbp.gates.activation`.
    output : str, Activation or ActivationFormula, default "identity"
        The activation of the output layer.
    loss : str, Loss, LossFormula, callable or None, default None
        See `fastbp.losses.NAMES`, `fastbp.gates.loss` and `fastbp.losses.CustomLoss`. None is
        "squared_error".
    dtype : {"float32", "float64"}, default "float32"
        Of parameters and arithmetic.
    init : str, Initializer or callable, default "auto"
        How weights are drawn, such as "he" or "torch"; see `fastbp.initializers`.
    seed : int or None, default None
        Fixes the initial weights and the order of the samples. None draws one.
    l1, l2 : float, default 0.0
        Penalties on weights, at least 0; biases have none.
    matmul_precision : {"highest", "high", "medium"} or None, default None
        How exact the factors of matrix products are: "highest" is float32, "high" has 16 bits,
        "medium" has the 8 bits of bfloat16; see docs/numerics.md. None takes the precision that
        `fastbp.set_float32_matmul_precision` has set, which is "highest" at first. float64 networks
        take "highest" only.

    Raises
    ------
    TypeError, ValueError
        For arguments outside these ranges.

    Warns
    -----
    UserWarning
        For a logarithmic loss on outputs beyond (0, 1), and for softmax without a loss.

    Examples
    --------
    >>> net = Network((2, 3, 1), activation="tanh", seed=0); net
    fastbp.Network((2, 3, 1), ['tanh', 'identity'], loss='squared_error', dtype='float32')
    >>> net.forward([[0.0, 0.0]])
    array([[0.]], dtype=float32)
    """

    _BACKEND = EngineBackend
    _DTYPE = "float32"
    _backend: EngineBackend

    def explain(
        self,
        X: object,
        y: object,
        *,
        batch_size: int = 64,
        optimizer: str | Optimizer = "adam",
        sample_weight: object = None,
        n_threads: int | None = None,
        seconds: float = 0.5,
    ) -> Explanation:
        """Measure where the time of a training step goes, by layer and phase.

        The steps run on copies, with clocks and without in turn, so parameters, stored passes and
        the optimiser stay as they are. The result compares each phase with the limits of the
        machine, which takes up to 0.3 s more. `print` it for a table, or use its fields and
        `to_dict()`; docs/explain.md explains them.

        Parameters
        ----------
        X, y, sample_weight, n_threads
            As for `fit`. The rows after the last whole batch are left out.
        batch_size : int, default 64
            Samples of a batch.
        optimizer : str or Optimizer, default "adam"
            It is copied with its moments. A name stands for the optimiser that `partial_fit` keeps
            under that name, or else for a new one.
        seconds : float, default 0.5
            How long to run steps, more than 0.

        Returns
        -------
        Explanation
            The times, with a table as its `str`.

        Raises
        ------
        TypeError, ValueError
            As `fit` does.
        DivergenceError
            If J is not finite.

        Examples
        --------
        >>> net = Network((8, 64, 64, 2), activation="tanh", seed=0)
        >>> found = net.explain([[0.5] * 8] * 64, [[0.0, 1.0]] * 64, seconds=0.01)
        >>> [f"{p.layer} {p.phase}" for p in found.phases if p.layer == 3]
        ['3 forward', '3 loss', '3 delta', '3 gradient', '3 update']
        >>> abs(sum(p.share for p in found.phases) - 1) < 1e-9
        True
        """
        from .._explain.measure import explain

        kept = self._partial
        if isinstance(optimizer, str) and kept is not None and kept.is_for(optimizer):
            optimizer = kept.optimizer
        return explain(
            self,
            X,
            y,
            batch_size=batch_size,
            optimizer=optimizer,
            sample_weight=sample_weight,
            n_threads=n_threads,
            seconds=seconds,
        )

    def _timed_session(
        self, data: Data, optimizer: Optimizer, options: SessionOptions
    ) -> EngineSession:
        """Steps that have clocks, on a copy of theta."""
        theta = check.aligned_copy(self._copy_of_theta(), self.dtype)
        return self._backend.session(theta, data, optimizer, options, self.seed)
