"""`TableEncoder`: from the columns of a table to the inputs of a network."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .._checks.arguments import (
    check_count,
    check_dtype,
    check_flag,
    check_nonnegative,
    check_positive_int,
)
from .._checks.names import did_you_mean
from .._checks.numbers import as_array
from .._checks.words import counted, listed
from .._types import Array
from ..errors import DataError
from ._by_name import table_of
from ._encoded import Column, TextColumn, distinct, n_inputs_of, names_of
from ._encoder_state import column_from_dict, column_to_dict
from ._inputs import (
    column_of,
    columns_in,
    dense_inputs,
    is_coded,
    is_one_hot,
    kind_of,
    refuse_infinite,
    sparse_inputs,
)
from ._learned import (
    Target,
    cross_fitted,
    date_column,
    mean_column,
    number_columns,
    target_of,
    text_column,
)
from ._table import Table, infer_task
from ._unseen import warn_of_unseen

NUMBERS = ("robust", "quantile", "standard", "none")
HIGH_CARDINALITY = ("auto", "target", "frequent", "codes", "one-hot", "drop")
TASKS = (None, "classification", "regression")
MAX_INPUTS = 2**31 - 1  # the engine's indices of sparse rows are int32
_SPARSE_INPUTS, _SPARSE_SHARE = 256, 0.1  # from where on sparse="auto" makes sparse rows
_MIN_COUNT, _ROWS_PER_COUNT = 4, 50  # the default of min_count
_FORMAT = 1


class TableEncoder:
    """Turn the columns of a table into the inputs of a network, as learned from training rows.

    - A number becomes ((x − median)/(q75 − q25), clipped smoothly to ±3 by z/√(1 + (z/3)²) [1]_. A
      hole becomes the median, and has a further input, which is 1 there, if the training rows have
      holes in the column.
    - A date becomes the number of days since 1970, scaled likewise, and sine and cosine of its
      place in the year, the month, the week and the day, where the training rows differ in it.
    - A text becomes one input for each level, which is 1 in rows with that level (one-hot). A hole
      is a level too, if the training rows have holes in the column. Two levels are one input, −1
      and 1. Of more levels, those in fewer than `min_count` training rows are one level together,
      "(rare)", if there are several of them. With a text that the training rows do not have, all
      inputs of the column are 0; so they are with a hole, if there was none. A code is −1 then.
    - A text of more than `max_one_hot` levels becomes the mean of the target in its level; see
      `high_cardinality`.
    - A column that does not vary in the training rows has no input.

    The inputs of numbers, days and means come first, in the order of the columns; there are
    `n_numbers` of them. All other inputs follow, column by column, and codes of levels come last.

    It has the methods of a transformer of scikit-learn, which is not needed.

    Parameters
    ----------
    categorical : sequence of str, default ()
        The names of columns that are text, whatever they hold, such as codes that are numbers.
    numbers : {"robust", "quantile", "standard", "none"}, default "robust"
        How numbers are scaled: as above, where 2/(max − min) stands for 1/(q75 − q25) if that is
        not finite; by rank, as normal quantiles, as the QuantileTransformer of scikit-learn does;
        (x − mean)/(standard deviation); or not at all.
    pieces : int, default 0
        The largest number of pieces into which the range of a number or of days is cut, at the
        quantiles of the training rows. Each piece is a further input, which grows from −½ to ½
        within the piece and is constant elsewhere: the piecewise linear encoding [2]_, with which
        a network learns functions with steps and bends much sooner. 0 makes none.
    indicators : bool, default True
        Whether columns of numbers and dates with holes have an input for these.
    min_count : int or None, default None
        The number of training rows that a level of a text needs. None is 4; for less than 200
        training rows, it is a fiftieth of them, and at least 2.
    max_one_hot : int, default 64
        The largest number of levels of a text that become inputs.
    high_cardinality : {"auto", "target", "frequent", "codes", "one-hot", "drop"}, default "auto"
        What becomes of a text with more levels: the mean of the target ("target", which needs y),
        of each class if there are more than two; an input for each of the most frequent levels,
        `max_one_hot` in all, the last of which stands for all others; the code of the level, which
        a network with `Dense(…, categories=fastbp.Categories(encoder.code_levels))` embeds; an
        input for each level all the same; or nothing. "auto" is "one-hot" if the rows are sparse,
        "target" if y is given, and otherwise "frequent".
    smooth : float, default 10
        The mean of a level with m rows is (their sum + smooth·mean of all)/(m + smooth).
    n_folds : int, default 5
        `fit_transform` takes the means for a training row from the other folds [3]_, so that they
        do not know its target.
    seed : int, default 0
        The seed of the folds.
    sparse : bool or "auto", default False
        Whether `transform` returns sparse rows, a CSR array of SciPy. "auto" does so for more than
        256 inputs, of which at most a tenth is not 0, if SciPy is installed, and never for codes,
        which sparse rows do not have.
    task : {None, "classification", "regression"}, default None
        What y is for the means: classes, or numbers. None takes text, booleans, and whole numbers
        with at most 20 distinct values as classes.

    Attributes
    ----------
    n_features_in_ : int
        The number of columns in `fit`.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Their names.

    References
    ----------
    .. [1] D. Holzmüller, L. Grinsztajn, I. Steinwart: Better by Default. NeurIPS 2024.
    .. [2] Y. Gorishniy, I. Rubachev, A. Babenko: On Embeddings for Numerical Features in Tabular
       Deep Learning. NeurIPS 2022.
    .. [3] D. Micci-Barreca: A preprocessing scheme for high-cardinality categorical attributes.
       SIGKDD Explorations 3 (2001); crossed as in the TargetEncoder of scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp.tabular import Table, TableEncoder
    >>> values = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [6.0, np.nan]])
    >>> plans = np.array(["basic", "pro", "basic", "pro"])
    >>> table = Table("plans", ("age", "plan"), values, text={1: plans})
    >>> encoder = TableEncoder().fit(table)
    >>> encoder.get_feature_names_out().tolist()
    ['age', 'age=(missing)', 'plan=pro']
    >>> encoder.transform(table, "float64").round(2).tolist()
    [[-0.4, 0.0, -1.0], [0.0, 0.0, 1.0], [0.0, 1.0, -1.0], [1.41, 0.0, 1.0]]
    >>> print(encoder.describe())
    2 columns, 3 inputs, 1 of them numbers
      age   number  2 inputs  (x - 2)*0.4, clipped to ±3; 1 where missing
      plan  text    1 input   -1 for 'basic', 1 for 'pro'
    """

    _columns: tuple[Column, ...] | None = None
    _output: str | None = None

    def __init__(
        self,
        *,
        categorical: Sequence[str] = (),
        numbers: str = "robust",
        pieces: int = 0,
        indicators: bool = True,
        min_count: int | None = None,
        max_one_hot: int = 64,
        high_cardinality: str = "auto",
        smooth: float = 10.0,
        n_folds: int = 5,
        seed: int = 0,
        sparse: bool | str = False,
        task: str | None = None,
    ) -> None:
        self.categorical = categorical
        self.numbers = numbers
        self.pieces = pieces
        self.indicators = indicators
        self.min_count = min_count
        self.max_one_hot = max_one_hot
        self.high_cardinality = high_cardinality
        self.smooth = smooth
        self.n_folds = n_folds
        self.seed = seed
        self.sparse = sparse
        self.task = task
        self._check()

    def _check(self) -> None:
        """Raise TypeError or ValueError for an invalid option."""
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if not any(value is each or (type(value) is str and value == each) for each in known):
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, known))}; got {value!r}"
                )
        names = self.categorical
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"categorical must be names of columns, in a list; got {names!r}")
        for name, check in _CHECKS.items():
            check(getattr(self, name), name)
        if self.sparse is True and self.high_cardinality == "codes":
            raise ValueError(
                'high_cardinality="codes" makes codes, of which 0 is one, and sparse rows leave '
                'out zeros: use sparse=False, or high_cardinality="one-hot"'
            )
        if self.n_folds < 2:
            raise ValueError(f"n_folds must be at least 2; got {self.n_folds}")

    # ---- fitting --------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, *, rows: Any = None) -> TableEncoder:
        """Learn what becomes of each column.

        Parameters
        ----------
        X : Table, frame, mapping of columns, list of mappings, or array
            The rows. Of a Table, the target is not used. Of anything else, the types of the columns
            say what they hold; texts are dates if all of them are.
        y : array_like of shape (n,) or (n, k), optional
            The target of each row of X: classes or numbers. Only means of the target need it; NaN
            among numbers counts for nothing.
        rows : array_like of int or of bool, optional
            The training rows: their indices, or a mask (n,). By default all rows.

        Returns
        -------
        TableEncoder
            The encoder itself.

        Raises
        ------
        DataError
            The table has no row, no column, or no column that varies; a number is infinite; or a
            column holds cells of several kinds.
        TypeError, ValueError
            An option, y or `rows` is invalid.
        """
        self._fit(self._as_table(X), y, rows)
        return self

    def fit_transform(
        self, X: Any, y: Any = None, *, rows: Any = None, dtype: Any = "float32"
    ) -> Any:
        """Fit, and return the inputs for X, in which means of the target are crossed.

        It differs from `fit(X, y).transform(X)` in columns that become means of the target: the
        means for a training row come from the training rows of other folds. Other rows have the
        same inputs as by `transform`.

        Parameters
        ----------
        X, y, rows
            As for `fit`.
        dtype
            As for `transform`.

        Returns
        -------
        ndarray, sparse array or data frame, shape (n, n_inputs)
            The inputs, as `transform` returns them.

        Raises
        ------
        DataError, TypeError, ValueError
            As `fit` and `transform` raise them.
        """
        return self._returned(self._learned_inputs(self._as_table(X), y, rows, dtype), X)

    def _learned_inputs(
        self, table: Table, y: Any, rows: Any = None, dtype: Any = "float32"
    ) -> Any:
        """What `fit_transform` returns, always as an array."""
        dtype = check_dtype(dtype)
        chosen, target = self._fit(table, y, rows)
        columns = self._used()
        table = columns_in(table, columns)
        crossed: dict[int, Array] = {}
        for i, column in enumerate(columns):
            if isinstance(column, TextColumn) and column.encoding == "means" and target is not None:
                codes = column.codes(table.text[i])
                folds = target.folds(self.n_folds, self.seed)
                found = column.values[codes]
                found[chosen] = cross_fitted(column, codes[chosen], target, self.smooth, folds)
                crossed[i] = found
        return self._inputs(columns, table, dtype, crossed)

    def _as_table(self, X: Any) -> Table:
        """The table to learn from: X itself, or what a frame or an array holds."""
        if isinstance(X, Table):
            table = X
        else:
            table = table_of(X, missing="keep", dates="parse", categorical=self.categorical)
        for name in self.categorical:
            if name not in table.names:
                raise DataError(
                    f"{table.source}: categorical has {name!r}, which is no column"
                    f"{did_you_mean(name, table.names)}"
                )
        return _texts_of(table, self.categorical)

    def _fit(self, table: Table, y: Any, rows: Any) -> tuple[Array, Target | None]:
        """Learn from a table; return the indices of the training rows, and their target."""
        self._check()
        if not table.names:
            raise DataError(f"{table.source}: expected at least one column; the table has none")
        twice = [name for name, n in Counter(table.names).items() if n > 1]
        if twice:
            raise DataError(f"{table.source}: two columns are called {twice[0]!r}: rename one")
        chosen = _rows_of(rows, table)
        target = None if y is None else self._target(y, table, chosen)
        beyond = self._beyond(target)
        numeric = [i for i in range(len(table.names)) if kind_of(table, i) == "number"]
        refuse_infinite(table, numeric)
        found: dict[int, Column] = dict(
            zip(
                numeric,
                number_columns(
                    [table.names[i] for i in numeric],
                    table.values[chosen[:, None], numeric].astype(np.float64, copy=False),
                    self.numbers,
                    indicators=self.indicators,
                    pieces=self.pieces,
                ),
                strict=True,
            )
        )
        for i, cells in table.dates.items():
            found[i] = date_column(
                table.names[i],
                cells[chosen],
                self.numbers,
                indicators=self.indicators,
                pieces=self.pieces,
            )
        for i, cells in table.text.items():
            found[i] = self._text_column(table.names[i], cells[chosen], beyond, target, table)
        columns = tuple(found[i] for i in range(len(table.names)))
        _check_inputs(columns, table.source, len(chosen))
        self._take(columns)
        return chosen, target

    def _take(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self.feature_names_in_ = np.array([column.name for column in columns], object)
        self.n_features_in_ = len(columns)

    def _target(self, y: Any, table: Table, chosen: Array) -> Target:
        """The checked target of the training rows."""
        array = as_array(y, "y")
        if array.ndim not in (1, 2) or len(array) != table.n_rows or array.size == 0:
            raise ValueError(
                f"y has shape {array.shape}; expected ({table.n_rows},) or ({table.n_rows}, k), "
                f"a target for each row of {table.source}"
            )
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        task = self.task or infer_task(array)
        array = array[chosen]
        if task == "regression":
            if array.dtype.kind not in "biuf" or np.isinf(array).any():
                raise ValueError(
                    f"the target of a regression must be finite numbers; y has dtype {array.dtype}"
                    + ("" if array.dtype.kind not in "biuf" else " and an infinite number")
                )
        elif array.ndim > 1:
            raise ValueError(f"classes must have shape (n,); y has shape {array.shape}")
        elif array.dtype.kind == "f" and np.isnan(array).any():
            raise ValueError("y has a NaN, which is no class: drop such rows")
        elif array.dtype.kind == "O" and len({*map(type, array.tolist())}) > 1:
            kinds = sorted({kind.__name__ for kind in map(type, array.tolist())})
            raise ValueError(f"y has labels of several types, {', '.join(kinds)}: use one")
        return target_of(array, task == "classification")

    def _beyond(self, target: Target | None) -> str:
        """What becomes of texts with many levels."""
        beyond = self.high_cardinality
        if beyond == "target" and target is None:
            raise ValueError('high_cardinality="target" takes means of y: pass y to fit')
        if beyond != "auto":
            return beyond
        if self.sparse is True or (self.sparse == "auto" and target is None):
            return "one-hot"
        return "frequent" if target is None else "target"

    def _text_column(
        self, name: str, cells: Array, beyond: str, target: Target | None, table: Table
    ) -> TextColumn:
        """What the cells of the training rows say of a column of text."""
        counts = Counter(cells.tolist())
        strange = [cell for cell in counts if not isinstance(cell, (str, type(None)))]
        if strange:
            raise DataError(
                f"{table.source}, column {name!r}: expected texts, and None for holes; got "
                f"{strange[0]!r} ({type(strange[0]).__name__})"
            )
        least = self.min_count
        if least is None:
            least = min(_MIN_COUNT, max(2, len(cells) // _ROWS_PER_COUNT))
        column = text_column(
            name, counts, min_count=least, max_one_hot=self.max_one_hot, beyond=beyond
        )
        if column.encoding == "means" and target is not None:
            return mean_column(column, column.codes(cells), target, self.smooth)
        return column

    # ---- what it knows --------------------------------------------------------------------

    def _known(self) -> tuple[Column, ...]:
        """The columns. Raises ValueError before `fit`."""
        if self._columns is None:
            raise ValueError("the encoder is not fitted: call fit first")
        return self._columns

    def _used(self) -> list[Column]:
        """The columns that have inputs."""
        return [column for column in self._known() if n_inputs_of(column)]

    def __sklearn_is_fitted__(self) -> bool:
        return self._columns is not None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns that `transform` takes: those that have inputs."""
        return tuple(column.name for column in self._used())

    @property
    def kinds(self) -> dict[str, str]:
        """For each of `features` what it holds: "number", "date" or "text"."""
        return {column.name: column.kind for column in self._used()}

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """For each of `features` that is text, the texts that `fit` saw, without holes."""
        return {
            column.name: (*column.levels, *column.rare)
            for column in self._used()
            if isinstance(column, TextColumn)
        }

    @property
    def n_numbers(self) -> int:
        """The number of inputs of numbers, days and means, which are the first ones."""
        return len(names_of(self._known())[0])

    @property
    def n_inputs(self) -> int:
        """The number of inputs."""
        return sum(map(len, names_of(self._known())))

    @property
    def codes(self) -> dict[str, tuple[str, ...]]:
        """For each of `features` that is a code what code 0, 1 and so on stand for.

        These are levels, and "(missing)" and "(rare)" if there are such groups.
        """
        return {column.name: column.groups for column in self._known() if is_coded(column)}

    @property
    def code_levels(self) -> tuple[int, ...]:
        """The number of levels of each input that is a code, which are the last inputs.

        A code is 0 to levels − 1, or −1 for a text that `fit` did not see, and for a hole, if
        there was none. `fastbp.Categories` takes these numbers.
        """
        return tuple(map(len, self.codes.values()))

    @property
    def places(self) -> dict[str, Array]:
        """For each of `features` the indices of its inputs."""
        sizes = list(map(len, names_of(self._known())))
        next_of = np.cumsum([0, *sizes[:-1]])
        found = {}
        for column in self._used():
            counts = list(map(len, names_of([column])))
            ranges = map(np.arange, next_of, next_of + counts)
            found[column.name] = np.concatenate(list(ranges))
            next_of += counts
        return found

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """The names of the inputs, an ndarray of str (n_inputs,), all different.

        `input_features` may be the names of the columns, as scikit-learn passes them.
        """
        names = [name for part in names_of(self._known()) for name in part]
        if input_features is not None and list(input_features) != self.feature_names_in_.tolist():
            raise ValueError("input_features is not equal to feature_names_in_")
        return np.array(distinct(names), object)

    def describe(self) -> str:
        """What becomes of each column, a line for each."""
        columns = self._known()
        rows = [
            (
                column.name,
                column.kind,
                counted(n_inputs_of(column), "input"),
                str(column),
            )
            for column in columns
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        head = (
            f"{counted(len(columns), 'column')}, {counted(self.n_inputs, 'input')}, "
            f"{self.n_numbers:,} of them numbers"
        )
        if self.code_levels:
            head += f", {len(self.code_levels):,} of them codes"
        lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]) for row in rows]
        return "\n".join([head, *(f"  {line}" for line in lines)])

    def __repr__(self) -> str:
        given = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value != _DEFAULTS[name]
        ]
        text = f"TableEncoder({', '.join(given)})"
        if self._columns is None:
            return text
        return (
            f"{text}: {counted(len(self._columns), 'column')} -> {counted(self.n_inputs, 'input')}"
        )

    # ---- inputs ---------------------------------------------------------------------------

    def transform(self, X: Any, dtype: Any = "float32") -> Any:
        """The inputs of the network for a table.

        Parameters
        ----------
        X : Table, frame, mapping of columns, list of mappings, or array
            The rows. Columns are found by name. Those that have inputs, `features`, are needed; all
            others are left out. A mapping of single values is one row.
        dtype : {"float32", "float64"}
            The dtype of the inputs.

        Returns
        -------
        ndarray, sparse array or data frame, shape (n, n_inputs)
            The inputs; what it is depends on `sparse` and `set_output`.

        Raises
        ------
        DataError
            A column is missing, holds another kind of cells than in `fit`, or has a number that is
            infinite, or, scaled, too large for `dtype`.
        TypeError, ValueError
            The encoder is not fitted, or `dtype` is invalid.

        Warns
        -----
        UserWarning
            X is no Table, and a column that was text in training holds numbers, at least half of
            which are no levels of the training rows; or it has at least 20 texts, and none of them
            is such a level.
        """
        return self._returned(self._inputs_for(X, dtype), X)

    def _inputs_for(self, X: Any, dtype: Any = "float32") -> Any:
        """What `transform` returns, always as an array."""
        columns, table = self._used(), self._chosen(X)
        return self._inputs(columns, table, check_dtype(dtype), {})

    def unseen(self, X: Any) -> dict[str, dict[str, int]]:
        """For each column of text the texts that `fit` did not see, and in how many rows they are.

        X and the errors are those of `transform`. Columns without such texts are left out.
        """
        columns, table = self._used(), self._chosen(X)
        found = {}
        for i, column in enumerate(columns):
            if isinstance(column, TextColumn):
                counts = Counter(table.text[i].tolist())
                new = {t: n for t, n in counts.items() if t not in {None, "", *column.index}}
                if new:
                    found[column.name] = new
        return found

    def _chosen(self, X: Any) -> Table:
        """A table with the columns that have inputs, in their order, each of its kind."""
        if isinstance(X, Table):
            return columns_in(X, self._used())
        dated = [name for name, kind in self.kinds.items() if kind == "date"]
        table = table_of(
            X, self.features, self.categories, dated=dated, missing="keep", dates="parse"
        )
        warn_of_unseen(self._used(), table, X)
        return table

    def _inputs(
        self, columns: Sequence[Column], table: Table, dtype: np.dtype, crossed: dict[int, Array]
    ) -> Any:
        """The inputs for a table of `columns_in`; `crossed` has the means of some columns."""
        make = sparse_inputs if self._makes_sparse() else dense_inputs
        return make(columns, table, dtype, crossed)

    def _makes_sparse(self) -> bool:
        if self.sparse != "auto" or self.code_levels:
            return self.sparse is True
        hot = [column for column in self._known() if is_one_hot(column)]
        full = self.n_inputs - sum(len(column.other_names) for column in hot) + len(hot)
        few = self.n_inputs > _SPARSE_INPUTS and full <= _SPARSE_SHARE * self.n_inputs
        return few and importlib.util.find_spec("scipy") is not None

    # ---- as a transformer of scikit-learn ----------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options by name; `deep` changes nothing."""
        return {name: getattr(self, name) for name in _DEFAULTS}

    def set_params(self, **params: Any) -> TableEncoder:
        """Set options by name, and return the encoder; ValueError, and no change, if invalid."""
        unknown = [name for name in params if name not in _DEFAULTS]
        if unknown:
            raise ValueError(
                f"TableEncoder has no option {unknown[0]!r}; it has {', '.join(_DEFAULTS)}"
            )
        TableEncoder(**self.get_params() | params)  # checks them
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def set_output(self, *, transform: str | None = None) -> TableEncoder:
        """Choose what `transform` and `fit_transform` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None
            An array; a frame of pandas with the index of X, if that is one; or a frame of polars.
            None leaves the choice as it is. Without any, `sklearn.set_config` decides.

        Returns
        -------
        TableEncoder
            The encoder itself.
        """
        if transform not in (None, "default", "pandas", "polars"):
            raise ValueError(
                f"transform must be default, pandas, polars or None; got {transform!r}"
            )
        self._output = self._output if transform is None else transform
        return self

    def __sklearn_tags__(self) -> Any:
        utils: Any = sys.modules["sklearn.utils"]  # which calls this
        tags = utils.Tags(
            estimator_type=None,
            target_tags=utils.TargetTags(required=False),
            transformer_tags=utils.TransformerTags(preserves_dtype=[]),
            input_tags=utils.InputTags(string=True, categorical=True, allow_nan=True),
        )
        return tags

    def _returned(self, inputs: Any, X: Any) -> Any:
        """The inputs in the form that `set_output` or the settings of scikit-learn ask for."""
        output = self._output
        if output is None and "sklearn" in sys.modules:
            output = sys.modules["sklearn"].get_config()["transform_output"]
        if output in (None, "default"):
            return inputs
        if self._makes_sparse():
            raise ValueError(
                f"a frame of {output} is not sparse: use sparse=False, or "
                'set_output(transform="default")'
            )
        names = self.get_feature_names_out().tolist()
        if output == "pandas":
            import pandas

            index = X.index if isinstance(X, pandas.DataFrame) else None
            return pandas.DataFrame(inputs, columns=names, index=index, copy=False)
        import polars

        return polars.DataFrame(inputs, schema=names, orient="row")

    # ---- files ----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All options, and all that it has learned, as a dict for JSON."""
        columns = [column_to_dict(column) for column in self._known()]
        return {"format": _FORMAT, "options": self.get_params(), "columns": columns}

    @classmethod
    def from_dict(cls, value: Any) -> TableEncoder:
        """Make a fitted encoder of a dict from `to_dict`; ValueError if the dict is invalid."""
        if not isinstance(value, Mapping) or set(value) != {"format", "options", "columns"}:
            raise ValueError("an encoder must be a dict with format, options and columns")
        if value["format"] != _FORMAT:
            raise ValueError(
                f"the encoder has format {value['format']!r}; this version reads {_FORMAT}: "
                "update fastbp"
            )
        options, columns = value["options"], value["columns"]
        if not isinstance(options, Mapping) or set(options) != set(_DEFAULTS):
            raise ValueError(f"options must be a dict with {', '.join(_DEFAULTS)}")
        try:
            names = options["categorical"]
            names = tuple(names) if isinstance(names, list) else names
            encoder = cls(**{**options, "categorical": names})
        except TypeError as error:
            raise ValueError(str(error)) from None
        if not isinstance(columns, (list, tuple)) or not columns:
            raise ValueError("columns must be a list of at least one")
        found = tuple(map(column_from_dict, columns))
        if len({column.name for column in found}) != len(found):
            raise ValueError("two columns have the same name")
        for column in found:
            if not isinstance(column, TextColumn) and not column.scale.suits(encoder.numbers):
                raise ValueError(
                    f"column {column.name!r}: the clipping or the quantiles of its scale do not "
                    f"suit numbers={encoder.numbers!r}"
                )
            if not isinstance(column, TextColumn) and len(column.scale.edges) > encoder.pieces + 1:
                raise ValueError(
                    f"column {column.name!r}: {len(column.scale.edges)} edges are too many for "
                    f"pieces={encoder.pieces}"
                )
            if is_coded(column) and encoder.sparse is True:
                raise ValueError(f"column {column.name!r}: sparse rows have no codes")
        _check_inputs(found, "the encoder", 0)
        encoder._take(found)
        return encoder


