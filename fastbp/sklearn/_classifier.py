"""MLPClassifier."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import column_or_1d

from .._checks.arguments import check_nonnegative
from .._types import Array
from ._arrays import of_numpy_dtype, refuse_masked_elements
from ._callbacks import with_callbacks
from ._estimator import BaseMLP
from ._fit import fit_estimator


class MLPClassifier(ClassifierMixin, BaseMLP):
    """scikit-learn's MLPClassifier on the fastbp engine.

    activation: scikit-learn's names, those of `fastbp.activations`, or a list of one for each
    hidden layer. solver: "adam", "sgd", "lbfgs", or an object of `fastbp.optim`, any but `LBFGS`,
    of which a copy is used. learning_rate: scikit-learn's names, or a schedule of
    `fastbp.schedules`. dropout, norm: of every hidden layer, as in `fastbp.Dense`. class_weight: a
    dict of label: weight, "balanced" or None, times sample_weight; not for several labels a sample.
    callbacks: see `fastbp.callbacks`; not with "lbfgs". n_threads: the most threads to train with;
    "lbfgs" and predictions take `fastbp.get_num_threads()`. All else is scikit-learn's:
    https://scikit-learn.org/stable/modules/generated/\
sklearn.neural_network.MLPClassifier.html

    >>> from sklearn.datasets import load_iris
    >>> from fastbp.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(20, learning_rate_init=0.01, max_iter=500, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95), model.classes_
    (True, array([0, 1, 2]))
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    _numeric = False

    def __init__(
        self,
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
        class_weight=None,
        callbacks=(),
        n_threads=None,
    ):
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
        self.callbacks = callbacks
        self.n_threads = n_threads

    @with_callbacks
    def fit(self, X, y, sample_weight=None, *, validation_data=None) -> Self:
        """Train on X (n, features) and labels y (n,), or 0 and 1 for each label (n, labels).

        sample_weight (n,). validation_data: (X, y) or (X, y, weights), scored after every epoch
        (`validation_scores_`) and, with early_stopping, in place of a part of X; not with "lbfgs".
        """
        fit_estimator(self, X, y, sample_weight, validation_data)
        return self

    @available_if(lambda self: self._has_epochs())
    @with_callbacks
    def partial_fit(self, X, y, sample_weight=None, classes=None) -> Self:
        """One pass over X and y in batches, going on from where training stands.

        classes: all labels that there will be; needed in the first call. A batch may lack some of
        them, and is passed over where all weights are 0. Parameters that were set since the last
        call take effect; ValueError for those that need another network.
        """
        fit_estimator(self, X, y, sample_weight, incremental=True, classes=classes)
        return self

    # ---- labels ---------------------------------------------------------------------------

    def _take_targets(self, y: Array, *, new: bool, incremental: bool, classes: object) -> None:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("y holds several columns of more than two classes: fit one a column")
        several = kind.startswith("multilabel")
        if incremental:
            self._declare(classes, n_labels=y.shape[1] if several else 0)
        else:
            labels = np.arange(y.shape[1]) if several else unique_labels(y)
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
        """Take the classes of a first partial_fit, and hold later ones to them."""
        known = self.__dict__.get("classes_")
        if known is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if classes is None:
            return
        refuse_masked_elements(classes=classes)
        classes = unique_labels(of_numpy_dtype(classes))
        if known is None:
            self._multilabel = n_labels > 0
            self.classes_ = np.arange(n_labels) if self._multilabel else classes
        elif not np.array_equal(known, classes):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, "
                f"was: {known!r}"
            )

    def _encode(self, y: Array) -> Array:
        if self._multilabel:
            y = y.toarray() if hasattr(y, "toarray") else y
            return y.astype(np.float32)
        y = column_or_1d(y, warn=True)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {unknown}."
            )
        indices = np.searchsorted(self.classes_, y).astype(np.int32)
        return indices if self.n_outputs_ > 1 else indices[:, None].astype(np.float32)

    def _weighted(self, y: Array, sample_weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        if self._multilabel:
            raise ValueError("class_weight is for one label a sample; y has several")
        if isinstance(self.class_weight, dict):
            for label, weight in self.class_weight.items():
                check_nonnegative(weight, f"class_weight[{label!r}]")
        indices = y.ravel().astype(np.intp)
        # a batch of partial_fit may lack a class; those of a dict are known without it
        known = np.unique(indices) if self.class_weight == "balanced" else slice(None)
        weights = np.ones(len(self.classes_))
        weights[known] = compute_class_weight(
            self.class_weight, classes=self.classes_[known], y=self.classes_[indices]
        )
        return weights[indices] * (1 if sample_weight is None else sample_weight)

    def _stratified(self, y: Array) -> bool:
        """As scikit-learn, two classes only: with more, y is a row of indicators there."""
        return self.n_outputs_ == 1

    # ---- use ------------------------------------------------------------------------------

    def predict(self, X) -> Array:
        """Labels (n,), or 0 and 1 for each label (n, labels)."""
        return self._decide(self._outputs(X))

    def score(self, X, y, sample_weight=None) -> float:
        """Accuracy, as scikit-learn's."""
        refuse_masked_elements(y=y, sample_weight=sample_weight)
        return super().score(X, of_numpy_dtype(y), sample_weight)

    def predict_proba(self, X) -> Array:
        """Probabilities (n, classes) in the order of classes_; (n, labels) with several labels.

        All are 1 where there is one class.
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

    def predict_log_proba(self, X) -> Array:
        """log of predict_proba."""
        p = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(p, out=p)

    def _decide(self, outputs: Array) -> Array:
        if self._multilabel:
            return (outputs > 0.5).astype(int)
        if len(self.classes_) > 2:
            return self.classes_[outputs.argmax(axis=1)]
        return self.classes_[(outputs[:, 0] > 0.5).astype(np.intp) * (len(self.classes_) - 1)]

    def _objective(self) -> tuple[str, str]:
        if self.n_outputs_ > 1 and not self._multilabel:
            return "softmax", "cross_entropy"
        return "sigmoid", "binary_cross_entropy"

    def _reported(self, J: float) -> float:
        return J

    def _score_encoded(self, X: Array, y: Array, sample_weight: Array | None) -> float:
        """Share of samples with every label right."""
        outputs = self.network_.predict(X)
        if not np.isfinite(outputs).all():
            return np.nan
        if len(self.classes_) == 1 and not self._multilabel:
            return 1.0
        if y.ndim == 1:
            right = outputs.argmax(axis=1) == y
        else:
            right = ((outputs > 0.5) == (y > 0.5)).all(axis=1)
        return float(np.average(right, weights=sample_weight))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
