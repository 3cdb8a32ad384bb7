"""What the engine's Network and the NumPy reference share: shape, state and description.

No arithmetic of forward or backward passes lives here, so that the two stay independent.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Self

import numpy as np

from .._checks import arguments as check
from .._checks.sparse import as_sparse_rows, is_sparse
from .._training.fit import Fitting
from .._types import Array
from ..activations import Activation, resolve_layers
from ..initializers import InitFunction, Initializer
from ..losses import Loss
from ..losses import resolve as resolve_loss
from ..losses._losses import check_output, warn_unpaired
from ..optim import Optimizer
from .dense import Dense, check_layers, count_parameters, draw_parameters, settled, unpack
from .describe import network_html, summary
from .layers import Layer

ActivationSpec = str | Activation

# What a network is made of, for good; with theta and preprocessing it can be made again.
_FIXED = ("dtype", "dense", "input_dropout", "criterion", "l1", "l2", "seed")


def aligned_zeros(n: int, dtype: np.dtype) -> Array:
    """A zero vector (n,) that starts on a cache line, so that no vector load straddles two.

    >>> aligned_zeros(3, np.dtype("float32")).ctypes.data % 64
    0
    """
    spare = 64 // dtype.itemsize
    room = np.zeros(n + spare, dtype)
    start = -room.ctypes.data % 64 // dtype.itemsize
    return room[start : start + n]


class NetworkBase(Fitting, ABC):
    """Constructor, parameters, training loop and description; see `fastbp.Network`."""

    _DTYPE = "float32"  # unless the subclass says otherwise

    def __init__(
        self,
        widths: Iterable[int],
        *,
        activation: ActivationSpec | Sequence[ActivationSpec],
        output: ActivationSpec,
        loss: str | Loss,
        dtype: object,
        init: str | Initializer | InitFunction,
        seed: int | None,
        l1: float,
        l2: float,
    ) -> None:
        n_in, *units = check.check_widths(widths)
        activations = resolve_layers(len(units), activation, output)
        layers = [Dense(n, a, init=init) for n, a in zip(units, activations, strict=True)]
        self._make(n_in, layers, loss=loss, dtype=dtype, seed=seed, l1=l1, l2=l2)
        warn_unpaired(self.criterion, self.activations[-1], stacklevel=4)

    @classmethod
    def from_layers(
        cls,
        n_in: int,
        layers: Sequence[Dense],
        *,
        loss: str | Loss = "squared_error",
        dtype: object = None,
        seed: int | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        input_dropout: float = 0.0,
    ) -> Self:
        """A network of n_in inputs and `fastbp.Dense` layers, each with options of its own.

        The last layer is the output: it has no norm, dropout or residual. input_dropout: p of the
        inputs, 0 <= p < 1. dtype: None for the constructor's default. The rest is as there; plain
        layers give the same network as it does. Dropout is on in `fit` and `train_batch` alone:
        `forward`, `backward`, `predict` and `loss` drop nothing. A mask is a function of the seed,
        the optimiser's step count t, the layer, the sample's place in the batch and the unit.
        `docs/layers.md` has the formulas. Raises TypeError or ValueError for what does not fit.

        >>> import fastbp
        >>> hidden = fastbp.Dense(8, "relu", norm="layer", dropout=0.2)
        >>> net = fastbp.Network.from_layers(4, [hidden, fastbp.Dense(1)], seed=0)
        >>> print(net.summary())
        layer  units   activation  parameters  memory  FLOPs  options
        1      4 -> 8  relu                56   224 B     64  layer norm, dropout 0.2
        2      8 -> 1  identity             9    36 B     16
        total                              65   260 B     80  float32, loss squared_error
        """
        net = cls.__new__(cls)
        dtype = cls._DTYPE if dtype is None else dtype
        dropout = check.check_fraction(input_dropout, "input_dropout")
        more = {"dtype": dtype, "seed": seed, "l1": l1, "l2": l2, "input_dropout": dropout}
        net._make(check.check_positive_int(n_in, "n_in"), layers, loss=loss, **more)
        warn_unpaired(net.criterion, net.activations[-1])
        return net

    def _make(
        self,
        n_in: int,
        layers: Sequence[Dense],
        *,
        loss: str | Loss,
        dtype: object,
        seed: int | None,
        l1: float,
        l2: float,
        input_dropout: float = 0.0,
    ) -> None:
        layers = check_layers(n_in, layers)
        check.check_size(count_parameters(n_in, layers))
        self._dtype = check.check_dtype(dtype)
        self._set_shape(n_in, tuple(settled(layer, self.dtype) for layer in layers))
        self._input_dropout = input_dropout
        self._criterion = resolve_loss(loss)
        check_output(self._criterion, self._activations[-1], self._widths[-1])
        self._l1 = check.check_nonnegative(l1, "l1")
        self._l2 = check.check_nonnegative(l2, "l2")
        self._seed = check.check_seed(seed)
        self.preprocessing: dict | None = None
        self._build(draw_parameters(n_in, layers, self.seed, self.dtype))
        for layer, made in zip(self.layers, layers, strict=True):
            layer.trainable = made.trainable

    def _set_shape(self, n_in: int, dense: tuple[Dense, ...]) -> None:
        self._dense = dense
        self._widths = (n_in, *(layer.n_out for layer in dense))
        self._activations = tuple(layer.activation for layer in dense)

    @property
    def is_plain(self) -> bool:
        """Whether `Network(widths, …)` makes such networks: σ(uW + b) in every layer."""
        return self.input_dropout == 0 and not any(layer.options() for layer in self.dense)

    widths = property(attrgetter("_widths"), doc="Units of every layer, inputs first.")
    activations = property(attrgetter("_activations"), doc="One Activation a layer.")
    dense = property(attrgetter("_dense"), doc="One `fastbp.Dense` a layer, as it was made.")
    input_dropout = property(attrgetter("_input_dropout"), doc="p of the inputs' dropout.")
    dtype = property(attrgetter("_dtype"), doc="np.dtype of parameters and arithmetic.")
    criterion = property(attrgetter("_criterion"), doc="The Loss.")
    l1 = property(attrgetter("_l1"), doc="Weight of ‖W‖₁ in J.")
    l2 = property(attrgetter("_l2"), doc="Weight of ‖W‖²/2 in J.")
    seed = property(attrgetter("_seed"), doc="The seed, an int, also where none was given.")
    layers = property(attrgetter("_layers"), doc="The layers; layers[i] is layer i + 1.")

    def _build(self, theta: Array) -> None:
        """Everything that follows from the attributes and theta: views, buffers, engine."""
        self._theta, self._grad = (aligned_zeros(theta.size, self.dtype) for _ in range(2))
        self._theta[...] = theta
        blocks, gradients = self.blocks(self._theta), self.blocks(self._grad)
        self._layers = tuple(
            Layer(dense, blocks[i], gradients[i], self._on_trainable(i))
            for i, dense in enumerate(self.dense)
        )
        self._forget()

    def _on_trainable(self, i: int) -> Callable[[bool], object] | None:
        """What to tell when layers[i] is frozen or thawed."""
        return None

    def _forget(self) -> None:
        """Back to the state before any forward: no z, a, delta, and no gradient to step along."""
        self._n_rows = 0
        self._has_gradient = False
        for layer in self.layers:
            layer.forget()

    def unpack(self, flat: Array) -> list[tuple[Array, Array | None]]:
        """Views (W^1, b^1), (W^2, b^2), … of a flat vector laid out as theta.

        flat (n_params,), any dtype; W (n_in, n_out), b (n_out,) or None where there is none.
        """
        return [(blocks["W"], blocks.get("b")) for blocks in self.blocks(flat)]

    def blocks(self, flat: Array) -> list[dict[str, Array]]:
        """Views of a flat vector laid out as theta, by layer: "W", "b", "gain", "shift".

        Those that a layer has, in the order of theta.

        >>> import fastbp
        >>> net = fastbp.Network.from_layers(2, [fastbp.Dense(3, norm="rms"), fastbp.Dense(1)])
        >>> [list(blocks) for blocks in net.blocks(net.theta)]
        [['W', 'b', 'gain'], ['W', 'b']]
        """
        return unpack(flat, self.widths[0], self.dense)

    def _blocks(self) -> list[tuple[slice, ...]]:
        """Where W, b, gain and shift of every layer stand in theta, as far as it has them."""
        found, start = [], 0
        for blocks in self.blocks(self._theta):
            ends = list(accumulate((block.size for block in blocks.values()), initial=start))
            found.append(tuple(slice(*ends_of) for ends_of in pairwise(ends)))
            start = ends[-1]
        return found

    def _bind(self, optimizer: Optimizer) -> None:
        """Make room for the optimiser's state, or see that it is of this network."""
        optimizer.bind(self._theta.size, self.dtype, len(self.layers))

    @property
    def theta(self) -> Array:
        """All parameters, flat: W^1 row by row, b^1, W^2, b^2, …; assigning copies in.

        The gain and the shift of a norm stand behind the b of their layer.
        """
        return self._theta

    @theta.setter
    def theta(self, value: object) -> None:
        self._theta[...] = check.as_parameters(value, self._theta.shape, self.dtype, "theta")

    @property
    def grad(self) -> Array:
        """The gradient of J of the last backward, a twin of theta."""
        return self._grad

    def _inputs(self, X: object, name: str = "X") -> Array:
        """X (n, n_0) as the passes take it, finite or not."""
        if is_sparse(X):
            return as_sparse_rows(X, self.widths[0], self.dtype, name).toarray()
        return check.as_matrix(X, self.widths[0], self.dtype, name=name)

    def _targets(self, y: object, n_rows: int, rows_of: str = "X") -> Array:
        """int32 class indices (n,) or rows (n, n_L), as the loss takes them."""
        n_out = self.widths[-1]
        return check.as_targets(y, self.criterion, n_rows, n_out, self.dtype, rows_of=rows_of)[1]

    # ---- description ----------------------------------------------------------------------

    def summary(self) -> str:
        """A table of the layers: parameters, their memory, and FLOPs of one sample forward.

        A training step takes three times as many a sample, less those of the first layer's δ.

        >>> import fastbp
        >>> print(fastbp.Network((2, 3, 1)).summary())
        layer  units   activation  parameters  memory  FLOPs  options
        1      2 -> 3  relu                 9    36 B     12
        2      3 -> 1  identity             4    16 B      6
        total                              13    52 B     18  float32, loss squared_error
        """
        return summary(self.layers, self._kind)

    def _repr_html_(self) -> str:
        """The same, for notebooks."""
        return network_html(type(self).__name__, self.widths, self.layers, self._kind)

    @property
    def _kind(self) -> str:
        return f"{self.dtype}, loss {self.criterion}"

    def __repr__(self) -> str:
        names = [str(activation) for activation in self.activations]
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        if not self.is_plain:
            drop = f", input_dropout={self.input_dropout}" if self.input_dropout else ""
            layers = [replace(layer.dense, trainable=layer.trainable) for layer in self.layers]
            made = f"{self.widths[0]}, {layers}, loss='{self.criterion}', dtype='{self.dtype}'"
            return f"{kind}.from_layers({made}{drop})"
        return f"{kind}({self.widths}, {names}, loss='{self.criterion}', dtype='{self.dtype}')"

    def __getstate__(self) -> dict[str, object]:
        state = {name: getattr(self, name) for name in ("widths", *_FIXED, "preprocessing")}
        trainable = tuple(layer.trainable for layer in self.layers)
        return state | {"theta": np.array(self._theta), "trainable": trainable}

    def __setstate__(self, state: dict[str, object]) -> None:
        theta = state["theta"]
        self.__dict__.update((f"_{name}", state[name]) for name in _FIXED)
        self._set_shape(state["widths"][0], state["dense"])
        self.preprocessing = state["preprocessing"]
        self._build(theta)
        for layer, trainable in zip(self.layers, state["trainable"], strict=True):
            layer.trainable = trainable