_DEFAULTS: dict[str, Any] = {
    name: value for name, value in (TableEncoder.__init__.__kwdefaults__ or {}).items()
}
_CHOICES: dict[str, tuple[Any, ...]] = {
    "numbers": NUMBERS,
    "high_cardinality": HIGH_CARDINALITY,
    "sparse": (False, True, "auto"),
    "task": TASKS,
}
_CHECKS: dict[str, Callable[[Any, str], object]] = {
    "pieces": check_count,
    "indicators": check_flag,
    "min_count": lambda value, name: value is None or check_positive_int(value, name),
    "max_one_hot": check_positive_int,
    "smooth": check_nonnegative,
    "n_folds": check_positive_int,
    "seed": check_count,
}


# ---- columns ------------------------------------------------------------------------------


def _texts_of(table: Table, names: Sequence[str]) -> Table:
    """A table in which some columns of numbers or dates are text, as a .csv file would have it."""
    text, dates = dict(table.text), dict(table.dates)
    for name in names:
        place = table.names.index(name)
        if place not in text:
            part = table_of(column_of(table, place), missing="keep", categorical=[name])
            text[place] = part.text[0]
            dates.pop(place, None)
    return replace(table, text=text, dates=dates)


def _rows_of(rows: Any, table: Table) -> Array:
    """The indices of the training rows."""
    n = table.n_rows
    if rows is None:
        found = np.arange(n)
    else:
        found = as_array(rows, "rows")
        if found.ndim != 1 or found.dtype.kind not in "iub" or not found.size:
            raise ValueError(
                "rows must be indices of rows, or a mask, of at least one row; got "
                f"{found.dtype} of shape {found.shape}"
            )
        if found.dtype.kind == "b":
            if len(found) != n:
                raise ValueError(f"rows is a mask of {len(found)}; {table.source} has {n:,} rows")
            found = np.flatnonzero(found)
        elif found.min() < 0 or found.max() >= n:
            raise ValueError(f"rows must lie in 0 … {n - 1}; got {found.min()} … {found.max()}")
    if not len(found):
        raise DataError(f"{table.source}: there are no rows to learn from")
    return found


def _check_inputs(columns: Sequence[Column], source: str, n_rows: int) -> None:
    n = sum(map(n_inputs_of, columns))
    if n == 0:
        where = f" in {counted(n_rows, 'training row')}" if n_rows else ""
        raise DataError(
            f"{source}: no column varies{where}, so there is nothing to learn from: "
            f"{listed(f'{column.name!r} is {column}' for column in columns)}"
        )
    if n > MAX_INPUTS:
        raise DataError(f"{source}: {n:,} inputs are more than {MAX_INPUTS:,}")
