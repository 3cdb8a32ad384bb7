"""Fits of data in parts: in one process, or on the ranks of a communicator."""

import hashlib

import numpy as np
from loss_cases import SPECS, WIDTH, outputs_of, targets_of

import fastbp
from fastbp import Dense, losses, optim
from fastbp._ranks.cuts import cut, own_parts

N = 203
PARTS = 16
FIT = {"epochs": 2, "batch_size": 40}
FIT_KEYWORDS = {
    "batch_size",
    "shuffle",
    "class_weight",
    "metrics",
    "validation_split",
    "schedule",
    "epochs",
}


def _layers(*hidden, output="softmax"):
    return lambda: [*hidden, Dense(WIDTH, output)]


# name: options of the network and of fit; "layers", "optimizer", "weights", "sparse" and "X_dtype"
# are those of `run`
CASES = {
    "plain": {},
    "float64": {"dtype": "float64"},
    "medium": {"matmul_precision": "medium"},
    "high": {"matmul_precision": "high"},
    "penalties": {"l1": 1e-4, "l2": 1e-3},
    "weights": {"weights": True},
    "sparse": {"sparse": True},
    "rows of another type": {"X_dtype": np.uint8},
    "in order": {"shuffle": False},
    "few rows": {"batch_size": 7},
    "one row": {"batch_size": 1, "epochs": 1},
    "all rows": {"batch_size": 10**6},
    "scores": {"validation_split": 0.2, "metrics": ["accuracy"], "class_weight": "balanced"},
    "schedule": {"schedule": "one_cycle"},
    "schedule of smoothing": {
        "loss": "cross_entropy(0.2)",
        "schedule": {"label_smoothing": "linear"},
    },
    "targets that are missing": {"loss": "huber(ignore_nan=true)", "holes": True, "weights": True},
    "scores of missing targets": {
        "loss": "mse(ignore_nan=true)",
        "holes": True,
        "validation_split": 0.2,
        "metrics": ["mae"],
    },
    "schedule of dropout": {
        "layers": _layers(Dense(20, "relu", dropout=0.3), Dense(17, "tanh", dropout=0.5)),
        "schedule": {"lr": "cosine", "dropout": "coslog4"},
    },
    "global norm": {"optimizer": lambda: optim.Adam(clip_global_norm=0.05)},
    "norms": {"optimizer": lambda: optim.SGD(0.1, momentum=0.9, clip_norm=0.05)},
    "average": {"optimizer": lambda: optim.AdamW(ema=0.9, weight_decay=0.1)},
    "rates by layer": {"optimizer": lambda: optim.Adam(lr_factors=(0.1, 1.0, 2.0))},
    "rates by group": {
        "optimizer": lambda: optim.AdamW(
            lr_factors={"bias": 0.1}, decay_factors={"bias": 0.0}, fan_in_scaling=True
        )
    },
    "dropout": {"layers": _layers(Dense(20, "relu", dropout=0.3), Dense(17, "tanh", dropout=0.5))},
    "norm": {"layers": _layers(Dense(20, norm="layer"), Dense(17, "tanh", norm="rms", bias=False))},
    "limits": {"layers": _layers(Dense(20, max_norm=0.5), Dense(17, non_negative=True))},
    "residual": {"layers": _layers(Dense(20), Dense(20, residual=True, dropout=0.1))},
    "constants": {"layers": _layers(Dense(20, "prelu"), Dense(17, "prelu"))},
}
_WHOLE = {name for name in optim.NAMES if optim.resolve(name).needs_whole}  # not over ranks
CASES |= {f"optimizer {name}": {"optimizer": name} for name in optim.NAMES if name not in _WHOLE}
CASES |= {f"loss {spec}": {"loss": spec} for spec in SPECS}
CASES |= {"loss custom": {"loss": "custom"}, "loss margin_ranking": {"loss": "margin_ranking"}}


def squares(a, y):
    """A loss of the caller's."""
    return ((a - y) ** 2).sum(axis=1), 2 * (a - y)


def _output_for(spec):
    """An output activation whose values the loss takes without a warning."""
    if spec == "poisson(log_input=false)":
        return "softplus"
    natural = {"indices": "softmax", "classes": "softmax", "probabilities": "softmax"}
    natural |= {"bits": "sigmoid", "fractions": "sigmoid"}
    wanted = natural.get(losses.resolve(spec).targets)
    return wanted if wanted in outputs_of(spec) else next(iter(outputs_of(spec)))


def data_of(spec, case):
    """All rows: X, y and weights or None."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, 6))
    if case.get("sparse"):
        X = X * (rng.random(X.shape) < 0.4)
    if "X_dtype" in case:
        X = (X * 50 % 100).astype(case["X_dtype"])
    if spec == "custom":
        y = rng.normal(size=(N, WIDTH))
    elif spec == "margin_ranking":
        X, y = X[: N - 1], None
    else:
        y = targets_of(rng, spec, N, WIDTH)
    if case.get("holes"):
        y = np.where(rng.random(y.shape) < 0.4, np.nan, y)
    return X, y, rng.uniform(0.5, 2, len(X)) if case.get("weights") else None


def network_of(spec, case):
    options = {k: case[k] for k in ("dtype", "matmul_precision", "l1", "l2") if k in case}
    if "layers" in case:
        return fastbp.Network.from_layers(6, case["layers"](), loss=spec, seed=3, **options)
    output, width = "identity", WIDTH
    if spec == "margin_ranking":
        width, loss = 1, spec
    elif spec == "custom":
        loss = losses.CustomLoss(squares)
    else:
        output, loss = _output_for(spec), spec
    widths = (6, 20, 17, width)
    return fastbp.Network(widths, output=output, loss=loss, seed=3, **options)


def rows_of_rank(rank, size, n, group=1):
    """The rows of a rank, as a slice."""
    ends, parts = cut(n // group, PARTS), own_parts(rank, size, PARTS)
    return slice(group * ends[parts.start], group * ends[parts.stop])


def run(name, comm=None, **more):
    """A digest of the parameters after a fit, and its losses."""
    case = CASES[name]
    spec = case.get("loss", "cross_entropy")
    net, (X, y, s) = network_of(spec, case), data_of(spec, case)
    fit = FIT | {k: v for k, v in case.items() if k in FIT_KEYWORDS}
    if net.criterion.group == 2:
        fit["batch_size"] -= fit["batch_size"] % 2
    optimizer = case.get("optimizer", "adam")
    fit["optimizer"] = optimizer() if callable(optimizer) else optimizer
    if comm is not None:
        rows = rows_of_rank(comm.rank, comm.size, len(X), net.criterion.group)
        X, y, s = X[rows], None if y is None else y[rows], None if s is None else s[rows]
        fit["comm"] = comm
    if case.get("sparse"):
        from scipy.sparse import csr_array

        X = csr_array(X)
    history = net.fit(X, y, sample_weight=s, parts=PARTS, **fit, **more)
    series = history.series()
    series.pop("samples_per_second", None)
    return hashlib.sha256(net.theta.tobytes()).hexdigest(), series


def run_all(comm=None, all_cases=True):
    """The result of every case, or of those that differ in more than optimiser and loss."""
    names = [name for name in CASES if all_cases or not name.startswith(("optimizer", "loss"))]
    return {name: run(name, comm) for name in names}
