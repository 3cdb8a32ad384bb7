"""MLPRegressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from .._checks.arguments import check_flag
from .._checks.keywords import hinting
from .._network.dense import Norm
from .._training.divided import Divided
from .._types import Array
from ..activations import Spec as ActivationSpec
from ..losses import Loss
from ..losses import resolve as resolve_loss
from ..metrics._declarations import direction
from ..metrics._metrics import Metric, score_of
from ..optim import Optimizer
from ..schedules import Schedule
from ._arrays import SparseMatrix, checked_weights, refuse_masked_elements, with_numpy_dtype
from ._callbacks import only_with_epochs, with_callbacks
from ._estimator import FLOATS, SPARSE, BaseMLP, HeldOut
from ._fit import fit_estimator, fit_in_parts
from ._members import mean_of
from ._parameters import OfGates
from ._uncertainty import by_target, quantiles_of, std_of

if TYPE_CHECKING:
    from ..gates import LossFormula


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor with scikit-learn's interface on the fastbp engine.

    The parameters and attributes are those of `sklearn.neural_network.MLPRegressor`, with these
    additions: more values of `loss`, `activation`, `solver` and `learning_rate`, and the
    parameters `dropout`, `norm`, `n_members`, `callbacks`, `n_threads` and `matmul_precision`.
    docs/sklearn.md lists the differences.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        "squared_error", "poisson", or any regression loss of `fastbp.losses`, by name or as an
        object, or a formula of `fastbp.gates.loss` whose targets are numbers. With its option
        `ignore_nan`, y may have NaN for targets that are not known.
    hidden_layer_sizes : int or array-like of int, default (100,)
        Number of units of each hidden layer.
    activation : str, Activation, ActivationFormula or list, default "relu"
        Activation of the hidden layers: a name of scikit-learn, a name or an object of
        `fastbp.activations`, a formula of `fastbp.gates.activation`, or a list with one of them for
        each hidden layer.
    solver : {"adam", "sgd", "lbfgs"} or Optimizer, default "adam"
        Update rule. An optimiser of `fastbp.optim` except `LBFGS` is copied.
    alpha : float, default 0.0001
        Strength of the L2 penalty, at least 0.
    batch_size : int or "auto", default "auto"
        Rows per batch; "auto" means min(200, n_samples). "lbfgs" ignores it.
    learning_rate : {"constant", "invscaling", "adaptive"} or Schedule, default "constant"
        How the rate changes: by a name, which only "sgd" uses, or by a schedule of
        `fastbp.schedules`.
    learning_rate_init : float, default 0.001
        Initial learning rate of "sgd" and "adam", greater than 0.
    power_t : float, default 0.5
        Exponent of "invscaling", at least 0.
    max_iter : int, default 200
        Largest number of epochs, or of iterations of "lbfgs".
    shuffle : bool, default True
        Whether to visit the rows in a new order in each epoch.
    random_state : int, RandomState or None, default None
        Source of the initial weights, of the order of the rows, and of the split for early
        stopping.
    tol : float, default 1e-4
        Smallest improvement of the loss or the validation score that counts.
    verbose : bool or int, default False
        Whether to print the loss of each epoch.
    warm_start : bool, default False
        Whether `fit` continues with the network of the last call.
    momentum : float, default 0.9
        Momentum of "sgd", at least 0 and below 1.
    nesterovs_momentum : bool, default True
        Whether "sgd" uses Nesterov's momentum.
    early_stopping : bool, default False
        Whether to hold out a part of the data, stop when its score does not improve, and keep the
        best weights.
    validation_fraction : float, default 0.1
        Fraction of the data held out for early stopping.
    beta_1 : float, default 0.9
        Decay rate of Adam's first moment, at least 0 and below 1.
    beta_2 : float, default 0.999
        Decay rate of Adam's second moment, at least 0 and below 1.
    epsilon : float, default 1e-8
        Term added to the denominator of Adam.
    n_iter_no_change : int, default 10
        Number of epochs without improvement that are accepted.
    max_fun : int, default 15000
        Largest number of function evaluations of "lbfgs".
    dropout : float, default 0.0
        Dropout rate of every hidden layer, as in `fastbp.Dense`; at least 0 and below 1.
    norm : str, Norm or None, default None
        Normalisation of every hidden layer, as in `fastbp.Dense`.
    n_members : int, default 1
        Number of networks, at least 1. Several are an ensemble, which predicts their mean; they are
        trained at the same time, as a `fastbp.Population`. Member 0 is the network of n_members=1;
        the others have numbers drawn from `random_state` as their own.
    callbacks : sequence, default ()
        Callbacks as described in `fastbp.callbacks`. Not with "lbfgs".
    n_threads : int or None, default None
        Largest number of threads of "sgd" and "adam"; None for `fastbp.get_num_threads()`, which
        "lbfgs" and predictions always use.
    matmul_precision : {"highest", "high", "medium"} or None, default None
        How exact the factors of matrix products are; see `fastbp.Network`. "high" and "medium"
        make a float32 network of float64 data too, and are not for "lbfgs". None means
        `fastbp.get_float32_matmul_precision()` for float32 data, and "highest" for float64.

    Attributes
    ----------
    coefs_ : list of array, shape (units below, units)
        Weights of each layer, as views of the network's parameters.
    intercepts_ : list of array, shape (units,)
        Biases of each layer, as views of the network's parameters.
    network_ : Network
        The trained `fastbp.Network`. An ensemble has none; nor has it the weights and the record of
        training, except `loss_`, the mean over its members, and `n_iter_`, their largest.
    estimators_ : list of MLPRegressor
        The members of an ensemble, each an estimator with n_members=1; without those that diverged.
    population_ : Population
        The networks of an ensemble, with `save`.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : array of str
        Names of the columns of X, if it has names.
    n_layers_ : int
        Number of layers, including the input layer.
    n_outputs_ : int
        Number of columns of y.
    out_activation_ : str
        Activation of the output layer, by scikit-learn's name.
    n_iter_ : int
        Number of epochs or iterations of the last fit.
    t_ : int
        Number of samples trained on.
    loss_ : float
        Loss of the last epoch.
    loss_curve_ : list of float
        Loss of each epoch.
    best_loss_ : float or None
        Lowest loss; None with early stopping.
    validation_scores_ : list of float or None
        Validation score of each epoch, as `score`, but the negative mean pinball loss for several
        quantiles; None without validation data.
    best_validation_score_ : float or None
        Highest validation score; None without validation data.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> model = MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", random_state=0).fit(X, X[:, 0])
    >>> bool(model.score(X, X[:, 0]) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [str, Loss, OfGates("LossFormula")],
    }
    __metadata_request__fit: ClassVar = {"parts": UNUSED, "comm": UNUSED}
    _numeric = True

    @hinting("MLPRegressor", kind="estimator")
    def __init__(
        self,
        loss: str | Loss | LossFormula = "squared_error",
        hidden_layer_sizes: int | Sequence[int] | Array = (100,),
        activation: ActivationSpec | Sequence[ActivationSpec] = "relu",
        *,
        solver: str | Optimizer = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        norm: str | Norm | None = None,
        n_members: int = 1,
        callbacks: Sequence[object] = (),
        n_threads: int | None = None,
        matmul_precision: str | None = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.norm = norm
        self.n_members = n_members
        self.callbacks = callbacks
        self.n_threads = n_threads
        self.matmul_precision = matmul_precision

    @with_callbacks
    @hinting("fit", kind="fit of an estimator")
    def fit(
        self,
        X: object,
        y: object,
        sample_weight: object = None,
        *,
        validation_data: object = None,
        X_val: object = None,
        y_val: object = None,
        sample_weight_val: object = None,
        parts: int | None = None,
        comm: Any = None,
    ) -> Self:
        """Train the network on X and y.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Inputs. The network has their dtype, float32 or float64. With "lbfgs" it is float64, and
            with a matmul_precision of "high" or "medium" float32.
        y : array-like, shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array-like or None, shape (n,), default None
            Weights of the samples, none of them negative.
        validation_data : tuple or None, default None
            (X, y) or (X, y, sample_weight), scored after every epoch in `validation_scores_`. With
            early_stopping it replaces the held-out part of X. Not with "lbfgs".
        X_val, y_val, sample_weight_val : array-like or None, default None
            The same, as separate arguments. A Pipeline with transform_input=["X_val"] transforms
            X_val as it does X; see docs/sklearn.md.
        parts : int or None, default None
            In how many parts to cut the rows, as for `Network.fit`: a power of two; None means 16
            with `comm`, and no parts otherwise. Not for "lbfgs" or n_members > 1. The rows that
            early_stopping holds out are chosen within each part.
        comm : mpi4py.MPI.Comm or None, default None
            Train on all ranks of this communicator: each calls `fit` with the same parameters and
            its own rows, weights and validation data. The random state is that
            of rank 0, which alone calls callbacks, warns and prints. Afterwards all ranks are
            fitted alike, with the bits of `parts` on one rank; see docs/many_machines.md.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter is invalid; the estimator is then unchanged. With `comm`,
            on all ranks, also if parameters or columns differ between ranks.
        """
        held_out = HeldOut(validation_data, X_val, y_val, sample_weight_val)
        if parts is None and comm is None:
            fit_estimator(self, X, y, sample_weight, held_out)
        else:
            fit_in_parts(self, X, y, sample_weight, held_out, parts, comm)
        return self

    @only_with_epochs
    @with_callbacks
    def partial_fit(self, X: object, y: object, sample_weight: object = None) -> Self:
        """Continue training with one pass over X and y.

        Parameters set since the last call take effect, unless they require another network.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Inputs. The network has their dtype, float32 or float64. With "lbfgs" it is float64, and
            with a matmul_precision of "high" or "medium" float32.
        y : array-like, shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array-like or None, shape (n,), default None
            Weights of the samples, none of them negative.

        Returns
        -------
        self
            The estimator. If all weights are 0, its network is unchanged.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter is invalid or requires another network; the estimator is
            then unchanged.
        """
        fit_estimator(self, X, y, sample_weight, incremental=True)
        return self

    @overload
    def predict(
        self, X: object, return_std: Literal[False] = False, *, quantiles: object = None
    ) -> Array: ...

    @overload
    def predict(
        self, X: object, return_std: Literal[True], *, quantiles: object = None
    ) -> tuple[Array, Array]: ...

    def predict(
        self, X: object, return_std: bool = False, *, quantiles: object = None
    ) -> Array | tuple[Array, Array]:
        """Return the predicted targets.

        They are the means for the loss "gaussian_nll", and for "quantile" the quantile whose level
        is nearest to 0.5, the first one of two.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Inputs.
        return_std : bool, default False
            Whether to return standard deviations too. A network with the loss "gaussian_nll" has
            learned those of the targets. The members of an ensemble with this loss are a mixture:
            the variance is the mean of their variances plus the variance of their means. With any
            other loss, an ensemble has the second part alone: how far its members disagree.
        quantiles : "all", float, sequence of float or None, default None
            Levels of the quantiles to return instead, in this order. They must be among those of
            the loss "quantile"; "all" means all of these. Of an ensemble, they are the means of its
            members' quantiles.

        Returns
        -------
        y_mean : array, shape (n,), or (n, n_outputs) if there are several targets
            The predicted targets.
        y_std : array of the shape of y_mean
            Standard deviations; only with `return_std`.
        y_quantiles : array, shape (n, n_quantiles) or (n, n_outputs, n_quantiles)
            Instead of y_mean, with `quantiles`. Without the last axis for a single number.

        Raises
        ------
        TypeError, ValueError
            If the network was trained with another loss than these options need, for a level that
            it was not trained for, for both options, or if `return_std` is neither True nor False.

        Examples
        --------
        >>> from fastbp.sklearn import MLPRegressor
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 2.0, 4.0, 6.0]
        >>> options = {"solver": "lbfgs", "random_state": 0, "max_iter": 5}
        >>> mean, std = MLPRegressor("gaussian_nll", 4, **options).fit(X, y).predict(X, True)
        >>> mean.shape, std.shape
        ((4,), (4,))
        >>> model = MLPRegressor("quantile(0.1, 0.5, 0.9)", 4, **options).fit(X, y)
        >>> model.predict(X).shape, model.predict(X, quantiles=[0.1, 0.9]).shape
        ((4,), (4, 2))
        """
        return_std = check_flag(return_std, "return_std")
        if return_std and "estimators_" in vars(self):
            if quantiles is not None:
                raise ValueError("predict takes return_std=True or quantiles, not both")
            members = self._outputs_of_each(X)
            criterion = self._some_network().criterion
            predicted = criterion.predicted(mean_of(members))
            return by_target(predicted), by_target(std_of(members, criterion))
        outputs = self._outputs(X)
        criterion = self._some_network().criterion
        if return_std and criterion.entry.std is None:
            raise ValueError(
                f"return_std=True needs an ensemble, such as n_members=8, or a network that "
                f"learned the variance, with loss='gaussian_nll'; this one was fitted with the "
                f"loss {criterion}"
            )
        if quantiles is not None:
            return by_target(quantiles_of(outputs, quantiles, criterion))
        predicted = by_target(criterion.predicted(outputs))
        if not return_std or criterion.entry.std is None:
            return predicted
        return predicted, by_target(criterion.entry.std(outputs))

    def _criterion(self) -> Loss:
        loss = resolve_loss(self.loss)
        if loss.entry.positive is not None:
            return Loss(loss.name, ignore_nan=loss.ignore_nan, **loss.entry.positive[1])
        if loss.targets != "numbers":
            raise ValueError(f"{loss} is not a regression loss: its targets are {loss.targets}")
        return loss

    def _validated(
        self, X: object, y: object, *, reset: bool
    ) -> tuple[Array | SparseMatrix, Array]:
        if not resolve_loss(self.loss).ignore_nan:
            return super()._validated(X, y, reset=reset)
        refuse_masked_elements(X=X, y=y)
        rows = validate_data(self, X, accept_sparse=SPARSE, dtype=FLOATS, reset=reset)
        targets = check_array(
            with_numpy_dtype(y),
            ensure_2d=False,
            dtype=FLOATS,
            ensure_all_finite="allow-nan",
            input_name="y",
        )
        check_consistent_length(rows, targets)
        return rows, targets

    def _objective(self) -> tuple[str, Loss]:
        loss = self._criterion()
        return "identity" if loss.entry.positive is None else loss.entry.positive[0], loss

    def _n_units(self) -> int:
        return self.n_outputs_ * self._criterion().outputs_each

    def _take_targets(self, y: Array, *, new: bool, incremental: bool, classes: object) -> None:
        columns = 1 if y.ndim == 1 else y.shape[1]
        if not new and columns != self.n_outputs_:
            raise ValueError(
                f"y has {columns} columns; in the previous fit it had {self.n_outputs_}"
            )
        self.n_outputs_ = columns

    def _encode(self, y: Array) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return y[:, None] if y.ndim == 1 else y

    def _weighted(
        self, y: Array, sample_weight: Array | None, divided: Divided | None = None
    ) -> Array | None:
        return sample_weight

    def _stratified(self, y: Array) -> bool:
        return False

    def _reported(self, J: float) -> float:
        """In scikit-learn the squared error is the mean over outputs; the penalty is a sum."""
        if not self._reports_weights():
            return J
        net = self.network_
        penalty = net.l2 / 2 * sum(float((W.astype(np.float64) ** 2).sum()) for W in self.coefs_)
        return float((J - penalty) / self.n_outputs_ + penalty)

    def _reports_weights(self) -> bool:
        return self.n_outputs_ > 1 and self.network_.criterion.entry.summed

    def _score_encoded(
        self, X: Array | SparseMatrix, y: Array, sample_weight: Array | None
    ) -> float:
        if len(self.network_.criterion.taus) > 1:
            J = self.network_.loss(X, y, sample_weight)
            return -J if np.isfinite(J) else np.nan
        return super()._score_encoded(X, y, sample_weight)

    def _score_outputs(self, outputs: Array, y: Array, sample_weight: Array | None) -> float:
        criterion = self.network_.criterion
        if not np.isfinite(outputs).all():
            return np.nan
        if len(criterion.taus) > 1:  # by J instead
            return np.nan
        metric = self._named_score()
        if metric is not None:
            return metric(outputs, y, sample_weight)
        predicted = criterion.predicted(outputs).astype(np.float64)  # sums of float32 lose digits
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    def _named_score(self) -> Metric | None:
        """The score that a loss of the user's names, as a metric of which more is better.

        With targets that may be missing, it is R² over those that are known.
        """
        criterion = self._some_network().criterion
        own = criterion.entry.score is None or criterion.ignore_nan
        metric = score_of(criterion) if own else None
        if metric is None or direction(metric) is not False:
            return metric
        lower = metric
        return lambda a, y, sample_weight: -lower(a, y, sample_weight)

    def score(self, X: object, y: object, sample_weight: object = None) -> float:
        """Return R² of `predict`, as in scikit-learn.

        If the loss is one of your own that names a score, it is that score instead; its negative if
        less is better. With a loss that has `ignore_nan`, R² of each target is over the rows in
        which it is known.
        """
        check_is_fitted(self)
        refuse_masked_elements(y=y, sample_weight=sample_weight)
        metric = self._named_score()
        if metric is None:
            predicted = self.predict(X).astype(np.float64)  # sums of float32 lose digits
            return float(r2_score(y, predicted, sample_weight=sample_weight))
        rows, targets = self._validated(X, y, reset=False)
        weights = checked_weights(sample_weight, rows)
        return float(metric(self._outputs(X), self._encode(targets), weights))
