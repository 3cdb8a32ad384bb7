"""The base class of both estimators: parameters, fitted attributes, and `fit`."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from math import inf, sqrt
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import check_is_fitted, validate_data

from .._checks.numbers import narrowed
from .._checks.words import counted
from .._network.dense import Dense, Norm
from .._network.network import Network
from .._precision import HIGHEST
from .._training.divided import Divided
from .._types import Array
from ..activations import Spec as ActivationSpec
from ..losses import Loss
from ..optim import SGD, Adam, Optimizer
from ..population import Population
from ..schedules import Schedule
from ._arrays import (
    SparseMatrix,
    in_dtype,
    is_finite,
    refuse_masked_elements,
    with_numpy_dtype,
)
from ._callbacks import CallbackSupportMixin, warn_user
from ._members import mean_of, of_one_network, refuse_ensemble
from ._parameters import CONSTRAINTS, as_object
from ._weights import Weights

SPARSE = ("csr", "csc")
FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


class HeldOut(NamedTuple):
    """The arguments of `fit` about data to validate on, as they were given."""

    validation_data: object = None
    X_val: object = None
    y_val: object = None
    sample_weight_val: object = None

    def given(self) -> list[str]:
        """The names of those that are not None."""
        return [name for name, value in self._asdict().items() if value is not None]


class BaseMLP(CallbackSupportMixin, BaseEstimator):
    """Parameters, network and training; a subclass defines targets, loss and score."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    def _validate_params(self) -> None:
        """Check all parameters; the error shows the object for a name that `Network.fit` takes."""
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            for name in ("solver", "learning_rate"):
                way = as_object(name, getattr(self, name))
                if way is not None and f"The '{name}' parameter" in str(error):
                    raise InvalidParameterError(f"{error} Write {name}={way}.") from None
            raise

    # Parameters, which the constructors of the subclasses set.
    hidden_layer_sizes: int | Sequence[int] | Array
    activation: ActivationSpec | Sequence[ActivationSpec]
    solver: str | Optimizer
    alpha: float
    batch_size: int | str
    learning_rate: str | Schedule
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: int | np.random.RandomState | None
    tol: float
    verbose: bool | int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    dropout: float
    norm: str | Norm | None
    callbacks: Sequence[object]
    n_threads: int | None
    # Estimators that version 0.1 pickled have no value.
    matmul_precision: str | None = None
    n_members: int = 1

    # The record of training. An ensemble has only the first two; the others are its members'.
    n_iter_: int
    loss_: float
    t_: int = of_one_network()
    loss_curve_: list[float] = of_one_network()
    best_loss_: float | None = of_one_network()
    validation_scores_: list[float] | None = of_one_network()
    best_validation_score_: float | None = of_one_network()
    _no_improvement_count: int

    # What a fit leaves for the next one, besides the record.
    n_outputs_: int
    network_: Network = of_one_network()
    _random_state: np.random.RandomState
    _optimizer: Optimizer
    _optimizer_settings: tuple[dict[str, Any], str | None]
    _schedule: Schedule | None
    _schedule_given: Schedule | None

    # An ensemble has its members instead of a network.
    estimators_: list[Self]
    _n_begun: int  # how many members it was made with; some may have diverged since
    _number: int  # of a member of an ensemble, from 0

    @classmethod
    @cache
    def _get_param_names(cls) -> Any:
        """The names of the parameters, which scikit-learn reads from the signature at each call."""
        return super()._get_param_names()

    # ---- the network, by scikit-learn's names ---------------------------------------------

    # As in scikit-learn, weights may be set before there is a network. `_given` keeps them for
    # the first partial_fit or a warm start, which begins with them.

    @property
    def coefs_(self) -> list[Array]:
        """W of every layer, (units below, units), as views of the network's parameters.

        Assigning a list of arrays, or an array to an item, copies the values.
        """
        return self._weights("coefs_", "W")

    @coefs_.setter
    def coefs_(self, values: Iterable[object]) -> None:
        self._set_weights("coefs_", values)

    @property
    def intercepts_(self) -> list[Array]:
        """b of every layer, (units,), as views of the network's parameters, like `coefs_`."""
        return self._weights("intercepts_", "b")

    @intercepts_.setter
    def intercepts_(self, values: Iterable[object]) -> None:
        self._set_weights("intercepts_", values)

    @property
    def n_layers_(self) -> int:
        """Number of layers, including the input layer."""
        given = self._before_network("n_layers_")
        return len(self._some_network().widths) if given is None else int(given)

    @n_layers_.setter
    def n_layers_(self, value: int) -> None:
        self._give("n_layers_", value)

    @property
    def out_activation_(self) -> str:
        """The activation of the outputs, by scikit-learn's name."""
        given = self._before_network("out_activation_")
        if given is not None:
            return str(given)
        name = self._some_network().activations[-1].name
        return "logistic" if name == "sigmoid" else name

    @out_activation_.setter
    def out_activation_(self, value: str) -> None:
        self._give("out_activation_", value)

    @property
    def population_(self) -> Population:
        """The networks of an ensemble, those of `estimators_`, as a `fastbp.Population`."""
        if "estimators_" not in self.__dict__:
            way = "network_ is its network" if self._n_fitted() else "call fit first"
            raise AttributeError(
                f"this {type(self).__name__} is no fitted ensemble of n_members > 1: {way}"
            )
        return Population(member.network_ for member in self.estimators_)

    def _some_network(self) -> Network:
        """The network, or one of those of an ensemble; all of them are alike but in weights."""
        known = self.__dict__
        net: Network | None = known.get("network_")
        if net is not None:
            return net
        if "estimators_" not in known:
            kind = type(self).__name__
            raise AttributeError(f"this {kind} has no weights yet: call fit first")
        return self.estimators_[0].network_

    def _weights(self, name: str, parameter: str) -> list[Array]:
        given: list[Array] | None = self._before_network(name)
        if given is not None:
            return given
        refuse_ensemble(self, name)
        layers = self._some_network().layers
        return Weights(name, [layer.parameters()[parameter] for layer in layers])

    def _set_weights(self, name: str, values: Iterable[object]) -> None:
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(f"{name} must be a list of arrays, one per layer; got {values!r}")
        values = list(values)
        refuse_ensemble(self, name)
        if "network_" in self.__dict__:
            getattr(self, name).assign(values)
        else:
            self._give(name, values)

    def _before_network(self, name: str) -> Any:
        """The value that was set for an attribute before there is a network; None if not set."""
        return None if self._n_fitted() else self.__dict__.get("_given", {}).get(name)

    def _give(self, name: str, value: object) -> None:
        if self._n_fitted():
            raise AttributeError(f"{name} is determined by the network and cannot be set")
        self.__dict__.setdefault("_given", {})[name] = value

    def _take_given(self, net: Network) -> None:
        """Replace the initial weights by those that were set before there was a network."""
        given = self.__dict__.get("_given", {})
        for name, parameter in (("coefs_", "W"), ("intercepts_", "b")):
            if name in given:
                arrays = [layer.parameters()[parameter] for layer in net.layers]
                Weights(name, arrays).assign(given[name])

    # ---- training -------------------------------------------------------------------------

    def _refuse_epochs(self, held_out: HeldOut) -> None:
        """Raise ValueError for an argument or a parameter that needs epochs."""
        for name in ["callbacks"] * (len(self.callbacks) > 0) + held_out.given():
            raise ValueError(
                f"lbfgs has no epochs, which {name} would monitor: leave {name} out, or use adam"
            )
        if self.dropout:
            raise ValueError("lbfgs minimises one J, but dropout changes J at every call: use adam")
        norm = Dense(1, norm=self.norm).norm
        if norm is not None and norm.by_batch:
            raise ValueError(
                "lbfgs takes no steps that could move the statistics of batch norm: use adam"
            )

    def _network_dtype(self, given: np.dtype[Any]) -> np.dtype[Any]:
        """The dtype of a new network for inputs of the dtype `given`.

        Raises ValueError for "lbfgs", which needs float64, with a precision that needs float32.
        """
        if self.solver == "lbfgs":
            if self._rounds():
                raise ValueError(
                    "lbfgs computes in float64, which takes matmul_precision='highest' only; got "
                    f"{self.matmul_precision!r}: use adam, or leave matmul_precision out"
                )
            return np.dtype(np.float64)
        return np.dtype(np.float32) if self._rounds() else given

    def _rounds(self) -> bool:
        """Whether matmul_precision makes a new network float32."""
        return self.matmul_precision not in (None, HIGHEST)

    def _in_network_dtype(self, X: Array | SparseMatrix) -> Array | SparseMatrix:
        """X in the network's dtype; ValueError for a number outside its range."""
        return in_dtype(X, self.network_.dtype, self._wider())

    def _check_range(self, y: Array) -> None:
        """ValueError for a target outside the range of the network's dtype."""
        if y.dtype.kind == "f":
            narrowed(y, self.network_.dtype, "y", self._wider())

    def _wider(self) -> str:
        """How to get a float64 network."""
        if self._rounds():
            return "leave matmul_precision out"
        return "fit a new estimator to float64 data"

    def _hidden_sizes(self) -> tuple[int, ...]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]
        if not all(isinstance(size, Integral) for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be whole numbers, got {sizes}.")
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return tuple(int(size) for size in sizes)

    def _begin(self, widths: tuple[int, ...], dtype: np.dtype[Any], *, from_given: bool) -> None:
        """Create the network with scikit-learn's initial weights for this random state.

        If `from_given`, weights that were set before there was a network replace them.
        """
        for name in ("_optimizer", "_optimizer_settings", "_schedule", "_schedule_given"):
            self.__dict__.pop(name, None)
        self._clear_record()
        rng = self._random_state
        drawn = []
        for n_in, n_out in pairwise(widths):
            bound = self._initial_bound(n_in, n_out)
            drawn += [rng.uniform(-bound, bound, (n_in, n_out)), rng.uniform(-bound, bound, n_out)]
        net = self._make_network(widths, dtype)
        net.feature_names = getattr(self, "feature_names_in_", None)
        for layer, W, b in zip(net.layers, drawn[::2], drawn[1::2], strict=True):
            layer.W, layer.b = W, b
        if from_given:
            self._take_given(net)
        self.network_ = net
        self.__dict__.pop("_given", None)

    def _clear_record(self) -> None:
        """Set the record of training to its state before any training."""
        self.n_iter_ = self.t_ = 0
        self.loss_curve_ = []
        self._no_improvement_count = 0
        early = bool(self.early_stopping)
        self.best_loss_ = None if early else inf
        self.validation_scores_ = [] if early else None
        self.best_validation_score_ = -inf if early else None

    def _make_network(self, widths: tuple[int, ...], dtype: np.dtype[Any]) -> Network:
        """A network with weights of 0; its seed depends on the random state, which is unchanged."""
        output, loss = self._objective()
        layers = [*self._hidden_layers(widths[1:-1]), Dense(widths[-1], output, init="zeros")]
        state = self._random_state.get_state()
        seed = int(self._random_state.randint(np.iinfo(np.int32).max))
        self._random_state.set_state(state)
        return Network.from_layers(
            widths[0],
            layers,
            loss=loss,
            dtype=dtype,
            seed=seed,
            matmul_precision=self.matmul_precision,
        )

    def _hidden_layers(self, sizes: Sequence[int]) -> list[Dense]:
        names: Sequence[ActivationSpec]
        if isinstance(self.activation, Sequence) and not isinstance(self.activation, str):
            names = self.activation
        else:
            names = [self.activation] * len(sizes)
        if len(names) != len(sizes):
            raise ValueError(
                f"activation lists {counted(len(names), 'name')}; the network has "
                f"{counted(len(sizes), 'hidden layer')}"
            )
        return [
            Dense(
                n,
                "sigmoid" if each == "logistic" else each,
                dropout=self.dropout,
                norm=self.norm,
                init="zeros",
            )
            for n, each in zip(sizes, names, strict=True)
        ]

    def _initial_bound(self, n_in: int, n_out: int) -> float:
        """The bound of the initial weights: Glorot & Bengio, AISTATS 2010, as in scikit-learn."""
        return sqrt((2.0 if self.activation == "logistic" else 6.0) / (n_in + n_out))

    def _make_optimizer(self) -> Optimizer:
        if isinstance(self.solver, Optimizer):
            optimizer = copy.deepcopy(self.solver)
            optimizer.reset()
            return optimizer
        if self.solver == "adam":
            return Adam(self.learning_rate_init, (self.beta_1, self.beta_2), self.epsilon)
        nesterov = self.nesterovs_momentum and self.momentum > 0
        return SGD(self.learning_rate_init, self.momentum, nesterov)

    def _scales_by_samples(self) -> bool:
        """Whether the rate depends on the number of samples trained on, as in `_scaled_rate`."""
        return bool(self.solver == "sgd" and self.learning_rate == "invscaling")

    def _scaled_rate(self) -> float:
        return float(self.learning_rate_init / (self.t_ + 1) ** self.power_t)

    def _clipped_batch_size(self, n_samples: int, *, quiet: bool) -> int:
        if isinstance(self.batch_size, str):  # "auto"
            return min(200, n_samples)
        if self.batch_size > n_samples and not quiet:
            warn_user(
                f"batch_size is {self.batch_size}, but there are {n_samples} samples: "
                f"it is clipped to {n_samples}"
            )
        return min(int(self.batch_size), n_samples)

    def _validated(
        self, X: object, y: object, *, reset: bool
    ) -> tuple[Array | SparseMatrix, Array]:
        """Run scikit-learn's checks and refuse masked elements; `reset` sets the features again."""
        refuse_masked_elements(X=X, y=y)
        validated: tuple[Array | SparseMatrix, Array] = validate_data(
            self,
            X,
            with_numpy_dtype(y),
            accept_sparse=SPARSE,
            multi_output=True,
            dtype=FLOATS,
            y_numeric=self._numeric,
            reset=reset,
        )
        return validated

    # ---- use ------------------------------------------------------------------------------

    def _outputs(self, X: object) -> Array:
        """a^L (samples, n_units) for X, which is checked; of an ensemble, the mean over members."""
        net: Network | None = self.__dict__.get("network_")
        if net is not None:
            return net.predict(self._rows(X, net))
        return mean_of(self._outputs_of_each(X))

    def _outputs_of_each(self, X: object) -> Array:
        """a^L of every member of an ensemble, (members, samples, n_units)."""
        check_is_fitted(self)
        population = self.population_
        return population.predict(self._rows(X, population[0]))

    def _rows(self, X: object, net: Network) -> Any:
        """X after its checks; a valid array takes the fast path."""
        valid = (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype in FLOATS
            and X.shape[1] == net.widths[0]
            and len(X) > 0
            and "feature_names_in_" not in self.__dict__
            and is_finite(X)
        )
        if valid:
            return X
        refuse_masked_elements(X=X)
        return validate_data(self, X, accept_sparse=SPARSE, dtype=FLOATS, reset=False)

    def _n_fitted(self) -> int:
        """With how many networks it was fitted; 0 before a fit."""
        known = self.__dict__
        return self._n_begun if "estimators_" in known else int("network_" in known)

    def __sklearn_is_fitted__(self) -> bool:
        return self._n_fitted() > 0

    def _has_epochs(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- defined by subclasses ------------------------------------------------------------

    _numeric: bool  # whether targets are numbers

    @abstractmethod
    def _objective(self) -> tuple[str, str | Loss]:
        """The output activation and the loss, by fastbp's names."""

    def _n_units(self) -> int:
        """Number of units of the output layer."""
        return self.n_outputs_

    @abstractmethod
    def _take_targets(self, y: Array, *, new: bool, incremental: bool, classes: object) -> None:
        """Set the attributes that depend on the targets, such as n_outputs_.

        Unless `new`, raise ValueError if the targets differ from those of the previous fits.
        """

    @abstractmethod
    def _encode(self, y: Array) -> Array:
        """The targets in the form that the network requires."""

    @abstractmethod
    def _stratified(self, y: Array) -> bool:
        """Whether a split keeps the proportions of encoded targets."""

    @abstractmethod
    def _reported(self, J: float) -> float:
        """J as scikit-learn defines it."""

    def _reports_weights(self) -> bool:
        """Whether `_reported` depends on the weights."""
        return False

    @abstractmethod
    def _weighted(
        self, y: Array, sample_weight: Array | None, divided: Divided | None = None
    ) -> Array | None:
        """The sample weights, including class weights, for encoded targets; perhaps of a rank."""

    def _score_encoded(
        self, X: Array | SparseMatrix, y: Array, sample_weight: Array | None
    ) -> float:
        """The validation score for encoded targets."""
        return self._score_outputs(self.network_.predict(X), y, sample_weight)

    @abstractmethod
    def _score_outputs(self, outputs: Array, y: Array, sample_weight: Array | None) -> float:
        """The same for outputs of the network."""
