"""MLPRegressor."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .._types import Array
from ..losses import Loss
from ..losses import resolve as resolve_loss
from ._arrays import in_dtype, refuse_masked_elements
from ._callbacks import with_callbacks
from ._estimator import BaseMLP
from ._fit import fit_estimator


class MLPRegressor(RegressorMixin, BaseMLP):
    """scikit-learn's MLPRegressor on the fastbp engine.

    loss: "squared_error", "poisson", or any loss of `fastbp.losses` for numbers, by name or as an
    object. activation: scikit-learn's names, those of `fastbp.activations`, or a list of one for
    each hidden layer. solver: "adam", "sgd", "lbfgs", or an object of `fastbp.optim`, any but
    `LBFGS`, of which a copy is used. learning_rate: scikit-learn's names, or a schedule of
    `fastbp.schedules`. dropout, norm: of every hidden layer, as in `fastbp.Dense`. callbacks: see
    `fastbp.callbacks`; not with "lbfgs". n_threads: the most threads to train with; "lbfgs" and
    predictions take `fastbp.get_num_threads()`. "lbfgs" makes a float64 network whatever the dtype
    of X, and fits targets in any units: docs/sklearn.md. All else is scikit-learn's:
    https://scikit-learn.org/stable/modules/generated/\
sklearn.neural_network.MLPRegressor.html

    >>> import numpy as np
    >>> from fastbp.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> model = MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", random_state=0).fit(X, X[:, 0])
    >>> bool(model.score(X, X[:, 0]) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict] = {**BaseMLP._parameter_constraints, "loss": [str, Loss]}
    _numeric = True

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        dropout=0.0,
        norm=None,
        callbacks=(),
        n_threads=None,
    ):
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
        self.callbacks = callbacks
        self.n_threads = n_threads

    @with_callbacks
    def fit(self, X, y, sample_weight=None, *, validation_data=None) -> Self:
        """Train on X (n, features) and y (n,) or (n, outputs).

        sample_weight (n,). validation_data: (X, y) or (X, y, weights), scored after every epoch
        (`validation_scores_`) and, with early_stopping, in place of a part of X; not with "lbfgs".
        """
        fit_estimator(self, X, y, sample_weight, validation_data)
        return self

    @available_if(lambda self: self._has_epochs())
    @with_callbacks
    def partial_fit(self, X, y, sample_weight=None) -> Self:
        """One pass over X and y in batches, going on from where training stands.

        Parameters that were set since the last call take effect; ValueError for those that need
        another network.
        """
        fit_estimator(self, X, y, sample_weight, incremental=True)
        return self

    def predict(self, X) -> Array:
        """Outputs (n,), or (n, outputs) where there are several."""
        return self._predicted(self._outputs(X))

    def _predicted(self, outputs: Array) -> Array:
        """The means among gaussian_nll's outputs; all of any other's."""
        if self.network_.criterion.name == "gaussian_nll":
            outputs = outputs[:, : self.n_outputs_]
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _criterion(self) -> Loss:
        loss = resolve_loss(self.loss)
        if loss.name == "poisson":
            return Loss("poisson", log_input=False)
        if loss.targets != "numbers":
            raise ValueError(f"{loss} is no loss for numbers: its targets are {loss.targets}")
        return loss

    def _objective(self) -> tuple[str, Loss]:
        loss = self._criterion()
        return "exp" if loss.name == "poisson" else "identity", loss

    def _n_units(self) -> int:
        loss = self._criterion()
        each = len(loss.options["taus"]) if loss.name == "quantile" else 1
        return self.n_outputs_ * (2 if loss.name == "gaussian_nll" else each)

    def _take_targets(self, y: Array, *, new: bool, incremental: bool, classes: object) -> None:
        columns = 1 if y.ndim == 1 else y.shape[1]
        if not new and columns != self.n_outputs_:
            raise ValueError(f"y has {columns} columns; before it had {self.n_outputs_}")
        self.n_outputs_ = columns

    def _encode(self, y: Array) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return y[:, None] if y.ndim == 1 else y

    def _weighted(self, y: Array, sample_weight: Array | None) -> Array | None:
        return sample_weight

    def _stratified(self, y: Array) -> bool:
        return False

    def _reported(self, J: float) -> float:
        """scikit-learn's squared error is the mean over outputs; the penalty is not."""
        net = self.network_
        if self.n_outputs_ == 1 or net.criterion.name != "squared_error":
            return J
        penalty = net.l2 / 2 * sum(float((W.astype(np.float64) ** 2).sum()) for W in self.coefs_)
        return (J - penalty) / self.n_outputs_ + penalty

    def _score_encoded(self, X: Array, y: Array, sample_weight: Array | None) -> float:
        outputs = self.network_.predict(X)
        if not np.isfinite(outputs).all():
            return np.nan
        if outputs.shape[1] > self.n_outputs_ and self.network_.criterion.name == "quantile":
            return -self.network_.loss(X, y, sample_weight)
        predicted = self._predicted(outputs).astype(np.float64)  # sums of float32 lose digits
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    def score(self, X, y, sample_weight=None) -> float:
        """R², as scikit-learn's; with several quantiles an output, minus the mean pinball loss."""
        check_is_fitted(self)
        refuse_masked_elements(y=y, sample_weight=sample_weight)
        criterion = self.network_.criterion
        if criterion.name != "quantile" or len(criterion.options["taus"]) == 1:
            predicted = self.predict(X).astype(np.float64)  # sums of float32 lose digits
            return float(r2_score(y, predicted, sample_weight=sample_weight))
        X, y = self._validated(X, y, reset=False)
        X = in_dtype(X, self.network_.dtype)
        return self._score_encoded(X, self._encode(y), sample_weight)
