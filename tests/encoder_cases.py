"""Tables with numbers, text, dates and holes, for the encoder and its exports."""

from types import SimpleNamespace

import numpy as np

from fastbp import Network
from fastbp.tabular import Table, TableEncoder

CITIES = [f"city {i}" for i in range(12)]


def made(columns, source="made"):
    """A Table of columns by name: numbers, dates, or texts with None as holes."""
    columns = {name: np.asarray(column) for name, column in columns.items()}
    n = len(next(iter(columns.values())))
    values, text, dates = np.full((n, len(columns)), np.nan), {}, {}
    for i, column in enumerate(columns.values()):
        if column.dtype.kind in "biuf":
            values[:, i] = column
        elif column.dtype.kind == "M":
            dates[i] = column.astype("datetime64[us]")
        else:
            text[i] = column
    return Table(source, tuple(columns), values, text, dates, n_columns=len(columns))


def texts(*cells):
    return np.array(cells, object)


def mixed(n=400, seed=0):
    """Columns of all kinds, with holes in some; of the rows, the target depends on each."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n) + rng.integers(0, 8, n) / 8
    plan = rng.choice(["basic", "pro", "größer"], n).astype(object)
    city = np.array(CITIES, object)[np.minimum(rng.geometric(0.2, n), len(CITIES)) - 1]
    joined = np.datetime64("2019-03-01T06:00", "us") + rng.integers(0, 4 * 10**7, n) * 3_137_000
    price = np.exp(rng.normal(3, 1, n))
    columns = {
        "age": np.where(rng.random(n) < 0.1, np.nan, age),
        "plan": plan,
        "joined": joined,
        "paid": rng.choice(["yes", "no"], n).astype(object),
        "price": price,
        "city": city,
        "constant": np.ones(n),
    }
    columns["plan"][rng.random(n) < 0.05] = None
    columns["joined"][rng.random(n) < 0.05] = "NaT"
    return columns


def model_of(table, target, dtype="float32", n_networks=1, **options):
    """A model as exports take it: an encoder and networks with random weights.

    The target is "classes", "two" for classes with one output, or "numbers".
    """
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, table.n_rows) if target == "classes" else rng.normal(size=table.n_rows)
    encoder = TableEncoder(max_one_hot=5, **options).fit(table, y)
    outputs = {
        "classes": (3, "softmax", "cross_entropy"),
        "two": (1, "sigmoid", "binary_cross_entropy"),
    }
    n, output, loss = outputs.get(target, (2, "identity", "squared_error"))
    networks = [
        Network(
            (encoder.n_inputs, 9, 7, n),
            activation="tanh",
            output=output,
            loss=loss,
            dtype=dtype,
            seed=seed,
        )
        for seed in range(n_networks)
    ]
    numbers = target == "numbers"
    return SimpleNamespace(
        encoder=encoder,
        networks=networks,
        target=("a", "b") if numbers else ("kind",),
        classes={"classes": ("no", "yes", "größer"), "two": (7, -3)}.get(target, ()),
        target_mean=(100.0, -1.0) if numbers else (),
        target_scale=(7.0, 0.5) if numbers else (),
        temperature=1.0 if numbers else 1.5,
    )


def answers(model, X):
    """Probabilities, or numbers in the units of the target, for inputs X."""
    a = np.mean([net.predict(X).astype(np.float64) for net in model.networks], axis=0)
    if not model.classes:
        return a * model.target_scale + model.target_mean
    if a.shape[1] < len(model.classes):
        a = np.concatenate([1 - a, a], axis=1)
    powers = a ** (1 / model.temperature)
    return powers / powers.sum(axis=1, keepdims=True)
