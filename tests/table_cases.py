"""Models of tables as `fastbp train` writes them, with random weights, and rows for them."""

import numpy as np
from error_bounds import forward_error, product, sum_rounding

import fastbp
from fastbp.tabular import from_arrays, read_table
from fastbp.tabular._preprocessing import Preprocessing

COLUMNS = ("age", "plan", "year", "größe (cm)", "paid", "left", "price")
PLANS = ("basic", 'pro "plus"', "gold, Köln", "a*/b\\n??!", "int")


def rows(n=40, seed=0):
    """Columns of numbers that are exact in float32, and of text, by name."""
    rng = np.random.default_rng(seed)
    return {
        "age": rng.integers(18, 80, n) + rng.integers(0, 8, n) / 8,
        "plan": np.array(PLANS)[np.arange(n) % len(PLANS)],
        "year": rng.integers(1990, 2020, n),
        "größe (cm)": rng.integers(150, 200, n),
        "paid": np.where(rng.random(n) > 0.5, "true", "false"),
        "left": np.where(rng.random(n) > 0.5, "yes", "nö"),
        "price": rng.normal(1000, 300, n).round(2),
    }


def write_csv(path, columns):
    quoted = [[_cell(value) for value in column] for column in columns.values()]
    lines = [",".join(columns), *(",".join(row) for row in zip(*quoted, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value):
    return '"' + value.replace('"', '""') + '"' if isinstance(value, str) else str(value)


def table_network(folder, target="left", *, dtype="float32", without=(), hidden=(6,), columns=None):
    """A TableNetwork of a file for the table of `rows`, or of other columns."""
    columns = rows() if columns is None else columns
    dropped = {"left", "price"} - {target} | set(without)
    write_csv(
        folder / "table.csv",
        {name: column for name, column in columns.items() if name not in dropped},
    )
    return network_of(read_table(folder / "table.csv", target=target), folder, dtype, hidden)


def array_network(folder, X, y, dtype="float32"):
    """A TableNetwork of a file for arrays, whose columns have no names."""
    return network_of(from_arrays("arrays", X, y), folder, dtype)


def network_of(table, folder, dtype="float32", hidden=(6,)):
    labels = table.target.ndim == 1 and table.target.dtype.kind not in "f"
    prep = Preprocessing.fit(table, "classification" if labels else "regression")
    net = fastbp.Network(
        (prep.n_inputs, *hidden, prep.n_outputs),
        activation="tanh",
        output="softmax" if labels else "identity",
        loss="cross_entropy" if labels else "squared_error",
        dtype=dtype,
        seed=0,
    )
    net.preprocessing = prep.to_dict()
    net.save(folder / "model.safetensors")
    return fastbp.load(folder / "model.safetensors")


def outputs_error(net, X):
    """How far the outputs of two programs may differ for inputs X, which may differ by rounding."""
    eps, a = np.finfo(net.dtype).eps, X.astype(np.float64)
    error = eps * abs(a)
    net.forward(X)
    for layer in net.layers:
        terms = abs(a) @ abs(layer.W) + abs(layer.b)
        error_z = product(error, a, layer.W) + sum_rounding(len(layer.W), eps) * terms
        a, name = layer.a.astype(np.float64), layer.activation.name
        error = forward_error(name, 0.0, layer.z.astype(np.float64), a, error_z, eps)
    return 2 * error


def answers_error(net, X, answers):
    """The same for answers of a regression, which are scaled and rounded once more."""
    scale = np.array(net.preprocessing["target_scale"])
    return outputs_error(net, X) * scale + np.finfo(net.dtype).eps * abs(answers)
