"""`fastbp.reference.Network`: the network in NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._checks.keywords import hinting
from .._network.trainable import TrainableNetwork
from ..activations import Spec as ActivationSpec
from ..initializers import InitFunction, Initializer
from ..losses._losses import Spec as LossSpec
from ._backend import NumpyBackend


class Network(TrainableNetwork):
    """A dense network like `fastbp.Network`, computed in NumPy alone.

    It has the same methods, except `explain`, and its results differ by rounding only. The default
    dtype is "float64".

    Parameters
    ----------
    widths, activation, output, loss, init, seed, l1, l2
        As for `fastbp.Network`.
    matmul_precision : {"highest", "high", "medium"} or None, default None
        As for `fastbp.Network`, but float64 networks take all three names: their factors are
        rounded in the same way, and products and sums are float64. For float64, None means
        "highest".
    dtype : {"float64", "float32"}, default "float64"
        Of parameters and arithmetic.

    Raises
    ------
    TypeError, ValueError
        As `fastbp.Network` does.

    Examples
    --------
    >>> net = Network((2, 3, 1), activation="tanh", seed=0); net
    fastbp.reference.Network((2, 3, 1), ['tanh', 'identity'], loss='squared_error', dtype='float64')
    >>> net.forward([[0.0, 0.0]])
    array([[0.]])
    """

    _BACKEND = NumpyBackend
    _DTYPE = "float64"
    _ROUNDS_FLOAT64 = True

    @hinting("Network", one_sequence=True)
    def __init__(
        self,
        widths: Iterable[int],
        *,
        activation: ActivationSpec | Sequence[ActivationSpec] = "relu",
        output: ActivationSpec = "identity",
        loss: LossSpec | None = None,
        dtype: object = "float64",
        init: str | Initializer | InitFunction = "auto",
        seed: int | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        matmul_precision: str | None = None,
    ) -> None:
        super().__init__(
            widths,
            activation=activation,
            output=output,
            loss=loss,
            dtype=dtype,
            init=init,
            seed=seed,
            l1=l1,
            l2=l2,
            matmul_precision=matmul_precision,
        )
