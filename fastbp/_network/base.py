"""What a network is: its architecture, its parameters, and copies and files of both.

`derivatives` adds what can be computed with it, `trainable` how it is trained. The three classes
form one chain; at its end `fastbp.Network` and `fastbp.reference.Network` say which backend does
the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np

from .._checks import arguments as check
from .._checks.batch_norm import check_statistics, check_variances, variances
from .._checks.columns import Names, check_column_names, check_feature_names, column_names
from .._checks.keywords import (
    OF_NETWORKS,
    hinting,
    hinting_attributes,
    speaking_as,
)
from .._precision import HIGHEST, described
from .._precision import settled as settled_precision
from .._types import Array, Rows, SparseRows
from ..activations import Activation, resolve_layers
from ..activations import Spec as ActivationSpec
from ..hooks import Hook
from ..initializers import InitFunction, Initializer
from ..initializers import resolve as resolve_init
from ..losses import Loss
from ..losses import resolve as resolve_loss
from ..losses._losses import Spec as LossSpec
from ..losses._losses import check_output, warn_constant, warn_unnamed, warn_unpaired
from ..metrics._metrics import check_score
from ..optim import Optimizer
from .architecture import Architecture
from .backend import Backend
from .dense import Dense, check_layers, count_parameters, draw_parameters, settled
from .describe import network_html, summary
from .finite import first_lost
from .layers import Layer
from .model_file import write_model


class _Fitting:
    """A context in which a network counts one more fit."""

    __slots__ = ("_net",)

    def __init__(self, net: NetworkBase) -> None:
        self._net = net

    def __enter__(self) -> None:
        with self._net._lock:
            self._net._check_at_x("fit")
            self._net._check_statistics()
            self._net._n_fits += 1

    def __exit__(self, *raised: object) -> None:
        with self._net._lock:
            self._net._n_fits -= 1


@speaking_as("Network")
@hinting_attributes(OF_NETWORKS)
class NetworkBase:
    """The architecture and the parameters of a network; see `fastbp.Network`."""

    _BACKEND: ClassVar[type[Backend]]
    _DTYPE: ClassVar[str]  # that `from_layers` takes for None
    _ROUNDS_FLOAT64: ClassVar[bool] = False  # whether float64 takes other precisions than "highest"

    preprocessing: dict[str, object] | None
    """A dict that JSON can hold, kept in model files: what to do with inputs and outputs."""

    @hinting("Network", one_sequence=True)
    def __init__(
        self,
        widths: Iterable[int],
        *,
        activation: ActivationSpec | Sequence[ActivationSpec] = "relu",
        output: ActivationSpec = "identity",
        loss: LossSpec | None = None,
        dtype: object = "float32",
        init: str | Initializer | InitFunction = "auto",
        seed: int | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        matmul_precision: str | None = None,
    ) -> None:
        n_in, *units = check.check_widths(widths)
        activations = resolve_layers(len(units), activation, output)
        layers = [Dense(n, a, init=init) for n, a in zip(units, activations, strict=True)]
        self._make(
            n_in,
            layers,
            loss=loss,
            dtype=dtype,
            seed=seed,
            l1=l1,
            l2=l2,
            matmul_precision=matmul_precision,
        )

    @classmethod
    @hinting("from_layers")
    def from_layers(
        cls,
        n_in: int,
        layers: Sequence[Dense],
        *,
        loss: LossSpec | None = None,
        dtype: object = None,
        seed: int | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        input_dropout: float = 0.0,
        matmul_precision: str | None = None,
    ) -> Self:
        """A network of `fastbp.Dense` layers, each with options of its own.

        Plain layers give the same network as the constructor does. Dropout acts in `fit`,
        `train_batch` and after `forward(X, training=True)` only: `forward(X)`, `predict` and `loss`
        drop nothing. A mask is a function of the seed, the optimiser's step count t, the layer, the
        position of the sample in the batch, and the unit. `docs/layers.md` has the formulas.

        Parameters
        ----------
        n_in : int
            Number of inputs, at least 1.
        layers : sequence of Dense
            The layers, the first hidden one first. The last one is the output: it has no norm,
            dropout or residual.
        loss : str, Loss, LossFormula, callable or None, default None
            As for the constructor.
        dtype : {"float32", "float64"} or None, default None
            Of parameters and arithmetic. None takes the default of the constructor.
        seed : int or None, default None
            Fixes the initial weights, the order of the samples and the masks. None draws one.
        l1, l2 : float, default 0.0
            Penalties on weights, at least 0.
        input_dropout : float, default 0.0
            p, 0 <= p < 1: the share of inputs that a training step drops.
        matmul_precision : {"highest", "high", "medium"} or None, default None
            As for the constructor.

        Returns
        -------
        Network
            A network of this class.

        Raises
        ------
        TypeError, ValueError
            For arguments outside these ranges, and for layers that do not fit together.

        Examples
        --------
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
        net._make(
            check.check_positive_int(n_in, "n_in"),
            layers,
            loss=loss,
            dtype=cls._DTYPE if dtype is None else dtype,
            seed=seed,
            l1=l1,
            l2=l2,
            input_dropout=check.check_fraction(input_dropout, "input_dropout"),
            matmul_precision=matmul_precision,
        )
        return net

    def _make(
        self,
        n_in: int,
        layers: Sequence[Dense],
        *,
        loss: LossSpec | None,
        dtype: object,
        seed: int | None,
        l1: float,
        l2: float,
        matmul_precision: str | None,
        input_dropout: float = 0.0,
    ) -> None:
        """Check what both constructors take, and draw the parameters."""
        layers = check_layers(n_in, layers)
        if layers[0].embeds and input_dropout > 0:
            raise ValueError(
                "input_dropout does not go together with an embedding of the inputs: put dropout "
                "on layers[0]"
            )
        check.check_size(count_parameters(n_in, layers))
        checked_dtype = check.check_dtype(dtype)
        if layers[0].categories is not None:
            layers[0].categories.check_dtype(checked_dtype)
        dense = tuple(settled(layer, checked_dtype) for layer in layers)
        criterion, output = resolve_loss("squared_error" if loss is None else loss), dense[-1]
        check_output(criterion, output.activation, output.n_out)
        check_score(criterion, output.n_out)
        architecture = Architecture(
            widths=(n_in, *(layer.n_out for layer in dense)),
            dense=dense,
            criterion=criterion,
            dtype=checked_dtype,
            l1=check.check_nonnegative(l1, "l1"),
            l2=check.check_nonnegative(l2, "l2"),
            input_dropout=input_dropout,
            matmul_precision=self._settled_precision(matmul_precision, checked_dtype),
        )
        seed = check.check_seed(seed)
        theta = draw_parameters(n_in, layers, seed, checked_dtype)
        self._build(architecture, theta, seed, [layer.trainable for layer in layers])
        if loss is None:
            warn_unnamed(criterion, output.activation)
        warn_unpaired(criterion, output.activation)
        warn_constant(output.activation, output.n_out)

    def _siblings(
        self, seeds: Iterable[int], init: str | Initializer | InitFunction
    ) -> Iterator[Self]:
        """Networks as the constructor makes them: of this architecture, one for each seed."""
        architecture, initializer = self._architecture, resolve_init(init)
        layers = [replace(layer, init=initializer) for layer in architecture.dense]
        for given in seeds:
            seed, net = check.check_seed(given), type(self).__new__(type(self))
            theta = draw_parameters(architecture.widths[0], layers, seed, architecture.dtype)
            net._build(architecture, theta, seed, [True] * len(layers))
            yield net

    def _build(
        self, architecture: Architecture, theta: Array, seed: int, trainable: Iterable[bool]
    ) -> None:
        """Set every attribute: this is all that a network consists of."""
        self._seed = seed
        self.preprocessing = None
        self._feature_names: Names | None = None
        self._lock = self._BACKEND.new_lock()  # of theta, the stored pass and what is counted below
        self._partial_lock = self._BACKEND.new_lock()  # of a whole `partial_fit`
        self._hook: Hook | None = None
        self._in_hook = False
        self._n_fits = 0  # that are running
        self._at: object = None  # the optimiser in whose block of `extrapolated` theta is y
        self._gradient_at: object = None  # that of the last backward
        self._dropout_step = 0
        self._trained = False  # whether the last forward was one for training
        self._warned_of_evaluation = False
        self._theta = check.aligned_copy(theta, architecture.dtype)
        self._grad = check.aligned_zeros(theta.size, architecture.dtype)
        blocks, gradients = architecture.blocks(self._theta), architecture.blocks(self._grad)
        self._layers = self._layers_of(architecture, blocks, gradients)
        self._variances = variances(blocks)
        for layer, flag in zip(self._layers, trainable, strict=True):
            layer.trainable = flag
        self._compute_with(architecture)

    def _layers_of(
        self,
        architecture: Architecture,
        blocks: list[dict[str, Array]],
        grads: list[dict[str, Array]],
    ) -> tuple[Layer, ...]:
        dense = architecture.dense
        return tuple(Layer(*each, self._lock) for each in zip(dense, blocks, grads, strict=True))

    def _compute_with(self, architecture: Architecture) -> None:
        """Take another architecture with the same parameters, and a backend for it."""
        self._architecture, self._drops = architecture, architecture.drops
        self._has_batch_norm = architecture.has_batch_norm
        self._backend = self._BACKEND(architecture, self._lock)
        for l, layer in enumerate(self._layers, 1):
            layer.report_to(partial(self._backend.set_trainable, l))
        self._forget()

    def _set_l2(self, l2: float) -> None:
        """Set another l2 >= 0. Parameters and their views stay, z, a and delta are forgotten."""
        with self._lock:
            if l2 != self.l2:
                self._compute_with(replace(self._architecture, l2=float(l2)))

    def _settled_precision(self, name: object, dtype: np.dtype[Any]) -> str:
        return settled_precision(name, dtype, rounds_float64=self._ROUNDS_FLOAT64)

    def _fitting(self) -> _Fitting:
        """Around a fit, in which matmul_precision cannot be set."""
        return _Fitting(self)

    def _check_at_x(self, call: str) -> None:
        """Raise RuntimeError for a call in a block of `optim.extrapolated`."""
        if self._at is not None:
            raise RuntimeError(
                f"in a block of extrapolated the network has the point y of {self._at!r}, and its "
                f"own parameters x come back at the end: call {call} after the block"
            )

    def _restore(self, theta: object, seed: int) -> None:
        """Take the parameters and the seed of a checkpoint."""
        self.theta = theta
        self._seed = seed

    def _forget(self) -> None:
        """Return to the state before any forward: no z, a, delta, and no gradient for `step`."""
        with self._lock:
            self._n_rows = 0
            self._has_gradient = False
            for layer in self._layers:
                layer.forget()

    # ---- what it consists of --------------------------------------------------------------

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of every layer, inputs first."""
        return self._architecture.widths

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The `fastbp.activations.Activation` of every layer."""
        return self._architecture.activations

    @property
    def dense(self) -> tuple[Dense, ...]:
        """The `fastbp.Dense` of every layer, as it was made."""
        return self._architecture.dense

    @property
    def input_dropout(self) -> float:
        """p of the dropout of the inputs."""
        return self._architecture.input_dropout

    @property
    def dtype(self) -> np.dtype[Any]:
        """np.dtype of parameters and arithmetic."""
        return self._architecture.dtype

    @property
    def criterion(self) -> Loss:
        """The `fastbp.losses.Loss`."""
        return self._architecture.criterion

    @property
    def l1(self) -> float:
        """Weight of ‖W‖₁ in J."""
        return self._architecture.l1

    @property
    def l2(self) -> float:
        """Weight of ‖W‖²/2 in J."""
        return self._architecture.l2

    @property
    def matmul_precision(self) -> str:
        """How exact the factors of matrix products are: "highest", "high" or "medium".

        Setting it keeps the parameters and their views, `trainable` of the layers, the hook and
        the state of optimisers; z, a and delta are forgotten. It waits for a `step` or
        `train_batch` of another thread. Raises TypeError or ValueError as the constructor does, and
        RuntimeError within a hook and while a `fit` of the network is running, for example in a
        callback.

        >>> import fastbp
        >>> net = fastbp.Network((2, 1), seed=0)
        >>> net.matmul_precision = "medium"
        >>> net.matmul_precision
        'medium'
        """
        return self._architecture.matmul_precision

    @matmul_precision.setter
    def matmul_precision(self, name: str) -> None:
        if name is None:
            raise TypeError("matmul_precision must be a name, such as 'highest'; got None")
        precision = self._settled_precision(name, self.dtype)
        with self._lock:
            if self._in_hook:
                raise RuntimeError(
                    "a hook runs within a backward pass of its network: set matmul_precision "
                    "before or after it"
                )
            if self._n_fits > 0:
                raise RuntimeError(
                    "a fit of this network is running, with one precision throughout: set "
                    "matmul_precision before or after it"
                )
            if precision != self.matmul_precision:
                architecture = replace(self._architecture, matmul_precision=precision)
                self._compute_with(architecture)

    @property
    def is_plain(self) -> bool:
        """Whether every layer is σ(uW + b), as `Network(widths, …)` makes them."""
        return self._architecture.is_plain

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the inputs, if the network was trained on a data frame; None otherwise.

        `fit` and `train_batch` take them from the first frame of pandas, polars or Arrow whose
        names are all strings. From then on, each method raises ValueError for a frame with other
        names, or with these names in another order; arrays, which have no names, are taken as they
        are. Copies and files keep the names. They can be set, and None forgets them.

        >>> import fastbp
        >>> net = fastbp.Network((2, 1), seed=0)
        >>> net.feature_names = ["size", "age"]; net.feature_names
        ('size', 'age')
        """
        return self._feature_names

    @feature_names.setter
    def feature_names(self, names: Iterable[str] | None) -> None:
        self._feature_names = check_feature_names(names, self.widths[0])

    @property
    def seed(self) -> int:
        """The seed; the one that was drawn, if none was given."""
        return self._seed

    @property
    def dropout_step(self) -> int:
        """The number t of the dropout masks that the next forward pass for training uses.

        `forward(X, training=True)` uses the masks with which a fit makes step t, and adds 1, so
        each call has new masks. `step`, `train_batch` and `fit` raise it to the step count of their
        optimiser where that is higher. A loop with one such forward per step therefore has, bit for
        bit, the masks of `train_batch`. Copies and pickles keep it; model files do not. Set it to
        use masks again. Raises TypeError or ValueError for anything but a whole number from 0 on.

        >>> import fastbp
        >>> layers = [fastbp.Dense(8, "relu", dropout=0.5), fastbp.Dense(1)]
        >>> net = fastbp.Network.from_layers(2, layers, seed=0)
        >>> first, second = (net.forward([[1, 2]], training=True) for _ in range(2))
        >>> net.dropout_step = 0
        >>> bool(first != second), bool(first == net.forward([[1, 2]], training=True))
        (True, True)
        """
        return self._dropout_step

    @dropout_step.setter
    def dropout_step(self, t: int) -> None:
        self._dropout_step = check.check_count(t, "dropout_step")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers; layer l, which counts from 1, is layers[l - 1]."""
        return self._layers

    @property
    def theta(self) -> Array:
        """All parameters, flat: W^1 row by row, b^1, W^2, b^2, …; assignment copies values.

        The gain and the shift of a norm follow the b of their layer, then come the running mean and
        variance of batch norm, which are not trained, and then the trained constants of its
        activation.
        """
        return self._theta

    @theta.setter
    def theta(self, value: object) -> None:
        checked = self._as_theta(value)
        with self._lock:
            self._theta[...] = checked

    def _as_theta(self, value: object) -> Array:
        """A value for theta; ValueError for another shape or a negative running variance."""
        checked = check.as_parameters(value, self._theta.shape, self.dtype, "theta")
        if self._variances:
            check_variances(variances(self._architecture.blocks(checked)), "theta: ")
        return checked

    def _check_statistics(self) -> None:
        """Raise ValueError for running statistics with which no training can begin."""
        if self._has_batch_norm:
            check_statistics(self._architecture.blocks(self._theta))

    @property
    def _arithmetic(self) -> str:
        """What computes its passes: the ISA of the engine, or NumPy."""
        return self._backend.arithmetic

    def _copy_of_theta(self) -> Array:
        """Theta between two steps, whatever other threads do."""
        return self._lock.copy(self._theta)

    def _non_finite(self) -> tuple[str, float] | None:
        """The first parameter that is not finite, such as "layers[0].W", and its value, or None."""
        with self._lock:
            if check.looks_finite(self._theta, self.dtype):
                return None
            lost = first_lost(self._layers)
        return None if lost is None else (f"layers[{lost[0]}].{lost[1]}", lost[3])

    @property
    def grad(self) -> Array:
        """The gradient of J of the last backward, laid out as theta."""
        return self._grad

    def unpack(self, flat: Array) -> list[tuple[Array, Array | None]]:
        """Views (W^1, b^1), (W^2, b^2), … of a flat vector laid out as theta.

        flat (n_params,), any dtype; W (n_in, n_out), b (n_out,) or None for a layer without bias.
        """
        return [(blocks["W"], blocks.get("b")) for blocks in self.blocks(flat)]

    def blocks(self, flat: Array) -> list[dict[str, Array]]:
        """Views of a flat vector laid out as theta, by layer: "W", "b", "gain", "shift", …

        Each layer has those that it needs, in the order of theta: after "shift" come
        "running_mean" and "running_var" of batch norm, and then the trained constants of its
        activation, by their names.

        >>> import fastbp
        >>> net = fastbp.Network.from_layers(2, [fastbp.Dense(3, norm="rms"), fastbp.Dense(1)])
        >>> [list(blocks) for blocks in net.blocks(net.theta)]
        [['W', 'b', 'gain'], ['W', 'b']]
        """
        return self._architecture.blocks(flat)

    # ---- arguments of its methods ---------------------------------------------------------

    def _inputs(self, X: object, name: str = "X") -> Rows:
        """X (n, n_0) as the backend takes it, finite or not."""
        if self._feature_names is not None and type(X) is not np.ndarray:
            check_column_names(X, self._feature_names, name)
        rows = self._backend.inputs(X, name)
        categories = self._architecture.dense[0].categories
        if categories is not None and not isinstance(rows, SparseRows):
            categories.check_codes(rows, name)
        return rows

    def _names_of(self, X: object) -> Names | None:
        """The names that a training on X gives to the inputs."""
        return column_names(X)

    def _remember(self, names: Names | None) -> None:
        """Keep the names of the inputs that a training begins with, unless there are some."""
        if self._feature_names is None:
            self._feature_names = names

    def _targets(
        self,
        y: object,
        n_rows: int,
        rows_of: str = "X",
        name: str = "y",
        *,
        some: bool = True,
    ) -> Array | None:
        """int32 class numbers (n,) or rows (n, n_targets), as the loss takes them."""
        net, n_out = self._architecture, self._architecture.widths[-1]
        return check.as_targets(
            y, net.criterion, n_rows, n_out, net.dtype, name=name, rows_of=rows_of, some=some
        )[1]

    def _bind(self, optimizer: Optimizer) -> None:
        """Allocate the state of an optimiser; ValueError for one that another network uses."""
        optimizer.bind(self._theta.size, self._theta.dtype, len(self._layers))

    # ---- description ----------------------------------------------------------------------

    def summary(self) -> str:
        """A table of the layers: parameters, their memory, and FLOPs of one sample forward.

        A training step takes three times as many FLOPs per sample, less those for the δ of the
        inputs.

        >>> import fastbp
        >>> print(fastbp.Network((2, 3, 1)).summary())
        layer  units   activation  parameters  memory  FLOPs  options
        1      2 -> 3  relu                 9    36 B     12
        2      3 -> 1  identity             4    16 B      6
        total                              13    52 B     18  float32, loss squared_error
        """
        return summary(self.layers, self._kind)

    @property
    def _kind(self) -> str:
        return f"{described(self.dtype, self.matmul_precision)}, loss {self.criterion}"

    def _repr_html_(self) -> str:
        """`summary` for notebooks."""
        return network_html(type(self).__name__, self.widths, self.layers, self._kind)

    def __repr__(self) -> str:
        names = [str(activation) for activation in self.activations]
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        more = f"loss='{self.criterion}', dtype='{self.dtype}'"
        if self.matmul_precision != HIGHEST:
            more += f", matmul_precision='{self.matmul_precision}'"
        if not self.is_plain:
            drop = f", input_dropout={self.input_dropout}" if self.input_dropout else ""
            layers = [replace(layer.dense, trainable=layer.trainable) for layer in self.layers]
            return f"{kind}.from_layers({self.widths[0]}, {layers}, {more}{drop})"
        return f"{kind}({self.widths}, {names}, {more})"

    # ---- copies and files -----------------------------------------------------------------

    def copy(self) -> Self:
        """An independent network with the same parameters, such as a target network.

        It has the same layers and options, `trainable` of every layer, seed, `dropout_step`,
        matmul_precision, `feature_names` and `preprocessing`. It does not have the stored pass and
        its gradient, the hook and the optimiser of `partial_fit`. `copy.copy`, `copy.deepcopy` and
        pickles give the same; `copy.copy` shares the dict `preprocessing`.

        Returns
        -------
        Network
            A network of this class.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network((2, 1), seed=0)
        >>> target = net.copy()
        >>> net.layers[0].b = [7.0]
        >>> target.layers[0].b
        array([0.], dtype=float32)
        >>> target.theta += 0.01 * (net.theta - target.theta)
        """
        return deepcopy(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a file in the safetensors layout; see `fastbp.io`.

        Raises ValueError for parameters that are not finite, OSError if the file cannot be written.
        """
        self._check_at_x("save")
        write_model(
            path,
            self._architecture,
            self._copy_of_layers(),
            self.seed,
            self.preprocessing,
            self.feature_names,
        )

    def _copy_of_layers(self) -> tuple[Layer, ...]:
        """The layers with copies of their parameters, all of the same moment."""
        blocks = self._architecture.blocks(self._copy_of_theta())
        layers = self._layers_of(self._architecture, blocks, blocks)
        for layer, own in zip(layers, self._layers, strict=True):
            layer.trainable = own.trainable
        return layers

    def __getstate__(self) -> dict[str, object]:
        net = self._architecture
        return {
            "widths": net.widths,
            "dtype": net.dtype,
            "dense": net.dense,
            "input_dropout": net.input_dropout,
            "criterion": net.criterion,
            "l1": net.l1,
            "l2": net.l2,
            "matmul_precision": net.matmul_precision,
            "seed": self.seed,
            "dropout_step": self._dropout_step,
            "preprocessing": self.preprocessing,
            "feature_names": self.feature_names,
            "theta": self._copy_of_theta(),
            "trainable": tuple(layer.trainable for layer in self.layers),
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        fields = ("widths", "dense", "criterion", "dtype", "l1", "l2", "input_dropout")
        precision = state.get("matmul_precision", HIGHEST)  # version 0.1 had no other
        architecture = Architecture(
            **{name: state[name] for name in fields},
            matmul_precision=self._settled_precision(precision, state["dtype"]),
        )
        self._build(architecture, state["theta"], state["seed"], state["trainable"])
        self.preprocessing = state["preprocessing"]
        self._feature_names = state.get("feature_names")  # version 0.1 had none
        self._dropout_step = state.get("dropout_step", 0)  # which version 0.1 did not have
