"""MLPClassifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.multiclass import (
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import column_or_1d

from .._checks.arguments import check_nonnegative
from .._checks.keywords import hinting
from .._network.dense import Norm
from .._training.divided import Divided
from .._types import Array
from ..activations import Spec as ActivationSpec
from ..optim import Optimizer
from ..schedules import Schedule
from ._arrays import SparseMatrix, refuse_masked_elements, with_numpy_dtype
from ._callbacks import only_with_epochs, with_callbacks
from ._estimator import BaseMLP, HeldOut
from ._fit import fit_estimator, fit_in_parts


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier with scikit-learn's interface on the fastbp engine.

    The parameters and attributes are those of `sklearn.neural_network.MLPClassifier`, with these
    additions: more values of `activation`, `solver` and `learning_rate`, and the parameters
    `dropout`, `norm`, `class_weight`, `n_members`, `callbacks`, `n_threads` and
    `matmul_precision`. docs/sklearn.md lists the differences.

    Parameters
    ----------
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
    class_weight : dict, "balanced" or None, default None
        Weight of each label; a sample's weight is multiplied by it. "balanced" gives all classes
        the same total weight. Not for several labels per sample.
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
    classes_ : array, shape (n_classes,)
        The class labels.
    coefs_ : list of array, shape (units below, units)
        Weights of each layer, as views of the network's parameters.
    intercepts_ : list of array, shape (units,)
        Biases of each layer, as views of the network's parameters.
    network_ : Network
        The trained `fastbp.Network`. An ensemble has none; nor has it the weights and the record of
        training, except `loss_`, the mean over its members, and `n_iter_`, their largest.
    estimators_ : list of MLPClassifier
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
        Number of output units.
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
        Validation score of each epoch; None without validation data.
    best_validation_score_ : float or None
        Highest validation score; None without validation data.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastbp.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(20, learning_rate_init=0.01, max_iter=500, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95), model.classes_
    (True, array([0, 1, 2]))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    __metadata_request__fit: ClassVar = {"parts": UNUSED, "comm": UNUSED}
    _numeric = False

    @hinting("MLPClassifier", kind="estimator")
    def __init__(
        self,
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
        class_weight: dict[Any, float] | str | None = None,
        n_members: int = 1,
        callbacks: Sequence[object] = (),
        n_threads: int | None = None,
        matmul_precision: str | None = None,
    ) -> None:
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
        self.class_weight = class_weight
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
        y : array-like, shape (n,) or (n, n_labels)
            Class labels, or 0 and 1 for each of several labels.
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
            its own rows, weights and validation data. The classes are
            those of all ranks. The random state is that
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
    def partial_fit(
        self, X: object, y: object, sample_weight: object = None, classes: object = None
    ) -> Self:
        """Continue training with one pass over X and y.

        Parameters set since the last call take effect, unless they require another network.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Inputs. The network has their dtype, float32 or float64. With "lbfgs" it is float64, and
            with a matmul_precision of "high" or "medium" float32.
        y : array-like, shape (n,) or (n, n_labels)
            Labels; some of `classes` may be missing.
        sample_weight : array-like or None, shape (n,), default None
            Weights of the samples, none of them negative.
        classes : array-like or None, default None
            All labels that will occur. Required in the first call.

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
        fit_estimator(self, X, y, sample_weight, incremental=True, classes=classes)
        return self

    # ---- labels ---------------------------------------------------------------------------

    def _take_targets(self, y: Array, *, new: bool, incremental: bool, classes: object) -> None:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y has several columns with more than two classes: fit one estimator per column"
            )
        several = kind.startswith("multilabel")
        if incremental:
            self._declare(classes, n_labels=y.shape[1] if several else 0)
        else:
            if several:
                labels = np.arange(y.shape[1])
            else:
                labels = unique_labels(y) if classes is None else np.asarray(classes)
            if new:
                self._multilabel, self.classes_ = several, labels
            elif set(labels) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the "
                    f"previous call to fit. Previously got {self.classes_}, `y` has {labels}"
                )
        n = len(self.classes_)
        self.n_outputs_ = n if self._multilabel or n > 2 else 1

    def _declare(self, classes: object, *, n_labels: int) -> None:
        """Set the classes in the first partial_fit; in later calls, check that they are equal."""
        known = self.__dict__.get("classes_")
        if known is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if classes is None:
            return
        refuse_masked_elements(classes=classes)
        labels: Array = unique_labels(with_numpy_dtype(classes))
        if known is None:
            self._multilabel = n_labels > 0
            self.classes_ = np.arange(n_labels) if self._multilabel else labels
        elif not np.array_equal(known, labels):
            raise ValueError(
                f"`classes={labels!r}` is not the same as on last call to partial_fit, "
                f"was: {known!r}"
            )

    def _encode(self, y: Array | SparseMatrix) -> Array:
        if self._multilabel:
            return (y if isinstance(y, np.ndarray) else y.toarray()).astype(np.float32)
        labels: Array = column_or_1d(y, warn=True)
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {unknown}."
            )
        indices = np.searchsorted(self.classes_, labels).astype(np.int32)
        return indices if self.n_outputs_ > 1 else indices[:, None].astype(np.float32)

    def _weighted(
        self, y: Array, sample_weight: Array | None, divided: Divided | None = None
    ) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        if self._multilabel:
            raise ValueError("class_weight requires one label per sample; y has several")
        if isinstance(self.class_weight, dict):
            for label, weight in self.class_weight.items():
                check_nonnegative(weight, f"class_weight[{label!r}]")
        indices = y.ravel().astype(np.intp)
        if self.class_weight == "balanced" and divided is not None:
            return self._balanced(indices, divided) * (
                1 if sample_weight is None else sample_weight
            )
        # A class may be missing from a batch of partial_fit; a dict gives its weight anyway.
        known = np.unique(indices) if self.class_weight == "balanced" else slice(None)
        weights = np.ones(len(self.classes_))
        weights[known] = compute_class_weight(
            self.class_weight, classes=self.classes_[known], y=self.classes_[indices]
        )
        return weights[indices] * (1 if sample_weight is None else sample_weight)

    def _balanced(self, indices: Array, divided: Divided) -> Array:
        """The weight of each sample by the numbers of rows of all ranks."""
        counts = divided.sum(np.bincount(indices, minlength=len(self.classes_)))
        weights: Array = counts.sum() / (len(counts) * counts)
        return weights[indices]

    def _stratified(self, y: Array) -> bool:
        """Only two classes, as in scikit-learn, where y is one-hot encoded for more classes."""
        return self.n_outputs_ == 1

    # ---- prediction ------------------------------------------------------------------------------

    def predict(self, X: object) -> Array:
        """Return the labels (n,), or 0 and 1 for each label (n, n_labels)."""
        return self._decide(self._outputs(X))

    def score(self, X: object, y: object, sample_weight: object = None) -> float:
        """Return the accuracy, as in scikit-learn."""
        refuse_masked_elements(y=y, sample_weight=sample_weight)
        return float(super().score(X, with_numpy_dtype(y), sample_weight))

    def predict_proba(self, X: object) -> Array:
        """Return probabilities (n, n_classes) in the order of classes_, or (n, n_labels).

        If there is only one class, all of them are 1.
        """
        p = self._outputs(X)
        if p.shape[1] > 1 or self._multilabel:
            return p
        if len(self.classes_) == 1:
            return np.ones_like(p)
        both = np.empty((len(p), 2), p.dtype)
        np.subtract(1, p[:, 0], out=both[:, 0])
        both[:, 1] = p[:, 0]
        return both

    def predict_log_proba(self, X: object) -> Array:
        """Return the logarithm of predict_proba."""
        p = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            np.log(p, out=p)
        return p

    def _decide(self, outputs: Array) -> Array:
        if self._multilabel:
            return (outputs > 0.5).astype(int)
        if len(self.classes_) > 2:
            indices = outputs.argmax(axis=1)
        else:
            indices = (outputs[:, 0] > 0.5).astype(np.intp) * (len(self.classes_) - 1)
        labels: Array = self.classes_[indices]
        return labels

    def _objective(self) -> tuple[str, str]:
        if self.n_outputs_ > 1 and not self._multilabel:
            return "softmax", "cross_entropy"
        return "sigmoid", "binary_cross_entropy"

    def _reported(self, J: float) -> float:
        return J

    def _score_outputs(self, outputs: Array, y: Array, sample_weight: Array | None) -> float:
        """Fraction of samples with every label correct."""
        if not np.isfinite(outputs).all():
            return np.nan
        if len(self.classes_) == 1 and not self._multilabel:
            return 1.0
        if y.ndim == 1:
            correct = outputs.argmax(axis=1) == y
        else:
            correct = ((outputs > 0.5) == (y > 0.5)).all(axis=1)
        return float(np.average(correct, weights=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
