"""`TableModel`: from a table to an ensemble of networks that predicts its target."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np

from .._checks import arguments as check
from .._checks.names import known_name
from .._checks.numbers import as_array
from .._checks.words import counted, listed
from .._messages import printable
from .._network.embedding import MOST_WIDTH, Categories
from .._network.network import Network
from .._types import Array
from ..errors import DataError
from ..metrics import accuracy, r2
from ..population import Population
from ._answers import Answers, Class, target_of
from ._by_name import columns_of, has_names, table_of
from ._csv import Format
from ._encoder import HIGH_CARDINALITY, TableEncoder
from ._encoder_state import list_of
from ._ensemble import (
    Ensemble,
    Plan,
    Samples,
    forecast,
    least_error,
    seconds_per_member,
    sharpened,
    temperature_of,
    train,
    within,
)
from ._importance import by_gradient, by_permutation, of_ensemble
from ._presets import EMBEDDING_STD, MAX_ONE_HOT, preset_of, width_of
from ._table import Table, choose_task

KIND = "table"  # in `preprocessing`
TASKS = ("classification", "regression")
_LISTS = ("target", "classes", "mean", "scale", "importance")
_FIELDS = frozenset({"kind", "encoder", "temperature", "reading", "n_columns", *_LISTS})
_READING = ("decimal", "thousands", "na", "date_formats", "units")  # what cells mean
_BLOCK = 16_384  # rows whose inputs are in memory at a time when predicting
# The most inputs that are pieces, and their memory; with many numbers or rows, each number has
# fewer pieces, but at least _MIN_PIECES.
_MAX_PIECES, _MAX_PIECE_BYTES = 2048, 2**30
_MIN_PIECES = 8
_MIN_BUDGET = 0.01  # s
_PROBED_SHARE = 0.1  # of a time limit, for each of two networks that compare inputs


class _Prepared(NamedTuple):
    """An encoder, what it makes of the rows, and the ensemble that is trained on it."""

    encoder: TableEncoder
    samples: Samples
    held_out: Samples | None
    plan: Plan


class TableModel:
    """Predict a column of a table from the others, by an ensemble of networks.

    It takes tables as they are: numbers and dates with holes, text, rare and unseen levels. A
    `TableEncoder` makes inputs of the columns. The members are networks that differ in their seeds
    and in the fold of the rows that they hold out; each keeps the parameters of its best epoch on
    these. They are trained together, as a `fastbp.Population`, and predict their mean. The
    probabilities of classes are calibrated on the rows that the members did not see.

    `fastbp.sklearn.TabularClassifier` and `TabularRegressor` are the same with the interface of
    scikit-learn; `fastbp train` writes such models, and `fastbp.load` reads them.

    Parameters
    ----------
    preset : {"default", "fast", "best"}, default "default"
        How large the ensemble is and how long it is trained; docs/table.md has the figures.
    task : {None, "classification", "regression"}, default None
        The task. None decides by the target: text, booleans, and whole numbers with at most 20
        distinct values are classes.
    n_members : int or None, default None
        The number of networks; None for that of the preset.
    epochs : int or None, default None
        The number of epochs; None for that of the preset.
    encoder : TableEncoder or None, default None
        How columns become inputs, as an encoder that need not be fitted. None makes one with the
        pieces of the preset.
    high_cardinality : {"auto", "target", "frequent", "codes", "one-hot", "drop"} or None
        What becomes of a text with more than 32 levels, as `TableEncoder` has it; the first layer
        embeds "codes". "auto" trains a network on means of the target and one on codes, and takes
        what has less error on held-out rows. None, the default, is "auto", or the option of
        `encoder`.
    embedding_width : int or None, default None
        How many inputs of the first layer a code becomes; None for min(16, 1.6·levels^0.56).
    seed : int, default 0
        Of the folds, the weights and the order of the rows.
    time_limit : float or None, default None
        The seconds that `fit` may take. If a forecast says that it would take more, there are
        fewer epochs, and then fewer members. The result then depends on the speed of the machine.
    n_threads : int or None, default None
        The most threads to use; None for `fastbp.get_num_threads()`.
    verbose : bool, default False
        Whether to print a forecast of the time, and to show the progress.

    Attributes
    ----------
    encoder : TableEncoder
        What `fit` has learned of the columns.
    networks : list of Network
        The members.
    classes : tuple of str, int, float or bool
        The classes, in the order of the outputs; () for a regression.
    target : tuple of str
        The names of the target columns.
    target_mean, target_scale : tuple of float
        For a regression: output a predicts a·scale + mean.
    temperature : float
        Probabilities are raised to 1/temperature; 1 changes nothing.
    histories : list of History
        The record of the training of each member.
    reading : Format
        The marks in the numbers and dates of the training file, if it was text.
    n_columns : int
        The number of columns in the training file.

    Examples
    --------
    >>> from fastbp.tabular import TableModel
    >>> ages, plans = [41, 19, None, 66] * 20, ["basic", "pro", "pro", None] * 20
    >>> left = ["no", "yes", "yes", "no"] * 20
    >>> model = TableModel("fast").fit({"age": ages, "plan": plans}, left)
    >>> model.predict({"age": [20, 50], "plan": ["pro", "family"]}).tolist()
    ['yes', 'no']
    >>> model.predict_proba({"age": 41, "plan": "basic"}).shape, model.classes
    ((1, 2), ('no', 'yes'))
    """

    def __init__(
        self,
        preset: str = "default",
        *,
        task: str | None = None,
        n_members: int | None = None,
        epochs: int | None = None,
        encoder: TableEncoder | None = None,
        high_cardinality: str | None = None,
        embedding_width: int | None = None,
        seed: int = 0,
        time_limit: float | None = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        changes: dict[str, Any] = {}
        if n_members is not None:
            changes["members"] = check.check_positive_int(n_members, "n_members")
        if epochs is not None:
            changes["epochs"] = check.check_positive_int(epochs, "epochs")
            changes["min_steps"] = 1
        self._preset, self._name = replace(preset_of(preset), **changes), preset
        if task is not None and task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)} or None; got {task!r}")
        if encoder is not None and not isinstance(encoder, TableEncoder):
            raise TypeError(f"encoder must be a TableEncoder; got {type(encoder).__name__}")
        if high_cardinality is not None and encoder is not None:
            raise ValueError(
                "give either encoder or high_cardinality, which is an option of TableEncoder"
            )
        self._beyond = "auto"
        if high_cardinality is not None:
            self._beyond = known_name("high_cardinality", high_cardinality, HIGH_CARDINALITY)
        self._width = None
        if embedding_width is not None:
            self._width = check.check_positive_int(embedding_width, "embedding_width")
            if self._width > MOST_WIDTH:
                raise ValueError(f"embedding_width must be at most {MOST_WIDTH}; got {self._width}")
        self._seed = check.check_seed(seed)
        self._limit = None if time_limit is None else check.check_positive(time_limit, "time_limit")
        self._n_threads = (
            None if n_threads is None else check.check_n_threads(n_threads, "n_threads")
        )
        self._verbose = check.check_flag(verbose, "verbose")
        self._asked, self._given = task, encoder
        self.networks: list[Network] = []

    # ---- fitting --------------------------------------------------------------------------

    def fit(
        self,
        X: object,
        y: object = None,
        *,
        sample_weight: object = None,
        validation_data: Sequence[object] | None = None,
        say: Callable[[str], None] = print,
    ) -> Self:
        """Learn to predict y from the columns of X.

        Parameters
        ----------
        X : Table, frame, mapping of columns, list of mappings, or array
            The rows, (n, columns). A hole is NaN, None or NaT.
        y : array_like of shape (n,) or (n, k), optional
            The target: classes, or numbers. May be left out for a Table that has one.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows, at least 0.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Rows by which the best epochs are chosen and probabilities calibrated. By default each
            member holds out a fold of the rows.
        say : callable, default print
            Called with the lines that `verbose` asks for.

        Returns
        -------
        TableModel
            The model itself.

        Raises
        ------
        DataError
            A column or the target cannot be used, and why.
        TypeError, ValueError
            As `TableEncoder.fit` and `Network.fit` raise them.
        DivergenceError
            All members diverge.
        KeyboardInterrupt
            When interrupted. The model predicts with what it has learned so far.
        """
        start = time.perf_counter()
        table = self._table(X, y)
        weights = _weights_of(sample_weight, table.n_rows, "sample_weight")
        if weights is not None and not weights.all():
            kept = np.flatnonzero(weights)
            table, weights = table.take(kept), weights[kept]
        target = table.require_target()
        answers = Answers.of(
            target, choose_task(table, self._asked), table.target_names, table.source
        )
        encoder, samples, held_out, plan = self._chosen_inputs(
            lambda beyond: self._prepared(beyond, table, answers, weights, validation_data),
            start,
            say,
        )
        if self._limit is not None or self._verbose:
            plan = self._announced(samples, plan, start, say)
        budget = None if self._limit is None else self._left(start)
        ensemble = train(samples, held_out, plan, time_budget=budget, progress=self._verbose)
        temperature = temperature_of(ensemble) if plan.classifies else 1.0
        self._take(encoder, answers, ensemble, temperature)
        self.reading, self.n_columns = table.format, table.n_columns
        self._importance, self._epochs = of_ensemble(encoder, ensemble), ensemble.epochs
        if ensemble.interrupted:
            raise KeyboardInterrupt
        return self

    def _table(self, X: object, y: object) -> Table:
        """The rows with their target."""
        table = X if isinstance(X, Table) else table_of(X, missing="keep", dates="parse")
        target, names = _target_of(X, y, table), table.target_names
        if y is not None:
            n = target.shape[1] if target.ndim > 1 else 1
            names = ("y",) if n == 1 else tuple(f"y{i + 1}" for i in range(n))
        return replace(table, target=target, target_names=names)

    def _prepared(
        self,
        beyond: str,
        table: Table,
        answers: Answers,
        weights: Array | None,
        validation_data: Sequence[object] | None,
    ) -> _Prepared:
        """What is trained on, if `beyond` becomes of texts with many levels."""
        target = table.require_target()
        encoder = self._encoder_for(table, answers.task, beyond)
        inputs = encoder._learned_inputs(encoder._as_table(table), target)
        samples = Samples(inputs, answers.numbers(target, table.place, table.source), weights)
        held_out = None
        if validation_data is not None:
            held_out = _held_out(validation_data, encoder, answers)
        plan = Plan(
            self._preset,
            answers.n_outputs,
            answers.task == "classification",
            self._seed,
            self._n_threads,
            self._categories(encoder.code_levels),
        )
        return _Prepared(encoder, samples, held_out, plan)

    def _chosen_inputs(
        self, prepare: Callable[[str], _Prepared], start: float, say: Callable[[str], None]
    ) -> _Prepared:
        """What is trained on: of texts with many levels, codes or means of the target.

        Means do better where levels have few rows and say little, codes where they say much. So
        the error of a network on held-out rows decides.
        """
        means = prepare(self._beyond)
        if self._beyond != "auto" or self._given is not None:
            return means
        names = [c.name for c in means.encoder._known() if c.number_names and c.kind == "text"]
        if not names:
            return means
        if self._limit is not None and time.perf_counter() - start > self._limit / 2:
            if self._verbose:
                say(f"{listed(names)}: means of the target; time_limit leaves no time to compare")
            return means
        codes = prepare("codes")
        errors = []
        for each in (means, codes):
            budget = None if self._limit is None else _PROBED_SHARE * self._left(start)
            errors.append(least_error(each.samples, each.held_out, each.plan, budget))
        chosen = codes if errors[1] < errors[0] else means
        if self._verbose:
            what = "embedded codes" if chosen is codes else "means of the target"
            say(
                f"{listed(names)}: {what}; the held-out error of a network is "
                f"{errors[1]:.4g} with codes, {errors[0]:.4g} with means"
            )
        return chosen

    def _encoder_for(self, table: Table, task: str, beyond: str) -> TableEncoder:
        """An encoder that is not fitted."""
        if self._given is not None:
            options = self._given.get_params()
            return TableEncoder(**{**options, "task": options["task"] or task})
        n_numbers = max(len(table.names) - len(table.text), 1)
        fitting = min(_MAX_PIECES, _MAX_PIECE_BYTES // (4 * table.n_rows)) // n_numbers
        pieces = min(self._preset.pieces, max(fitting, _MIN_PIECES))
        return TableEncoder(
            pieces=pieces, max_one_hot=MAX_ONE_HOT, high_cardinality=beyond, task=task
        )

    def _categories(self, levels: tuple[int, ...]) -> Categories | None:
        """The embeddings of codes with so many levels."""
        if not levels:
            return None
        widths = [self._width or width_of(n) for n in levels]
        return Categories(levels, widths, EMBEDDING_STD)

    def _left(self, start: float) -> float:
        """The seconds that are left since `start`."""
        return max((self._limit or 0) - (time.perf_counter() - start), _MIN_BUDGET)

    def _announced(
        self, samples: Samples, plan: Plan, start: float, say: Callable[[str], None]
    ) -> Plan:
        """Forecast the time, and reduce the plan to what the limit allows."""
        n = len(samples.y)
        per_member = seconds_per_member(samples, plan)
        needed = forecast(per_member, plan)
        text = f"{counted(plan.preset.members, 'network')}, about {_seconds(needed)}"
        if self._limit is not None:
            within_limit = within(self._left(start), per_member, plan, n)
            if within_limit is not plan:
                text += (
                    f"; time_limit={self._limit:g} leaves "
                    f"{counted(within_limit.preset.members, 'network')} of "
                    f"{counted(within_limit.preset.epochs, 'epoch')}"
                )
            plan = within_limit
        if self._verbose:
            say(text)
        return plan

    def _take(
        self, encoder: TableEncoder, answers: Answers, ensemble: Ensemble, temperature: float
    ) -> None:
        self.encoder, self._answers, self.temperature = encoder, answers, temperature
        self.networks, self.histories = ensemble.networks, ensemble.histories

    # ---- what it knows --------------------------------------------------------------------

    def _fitted(self) -> Answers:
        if not self.networks:
            raise ValueError("the model is not fitted: call fit first")
        return self._answers

    @property
    def task(self) -> str:
        """What the model predicts: "classification" or "regression"."""
        return self._fitted().task

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns that `predict` takes."""
        self._fitted()
        return self.encoder.features

    @property
    def target(self) -> tuple[str, ...]:
        """The names of the target columns."""
        return self._fitted().target

    @property
    def classes(self) -> tuple[Class, ...]:
        """The classes in the order of the probabilities; () for a regression."""
        return self._fitted().classes

    @property
    def target_mean(self) -> tuple[float, ...]:
        """For a regression, output a of a network predicts a·target_scale + target_mean."""
        return self._fitted().mean

    @property
    def target_scale(self) -> tuple[float, ...]:
        """See `target_mean`."""
        return self._fitted().scale

    # ---- predictions ----------------------------------------------------------------------

    def predict(self, X: object) -> Array:
        """The class of each row (n,), or the numbers, (n,) or (n, k), in float64.

        X is as for `fit`. Columns are found by name, further ones are left out. Raises DataError
        if a column is missing, or holds another kind of cells than in `fit`. Warns as
        `TableEncoder.transform` does.
        """
        return self._fitted().values(self._outputs(X))

    def predict_proba(self, X: object) -> Array:
        """The probability of each class, float32 (n, classes), in the order of `classes`.

        X and the errors are those of `predict`; ValueError for a regression.
        """
        if not self._fitted().classes:
            raise ValueError("a regression has no probabilities: use predict")
        return self._outputs(X)

    def predict_std(self, X: object) -> Array:
        """The standard deviation of the members' predictions, of the shape of `predict`.

        X and the errors are those of `predict`; ValueError for a classification.
        """
        answers = self._fitted()
        if answers.classes:
            raise ValueError("the members of a classification have no standard deviation")
        each = np.stack([answers.values(outputs) for outputs in self._outputs_of_each(X)])
        return np.asarray(each.std(axis=0))

    def score(self, X: object, y: object = None) -> float:
        """The accuracy of a classification, or R² of a regression.

        X and y are as for `fit`; without y, the columns `target` of X are the target.
        """
        answers = self._fitted()
        table = self._chosen(X)
        target = _target_of(X, y, table, columns=answers.target)
        numbers = answers.numbers(target, table.place, table.source)
        outputs = self._outputs(table)
        if answers.classes:
            return float(accuracy(outputs, numbers))
        return float(r2(answers.values(outputs), target.astype(np.float64)))

    def _outputs_of_each(self, X: object) -> list[Array]:
        """The outputs (n, n_outputs) of every member."""
        table = self._chosen(X)
        parts = [self._forwarded(table.take(rows)) for rows in _blocks(table.n_rows)]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def _forwarded(self, table: Table) -> list[Array]:
        inputs = self.encoder._inputs_for(table)
        return [net.predict(inputs) for net in self.networks]

    def _outputs(self, X: object) -> Array:
        """The mean outputs (n, n_outputs), of a classification with the temperature."""
        self._fitted()
        table = self._chosen(X)
        means = []
        for rows in _blocks(table.n_rows):
            outputs = self._forwarded(table.take(rows))
            total = outputs[0].astype(np.float64)
            for each in outputs[1:]:
                total += each
            means.append((total / len(outputs)).astype(np.float32))
        found = np.concatenate(means)
        return sharpened(found, self.temperature) if self.classes else found

    def _chosen(self, X: object) -> Table:
        """The columns that the model takes."""
        return self.encoder._chosen(X)

    # ---- importance -----------------------------------------------------------------------

    def importances(
        self, X: object = None, y: object = None, *, kind: str = "permutation", seed: int = 0
    ) -> dict[str, float]:
        """How much the predictions depend on each column, by name.

        Parameters
        ----------
        X, y
            Rows and their targets, as for `score`; best such that the model has not seen. No X
            takes what `fit` has found by gradients on rows that members held out.
        kind : {"permutation", "gradient"}, default "permutation"
            "permutation" is by how much the log loss or 1 − R² grows when the cells of the column
            are shuffled (Breiman 2001). "gradient" is the mean of |Σ (∂a/∂u)·(u − ū)| over rows and
            outputs, with u the inputs of the column and ū their means, as shares of their sum; of
            a code, u is its vector. It needs no y.
        seed : int, default 0
            Of the shuffling.

        Returns
        -------
        dict of str to float
            A number for each of `features`.

        Raises
        ------
        DataError, TypeError, ValueError
            As `score` raises them, and for another `kind`.
        """
        self._fitted()
        if X is None:
            return dict(self._importance)
        if kind == "gradient":
            return by_gradient(self.encoder, self.networks, self.encoder._inputs_for(X))
        if kind != "permutation":
            raise ValueError(f"kind must be permutation or gradient; got {kind!r}")
        table = self._chosen(X)
        target = _target_of(X, y, table, columns=self.target)
        numbers = self._answers.numbers(target, table.place, table.source)
        inputs = self.encoder._inputs_for(table)
        return by_permutation(self.encoder, self._error_of(numbers), inputs, seed)

    def _error_of(self, numbers: Array) -> Callable[[Array], float]:
        """A function from inputs to the log loss, or 1 − R², for these targets."""

        def error(inputs: Array) -> float:
            outputs = np.mean([net.predict(inputs) for net in self.networks], axis=0)
            if not self.classes:
                return 1 - float(r2(outputs, numbers))
            found = sharpened(outputs, self.temperature)[np.arange(len(numbers)), numbers]
            return float(-np.log(np.maximum(found, 1e-12)).mean())

        return error

    # ---- files ----------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file, whole or not at all; `fastbp.load` reads it.

        Raises OSError as `open` does.
        """
        self._fitted()
        self.networks[0].preprocessing = self._to_dict()
        for net in self.networks[1:]:
            net.preprocessing = None
        Population(self.networks).save(path)

    def _to_dict(self) -> dict[str, Any]:
        """What the model knows besides its networks, as a dict for JSON."""
        answers = self._answers
        return {
            "kind": KIND,
            "encoder": self.encoder.to_dict(),
            "target": list(answers.target),
            "classes": list(answers.classes),
            "mean": list(answers.mean),
            "scale": list(answers.scale),
            "temperature": self.temperature,
            "importance": list(self._importance.values()),
            "reading": {name: getattr(self.reading, name) for name in _READING},
            "n_columns": self.n_columns,
        }

    @classmethod
    def from_networks(cls, networks: Sequence[Network], known: Mapping[str, Any]) -> TableModel:
        """Make the model of a file of `save`, from the networks and `preprocessing` of the first.

        Raises ValueError if it is invalid, or does not fit the networks.
        """
        if set(known) != _FIELDS or known["kind"] != KIND:
            raise ValueError(f"a model of a table has the fields {', '.join(sorted(_FIELDS))}")
        encoder = TableEncoder.from_dict(known["encoder"])
        lists = {name: list_of(known[name], name) for name in _LISTS}
        importance = lists.pop("importance")
        answers = Answers(**lists)
        temperature = known["temperature"]
        numbers = (temperature, *importance)
        if any(type(each) is not float or not 0 <= each < np.inf for each in numbers):
            raise ValueError("temperature and importance must be finite numbers, at least 0")
        if temperature == 0 or len(importance) != len(encoder.features):
            raise ValueError("temperature must not be 0, and each column has an importance")
        for net in networks:
            if (net.widths[0], net.widths[-1]) != (encoder.n_inputs, answers.n_outputs):
                raise ValueError(
                    f"the columns are {encoder.n_inputs} inputs and the target "
                    f"{answers.n_outputs} outputs; a network has {net.widths[0]} and "
                    f"{net.widths[-1]}"
                )
            categories = net.dense[0].categories
            levels = () if categories is None else categories.levels
            if levels != encoder.code_levels:
                raise ValueError(
                    f"the columns have codes of {list(encoder.code_levels)} levels, and a network "
                    f"takes {list(levels)}"
                )
        model = cls()
        model.encoder, model._answers, model.temperature = encoder, answers, temperature
        model._importance = dict(zip(encoder.features, importance, strict=True))
        model.networks, model.histories = list(networks), []
        reading = known["reading"]
        if not isinstance(reading, Mapping) or set(reading) != set(_READING):
            raise ValueError(f"reading has the fields {', '.join(_READING)}")
        marks: dict[str, Any] = {
            name: each if name in ("decimal", "thousands") else list_of(each, name)
            for name, each in reading.items()
        }
        model.reading = Format(**marks)
        model.n_columns = check.check_count(known["n_columns"], "n_columns")
        return model

    def __repr__(self) -> str:
        if not self.networks:
            members = counted(self._preset.members, "network")
            return f"TableModel({self._name!r}: {members}, not fitted)"
        sizes = "-".join(map(str, self.networks[0].widths))
        columns = counted(len(self.features), "column")
        return (
            f"TableModel({self.task}: {columns} -> {printable(listed(self.target))}; "
            f"{counted(len(self.networks), 'network')} {sizes})"
        )


# ---- helpers ------------------------------------------------------------------------------


def _blocks(n: int) -> list[Array]:
    return [np.arange(start, min(start + _BLOCK, n)) for start in range(0, max(n, 1), _BLOCK)]


def _target_of(
    X: object, y: object, table: Table, name: str = "y", columns: Sequence[str] = ()
) -> Array:
    """The checked target of a table of X: y, or by default what X has in these columns."""
    if y is None and isinstance(X, Table):
        y, name = X.require_target(), "the target"
    elif y is None:
        found = columns_of(X) if columns and has_names(X) else {}
        if not columns or not set(columns) <= set(found):
            raise DataError(f"{table.source}: expected a target: pass it as {name}")
        arrays = [as_array(found[column], column).reshape(-1) for column in columns]
        y, name = np.stack(arrays, axis=1), "the target"
    return target_of(y, name, table.n_rows, table.place, table.source)


def _held_out(data: Sequence[object], encoder: TableEncoder, answers: Answers) -> Samples:
    """The samples of validation data."""
    X, y, weights = check.split_validation(data)
    table = replace(encoder._chosen(X), source="validation_data")
    target = _target_of(X, y, table, "y of validation_data", answers.target)
    return Samples(
        encoder._inputs_for(table),
        answers.numbers(target, table.place, table.source),
        _weights_of(weights, table.n_rows, "sample_weight of validation_data"),
    )


def _weights_of(sample_weight: object, n_rows: int, name: str) -> Array | None:
    """Weights in float32, times the power of two with which their mean is 1 to 2.

    Their scale does not matter, and the power of two changes no bit of the results, but the squares
    of gradients that are very large or small are no numbers of float32.
    """
    weights = check.as_weights(sample_weight, n_rows, np.dtype(np.float64), name=name)
    if weights is None:
        return None
    exponent = int(np.frexp(weights.mean())[1])
    return np.ldexp(weights, 1 - exponent).astype(np.float32)


def _seconds(number: float) -> str:
    return f"{number:.1f} s" if number < 10 else f"{number:.0f} s"
