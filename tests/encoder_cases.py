"""Tables with numbers, text, dates and holes, for the encoder and its exports."""

import numpy as np

from fastbp.tabular import Table

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
