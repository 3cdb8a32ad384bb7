"""`TableNetwork`: a network that takes the rows of a table by name, as `fastbp train` made it."""

from __future__ import annotations

import os
import sys
from typing import Any, cast

import numpy as np

from .._checks.caller import warn_caller
from .._checks.numbers import as_array
from .._checks.words import counted, listed
from .._messages import printable
from .._network.network import Network
from .._types import Array, Rows
from ..errors import DataError
from ..metrics import accuracy, r2
from ._by_name import columns_of, has_names, table_of
from ._preprocessing import Preprocessing
from ._table import Table


class TableNetwork(Network):
    """A network with the preprocessing of the table that it was trained on.

    `fastbp.load` returns one for a model file of the command `fastbp train`. `predict`,
    `predict_proba`, `score` and `prepare` take rows by name: the columns as they are in the table,
    numbers in their units and text as text. The network scales numbers, encodes text, and answers
    in class names or in the units of the target.

    X by name is one of these:

    - a data frame of pandas, polars or Arrow, or one row of a frame of pandas;
    - a dict of columns, `{"age": [41, 30], "plan": ["basic", "pro"]}`;
    - a dict of single values, which is one row, `{"age": 41, "plan": "basic"}`;
    - a list of such rows;
    - a structured array of NumPy;
    - a `fastbp.tabular.Table`, such as `read_features` returns. `from_arrays` makes one of an array
      of the raw columns in the order of `features`.

    The order of the columns does not matter, and further columns, such as an identifier or the
    target, are ignored. Missing values are refused, and so are unknown categories, unless
    `unknown="ignore"` is given.

    An array has no names. As in every network, its columns are the inputs of the network, and
    `predict` returns the outputs. `prepare` turns rows by name into such an array. All methods of
    `fastbp.Network` take these arrays, and `prepare_targets` gives their targets, so that
    `net.fit(net.prepare(X), net.prepare_targets(X))` continues the training.

    The parameters of the constructor are those of `fastbp.Network`. A network that was not loaded
    has no columns before `preprocessing` is set to the dict of another one.

    Parameters
    ----------
    widths, activation, output, loss, dtype, init, seed, l1, l2, matmul_precision
        As for `fastbp.Network`.

    Examples
    --------
    >>> import fastbp
    >>> from fastbp.__main__ import main
    >>> with open("plans.csv", "w") as file:
    ...     _ = file.write("age,plan,left\\n" + "41,basic,no\\n19,pro,yes\\n" * 20)
    >>> main(["train", "plans.csv", "-q", "-o", "plans.safetensors"])
    0
    >>> net = fastbp.load("plans.safetensors")
    >>> net.predict({"age": [20, 40], "plan": ["pro", "basic"]})
    array(['yes', 'no'], dtype='<U3')
    >>> net.predict_proba({"age": 41, "plan": "basic"}).shape, net.classes
    ((1, 2), ('no', 'yes'))
    """

    _known: tuple[object, Preprocessing] | None = None  # a preprocessing, and what it says
    _warned = False  # of an array that could hold the raw columns

    @property
    def _prep(self) -> Preprocessing:
        """What `preprocessing` says. Raises ValueError if it is not that of a table."""
        given = self.preprocessing
        if self._known is None or self._known[0] is not given:
            if not isinstance(given, dict):
                raise ValueError(
                    "the network knows no table: net.preprocessing must be the dict that "
                    f"fastbp train writes; it is {given!r}"
                )
            self._known = (given, Preprocessing.of_network(given, self.widths))
        return self._known[1]

    # ---- the table ------------------------------------------------------------------------

    @property
    def task(self) -> str:
        """What the network predicts: "classification" or "regression"."""
        return self._prep.task

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns that `predict` takes."""
        return self._prep.features

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """The known texts of each column of text; the other columns are numbers."""
        return dict(self._prep.categories)

    @property
    def target(self) -> tuple[str, ...]:
        """The name of each column that the network predicts; a classification has one."""
        return self._prep.target

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """The classes in the order of the outputs; () for a regression."""
        return self._prep.classes

    # ---- predictions ----------------------------------------------------------------------

    def predict(self, X: object, *, unknown: str = "error") -> Array:
        """The answers for rows by name, or the outputs a^L (n, n_L) of prepared inputs.

        Parameters
        ----------
        X : rows by name, or array_like (n, n_0)
            The raw columns by name, see the class, or prepared inputs without names.
        unknown : {"error", "ignore"}, default "error"
            What to do with a category that was not in the training file: "ignore" sets all inputs
            of its column to 0.

        Returns
        -------
        ndarray
            By name: the class of each row (n,), or, for a regression, numbers in the units of the
            target, (n,), or (n, n_targets) if there are several. For prepared inputs: the outputs.

        Raises
        ------
        DataError
            A column is missing, or holds something that the network does not take.
        TypeError, ValueError
            As `fastbp.Network.predict` does.

        Warns
        -----
        UserWarning
            Once, for an array without names that could as well hold the raw columns.
        """
        if not has_names(X):
            return super().predict(self._unnamed(X))
        return self._answers(super().predict(self.prepare(X, unknown=unknown)))

    def predict_proba(self, X: object, *, unknown: str = "error") -> Array:
        """The probability of each class, (n, n_classes) in the order of `classes`.

        X and unknown as for `predict`; also raises ValueError for a regression.
        """
        if self.task != "classification":
            raise ValueError(
                f"the network predicts numbers ({listed(self.target)}), which have no "
                "probabilities: use predict"
            )
        if not has_names(X):
            return super().predict(self._unnamed(X))
        return super().predict(self.prepare(X, unknown=unknown))

    def score(self, X: object, y: object = None, *, unknown: str = "error") -> float:
        """The accuracy of a classification, or R² of a regression, on rows by name.

        y are the targets as in the table, (n,) or (n, n_targets); None takes the columns `target`
        of X. X, unknown and errors as for `predict`.
        """
        if not has_names(X):
            raise DataError(f"score takes rows by name; X has no names: {self._ways()}")
        outputs = super().predict(self.prepare(X, unknown=unknown))
        target = self._target_of(X if y is None else y)
        if self.task == "classification":
            found = self._prep.targets(target, self.dtype)
            _check_rows(len(found), len(outputs))
            return float(accuracy(outputs, found))
        given = target.require_target().astype(np.float64)
        _check_rows(len(given), len(outputs))
        answers = self._prep.answers(outputs)
        return float(r2(answers, given.reshape(answers.shape)))

    def prepare(self, X: object, *, unknown: str = "error") -> Array:
        """The inputs (n, n_0) of the network for rows by name, in its dtype.

        Numbers become (x − mean)/scale, and each category is an input that is 1 in its rows. X,
        unknown and errors as for `predict`.
        """
        prep = self._prep
        if not has_names(X):
            raise DataError(f"prepare takes rows by name; X has no names: {self._ways()}")
        table = table_of(X, prep.features, prep.categories, only_known=unknown == "error")
        return prep.inputs(table, self.dtype, unknown=unknown, max_bytes=sys.maxsize)

    def prepare_targets(self, y: object) -> Array:
        """The targets as `fit` takes them: class numbers (n,), or scaled numbers (n, n_targets).

        y are targets as in the table, (n,) or (n, n_targets), or rows by name that have the columns
        `target`. Raises DataError for a class that was not in the training file, and for numbers
        that are missing or not finite.
        """
        return self._prep.targets(self._target_of(y), self.dtype)

    # ---- helpers --------------------------------------------------------------------------

    def _answers(self, outputs: Array) -> Array:
        answers = self._prep.answers(outputs)
        if self.task == "classification":
            return np.array(self.classes)[answers]
        with np.errstate(over="ignore"):
            numbers = answers.astype(self.dtype)
        return numbers[:, 0] if len(self.target) == 1 else numbers

    def _target_of(self, y: object) -> Table:
        """A Table with only a target."""
        prep = self._prep
        if has_names(y):
            y = self._target_columns(y)
        array = as_array(y, "y")
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        expected = (len(self.target),) if len(self.target) > 1 else ()
        if array.ndim == 0 or array.shape[1:] != expected:
            wanted = ", ".join(map(str, ("n", *expected))) + ("" if expected else ",")
            raise DataError(f"y has shape {array.shape}; expected ({wanted}) for {prep.target}")
        if prep.task == "regression":
            columns = array.reshape(len(array), -1)
            numbers = dict(zip(prep.target, columns.T, strict=True))
            array = table_of(numbers, prep.target, {}, "y").values.reshape(array.shape)
        return Table("y", prep.target, np.empty((len(array), 0)), target=array)

    def _target_columns(self, X: object) -> Array:
        columns = columns_of(X, self.features)
        missing = [name for name in self.target if name not in columns]
        if missing:
            raise DataError(
                f"X has no column {missing[0]!r}, which is the target: pass the targets as y"
            )
        arrays = [as_array(columns[name], name).reshape(-1) for name in self.target]
        return arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)

    def _ways(self) -> str:
        """How to pass raw columns."""
        return (
            f"pass the columns {listed(self.features)} by name, in a data frame, a dict of "
            "columns, a dict for each row, or a Table"
        )

    def _unnamed(self, X: object) -> object:
        """X without names, for `predict`; warns once if it could hold the raw columns."""
        prep = self._prep
        scaled = any(prep.mean) or any(scale != 1 for scale in prep.scale)
        if scaled and not prep.categories and not self._warned:
            self._warned = True
            warn_caller(
                "X has no names, so its columns are taken as inputs that are already scaled, as "
                "prepare(X) returns them, and the outputs are returned as they are. For the raw "
                f"columns, {self._ways()}, such as fastbp.tabular.from_arrays('X', X). For "
                "prepared inputs, forward(X) returns the same without this warning"
            )
        return X

    def _sample(self, x: object) -> Array:
        self._refuse_raw(x, "x", "net.prepare_targets([y])[0] for its target")
        return super()._sample(x)

    def _inputs(self, X: object, name: str = "X") -> Rows:
        self._refuse_raw(X, name, "net.prepare_targets(y) for targets")
        try:
            return super()._inputs(X, name)
        except TypeError as error:  # text, for example
            if self.preprocessing is None:
                raise
            raise TypeError(f"{error}; for the raw columns, {self._ways()}") from None

    def _refuse_raw(self, X: object, name: str, targets: str) -> None:
        """Raise DataError for what methods of inputs do not take; `targets` says how to pass y."""
        if (type(X) is not np.ndarray or X.dtype.names is not None) and has_names(X):
            raise DataError(
                f"{name} has names, which predict, predict_proba, score and prepare take; this "
                f"method takes inputs: pass net.prepare({name}), and {targets}"
            )
        if isinstance(X, (str, os.PathLike)):
            raise DataError(
                f"{name} is a path; pass fastbp.tabular.read_features({os.fspath(X)!r}, "
                "net.features, categorical=net.categories)"
            )
        if self.preprocessing is not None and self._looks_raw(X):
            raise DataError(
                f"{name} has {len(self.features)} columns without names, as the table has; the "
                f"network takes {self.widths[0]} inputs: {self._ways()}"
            )

    def _looks_raw(self, X: object) -> bool:
        """Whether X without names has the columns of the table, and cannot be inputs."""
        if not isinstance(X, (np.ndarray, list, tuple)) and not hasattr(X, "iloc"):
            return False
        n_features = len(self.features)
        try:
            shape = np.shape(cast(Any, X))
        except ValueError:  # rows of different lengths, which the checks of a network refuse
            return False
        return len(shape) > 0 and shape[-1] == n_features != self.widths[0]

    # ---- description ----------------------------------------------------------------------

    @property
    def _columns_text(self) -> str:
        return printable(f"{listed(self.features)} -> {listed(self.target)}")

    @property
    def _kind(self) -> str:
        return super()._kind + (
            "" if self.preprocessing is None else f", columns {self._columns_text}"
        )

    def __repr__(self) -> str:
        text = super().__repr__()
        if self.preprocessing is None:
            return text
        return f"{text[:-1]}, columns='{self._columns_text}')"


def _check_rows(n_targets: int, n_rows: int) -> None:
    if n_targets != n_rows:
        raise DataError(f"y has {counted(n_targets, 'row')}; X has {n_rows:,}")
