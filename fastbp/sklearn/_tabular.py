"""TabularClassifier and TabularRegressor: `fastbp.tabular.TableModel` as estimators."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from .._checks.columns import column_names
from .._checks.keywords import hinting
from .._network.embedding import MOST_WIDTH
from .._types import Array
from ..history import History
from ..tabular import TableEncoder, TableModel
from ..tabular._encoder import HIGH_CARDINALITY
from ..tabular._presets import NAMES
from ._arrays import (
    checked_weights,
    refuse_masked_elements,
    refuse_zero_weights,
    with_numpy_dtype,
)
from ._callbacks import warn_user

_MAX_SEED = 2**31


class _Number(Interval):
    """An interval without True and False, which Python has as numbers."""

    def is_satisfied_by(self, val: object) -> bool:
        return not isinstance(val, (bool, np.bool_)) and bool(super().is_satisfied_by(val))


class BaseTabular(BaseEstimator):
    """Parameters and fit of both estimators."""

    preset: str
    n_members: int | None
    max_iter: int | None
    encoder: TableEncoder | None
    high_cardinality: str | None
    embedding_width: int | None
    time_limit: float | None
    importance_type: str
    random_state: int | np.random.RandomState | None
    n_threads: int | None
    verbose: bool

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "preset": [StrOptions(set(NAMES))],
        "n_members": [_Number(Integral, 1, None, closed="left"), None],
        "max_iter": [_Number(Integral, 1, None, closed="left"), None],
        "encoder": [TableEncoder, None],
        "high_cardinality": [StrOptions(set(HIGH_CARDINALITY)), None],
        "embedding_width": [_Number(Integral, 1, MOST_WIDTH, closed="both"), None],
        "time_limit": [_Number(Real, 0, None, closed="neither"), None],
        "importance_type": [StrOptions({"gradient", "permutation"})],
        "random_state": ["random_state"],
        "n_threads": [_Number(Integral, 1, None, closed="left"), None],
        "verbose": ["verbose"],
    }
    _task: ClassVar[str]

    model_: TableModel
    n_features_in_: int

    def _fit(
        self,
        X: Any,
        y: Array,
        weights: Array | None,
        held_out: tuple[Any, Any, Any] | None,
    ) -> Self:
        """Fit the model to rows that `_rows` has returned and to a checked target."""
        if len(X) < 2:
            raise ValueError(
                f"X has {len(X)} sample(s); at least 2 are required: n_samples={len(X)}"
            )
        if weights is not None:
            refuse_zero_weights(weights)
        rng = check_random_state(self.random_state)
        model = TableModel(
            self.preset,
            task=self._task,
            n_members=self.n_members,
            epochs=self.max_iter,
            encoder=self.encoder,
            high_cardinality=self.high_cardinality,
            embedding_width=self.embedding_width,
            seed=int(rng.randint(_MAX_SEED)),
            time_limit=self.time_limit,
            n_threads=self.n_threads,
            verbose=bool(self.verbose),
        )
        try:
            model.fit(X, y, sample_weight=weights, validation_data=held_out)
        except KeyboardInterrupt:
            if not model.networks:
                raise
            warn_user("Training interrupted by user.")
        self.model_ = model
        self.histories_: list[History] = model.histories
        self.n_iter_ = model._epochs
        self._importances = model.importances()
        if self.importance_type == "permutation":
            self._importances = model.importances(X, y)
        return self

    def _begin(self, X: Any, y: Any) -> Any:
        """Check the parameters, that there is a target, and X, which is returned."""
        self._validate_params()
        refuse_masked_elements(y=y)
        rows = self._rows(X, reset=True)
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        return rows

    def _rows(self, X: Any, *, reset: bool) -> Any:
        """X after scikit-learn's checks of names and numbers of columns; frames stay frames."""
        refuse_masked_elements(X=X)
        if column_names(X) is None and not hasattr(X, "iloc"):
            return validate_data(
                self,
                X,
                reset=reset,
                dtype=None,
                ensure_all_finite="allow-nan",
                ensure_min_features=1,
            )
        validate_data(self, X, reset=reset, skip_check_array=True)
        return X

    def _checked_held_out(
        self, X_val: Any, y_val: Any, sample_weight_val: Any, eval_set: Any
    ) -> tuple[Any, Any, Any] | None:
        """(X, y, weights) of the validation data, from either form, or None."""
        if eval_set is not None:
            if X_val is not None or y_val is not None:
                raise ValueError("give either eval_set or X_val and y_val, not both")
            X_val, y_val = _one_pair(eval_set)
        if X_val is None and y_val is None:
            if sample_weight_val is not None:
                raise ValueError("sample_weight_val needs X_val and y_val")
            return None
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val go together; one of them is None")
        X_val = self._rows(X_val, reset=False)
        check_consistent_length(X_val, y_val)
        return X_val, self._checked_target(y_val), checked_weights(sample_weight_val, X_val)

    @abstractmethod
    def _checked_target(self, y: Any) -> Array:
        """The target as an array, after scikit-learn's checks."""

    @property
    def feature_importances_(self) -> Array:
        """How much the predictions depend on each column, (n_features_in_,).

        By `importance_type`: "gradient" are shares with the sum 1, on rows that members held out;
        "permutation" is the growth of the log loss or of 1 − R² on the training rows, if the cells
        of the column are shuffled. `model_.importances` takes other rows. A column that does not
        vary has 0.
        """
        check_is_fitted(self)
        names = self.model_.encoder.feature_names_in_.tolist()
        return np.array([self._importances.get(name, 0.0) for name in names])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file, which `fastbp.load` and `fastbp predict` read.

        `fastbp.load` returns a `fastbp.tabular.TableModel`. Raises OSError as `open` does.
        """
        check_is_fitted(self)
        self.model_.save(path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags


def _one_pair(eval_set: Any) -> tuple[Any, Any]:
    """X and y of an eval_set: a pair, or a list with one pair."""
    if isinstance(eval_set, (list, tuple)) and len(eval_set) == 1:
        eval_set = eval_set[0]
    of_pairs = isinstance(eval_set, list) and all(isinstance(each, tuple) for each in eval_set)
    if not isinstance(eval_set, (tuple, list)) or len(eval_set) != 2 or of_pairs:
        raise ValueError(
            "eval_set must be [(X, y)] or (X, y): one pair, by which the best epochs are chosen"
        )
    return eval_set[0], eval_set[1]


class TabularClassifier(ClassifierMixin, BaseTabular):
    """Classifier of tables: numbers with holes, text and dates, strong without tuning.

    `fit` takes a data frame, or an array, as it is. A `fastbp.tabular.TableEncoder` makes inputs of
    the columns, and an ensemble of networks is trained on them with early stopping on folds; see
    `fastbp.tabular.TableModel`, which is the same without scikit-learn.

    Parameters
    ----------
    preset : {"default", "fast", "best"}, default "default"
        How large the ensemble is and how long it is trained. docs/table.md compares errors and
        times with those of boosted trees.
    n_members : int or None, default None
        The number of networks; None for that of the preset.
    max_iter : int or None, default None
        The number of epochs; None for that of the preset.
    encoder : TableEncoder or None, default None
        How columns become inputs; a copy of it is fitted. None for that of the preset.
    high_cardinality : {"auto", "target", "frequent", "codes", "one-hot", "drop"} or None
        What becomes of a text with more than 32 levels, as `TableEncoder` has it; the first layer
        embeds "codes". "auto" trains a network on means of the target and one on codes, and takes
        what has less error on held-out rows. None, the default, is "auto", or the option of
        `encoder`.
    embedding_width : int or None, default None
        How many inputs of the first layer a code becomes; None for min(16, 1.6·levels^0.56).
    class_weight : dict, "balanced" or None, default None
        Weight of each label; a sample's weight is multiplied by it.
    time_limit : float or None, default None
        The seconds that `fit` may take; with fewer epochs and members, if it must be.
    importance_type : {"gradient", "permutation"}, default "gradient"
        What `feature_importances_` is.
    random_state : int, RandomState or None, default None
        Source of the folds, the initial weights and the order of the rows.
    n_threads : int or None, default None
        Largest number of threads; None for `fastbp.get_num_threads()`.
    verbose : bool, default False
        Whether to print a forecast of the time, and show the progress.

    Attributes
    ----------
    classes_ : array, shape (n_classes,)
        The class labels, of samples with a positive weight.
    model_ : TableModel
        The fitted model, with its encoder and networks.
    feature_importances_ : array, shape (n_features_in_,)
        How much the predictions depend on each column.
    histories_ : list of History
        The record of the training of each member.
    n_iter_ : int
        The largest number of complete epochs of a member.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : array of str
        Names of the columns of X, if it has names.

    Examples
    --------
    >>> import pandas as pd
    >>> from fastbp.sklearn import TabularClassifier
    >>> X = pd.DataFrame({"age": [41, 19, None, 66] * 20, "plan": ["a", "b", "b", None] * 20})
    >>> y = ["no", "yes", "yes", "no"] * 20
    >>> model = TabularClassifier("fast", random_state=0).fit(X, y)
    >>> model.predict(pd.DataFrame({"age": [20, 50], "plan": ["b", "c"]})).tolist()
    ['yes', 'no']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseTabular._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    _task = "classification"

    @hinting("TabularClassifier", kind="estimator")
    def __init__(
        self,
        preset: str = "default",
        *,
        n_members: int | None = None,
        max_iter: int | None = None,
        encoder: TableEncoder | None = None,
        high_cardinality: str | None = None,
        embedding_width: int | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        time_limit: float | None = None,
        importance_type: str = "gradient",
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.preset = preset
        self.n_members = n_members
        self.max_iter = max_iter
        self.encoder = encoder
        self.high_cardinality = high_cardinality
        self.embedding_width = embedding_width
        self.class_weight = class_weight
        self.time_limit = time_limit
        self.importance_type = importance_type
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        eval_set: Sequence[Any] | None = None,
    ) -> Self:
        """Learn to predict y from the columns of X.

        Parameters
        ----------
        X : data frame or array-like, shape (n, n_features)
            The rows; NaN, None and NaT are holes.
        y : array-like, shape (n,)
            The class labels.
        sample_weight : array-like or None, shape (n,), default None
            Weights of the samples, none of them negative.
        X_val, y_val, sample_weight_val : array-like or None, default None
            Rows by which the best epochs are chosen and the probabilities calibrated. By default
            each member holds out a fold of X. A Pipeline with transform_input=["X_val"] transforms
            X_val as it does X.
        eval_set : [(X, y)] or None, default None
            The same, as LightGBM and XGBoost call it.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter is invalid.
        """
        X = self._begin(X, y)
        y = with_numpy_dtype(y)
        assert_all_finite(np.asarray(y), input_name="y")
        check_classification_targets(y)
        y = self._checked_target(y)
        check_consistent_length(X, y)
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(
                f"y has only 1 class, {classes.tolist()[0]!r}; a classifier needs at least 2"
            )
        weights = checked_weights(sample_weight, X)
        if self.class_weight is not None:
            of_class = compute_sample_weight(self.class_weight, y)
            weights = of_class if weights is None else weights * of_class
        held_out = self._checked_held_out(X_val, y_val, sample_weight_val, eval_set)
        self._fit(X, y, weights, held_out)
        learned = set(self.model_.classes)  # of rows whose weight is not 0
        self.classes_ = classes[[label in learned for label in classes.tolist()]]
        return self

    def _checked_target(self, y: Any) -> Array:
        return np.asarray(column_or_1d(with_numpy_dtype(y), warn=True))

    def predict_proba(self, X: Any) -> Array:
        """Return the calibrated probabilities (n, n_classes), in the order of classes_."""
        check_is_fitted(self)
        found = self.model_.predict_proba(self._rows(X, reset=False)).astype(np.float64)
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of predict_proba."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def predict(self, X: Any) -> Array:
        """Return the most probable label of each row, (n,)."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])


class TabularRegressor(RegressorMixin, BaseTabular):
    """Regressor of tables: numbers with holes, text and dates, strong without tuning.

    It is to numbers what `TabularClassifier` is to classes. Several outputs may be learned at once.

    Parameters
    ----------
    preset, n_members, max_iter, encoder, high_cardinality, embedding_width, time_limit
        As for `TabularClassifier`.
    importance_type, random_state, n_threads, verbose
        As for `TabularClassifier`.

    Attributes
    ----------
    model_, feature_importances_, histories_, n_iter_, n_features_in_, feature_names_in_
        As for `TabularClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp.sklearn import TabularRegressor
    >>> X = np.random.default_rng(0).uniform(-1, 1, (300, 3)); X[::7, 1] = np.nan
    >>> y = np.sin(3 * X[:, 0]) + X[:, 2] ** 2
    >>> bool(TabularRegressor(random_state=0).fit(X[:250], y[:250]).score(X[250:], y[250:]) > 0.95)
    True
    """

    _task = "regression"

    @hinting("TabularRegressor", kind="estimator")
    def __init__(
        self,
        preset: str = "default",
        *,
        n_members: int | None = None,
        max_iter: int | None = None,
        encoder: TableEncoder | None = None,
        high_cardinality: str | None = None,
        embedding_width: int | None = None,
        time_limit: float | None = None,
        importance_type: str = "gradient",
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.preset = preset
        self.n_members = n_members
        self.max_iter = max_iter
        self.encoder = encoder
        self.high_cardinality = high_cardinality
        self.embedding_width = embedding_width
        self.time_limit = time_limit
        self.importance_type = importance_type
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        eval_set: Sequence[Any] | None = None,
    ) -> Self:
        """Learn to predict y from the columns of X.

        Parameters
        ----------
        X : data frame or array-like, shape (n, n_features)
            The rows; NaN, None and NaT are holes.
        y : array-like, shape (n,) or (n, n_outputs)
            The numbers to predict.
        sample_weight, X_val, y_val, sample_weight_val, eval_set
            As for `TabularClassifier.fit`.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter is invalid.
        """
        X = self._begin(X, y)
        y = self._checked_target(y)
        check_consistent_length(X, y)
        held_out = self._checked_held_out(X_val, y_val, sample_weight_val, eval_set)
        return self._fit(X, y, checked_weights(sample_weight, X), held_out)

    def _checked_target(self, y: Any) -> Array:
        found: Array = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return found if found.ndim > 1 and found.shape[1] > 1 else column_or_1d(found, warn=True)

    def predict(self, X: Any) -> Array:
        """Return the predicted numbers, float64 (n,) or (n, n_outputs)."""
        check_is_fitted(self)
        return self.model_.predict(self._rows(X, reset=False))

    def predict_std(self, X: Any) -> Array:
        """Return the standard deviation of the members' predictions, as `predict` has them."""
        check_is_fitted(self)
        return self.model_.predict_std(self._rows(X, reset=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
