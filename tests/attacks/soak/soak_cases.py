"""Random trainings, each drawn from one number: a network, data, and the arguments of its fit.

`draw(seed)` gives the same case in every process, so a failure needs no more than its seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from loss_cases import CASES, WIDTH, prepare, targets_of

import fastbp
from fastbp import Dense, optim, schedules
from fastbp.callbacks import EarlyStopping

WIDTHS = (1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 48, 65, 100, 130)
ACTIVATIONS = ("tanh", "sigmoid", "softplus", "silu", "gelu", "elu(0.5)", "mish", "sin", "softsign")
KINKED = ("relu", "leaky_relu(0.1)", "hard_tanh", "relu6", "prelu")
RULES = {
    "sgd": partial(optim.SGD, 0.02),
    "momentum": partial(optim.SGD, 0.01, momentum=0.9),
    "nesterov": partial(optim.SGD, 0.01, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "clipped": partial(optim.SGD, 0.05, clip_global_norm=0.5),
    "adam": partial(optim.Adam, 0.003, eps=1e-4),
    "amsgrad": partial(optim.Adam, 0.003, eps=1e-4, amsgrad=True, clip_value=0.5),
    "adamw": partial(optim.AdamW, 0.003, eps=1e-4, ema=0.9),
    "nadam": partial(optim.NAdam, 0.003, eps=1e-4),
    "radam": partial(optim.RAdam, 0.003, eps=1e-4),
    "adamax": partial(optim.Adamax, 0.003, eps=1e-4),
    "rmsprop": partial(optim.RMSprop, 0.002, eps=1e-2, momentum=0.5, centered=True),
    "adagrad": partial(optim.Adagrad, 0.01, eps=1e-4),
    "adadelta": partial(optim.Adadelta, 0.5, eps=1e-3),
    "lion": partial(optim.Lion, 1e-4),
    "rprop": partial(optim.Rprop, 1e-3),
}
# Their updates depend on the sign of a gradient, so the smallest error can change the whole step.
BY_SIGN = ("lion", "rprop")
SCHEDULES = {
    "none": lambda: None,
    "cosine": lambda: schedules.CosineAnnealingLR(5),
    "warmup": lambda: schedules.Warmup(schedules.ConstantLR(), 7),
    "step": lambda: schedules.StepLR(2, gamma=0.5),
    "one_cycle": lambda: "one_cycle",
    "plateau": lambda: schedules.ReduceLROnPlateau(patience=0),
}
LAYOUTS = ("own", "other dtype", "reversed", "wide rows", "sparse", "blocks")


@dataclass(frozen=True)
class Case:
    """One training. Everything that has a state is made anew by its methods."""

    seed: int
    layers: tuple[Dense, ...]
    n_in: int
    network: dict = field(repr=False)
    n: int
    rule: str
    schedule: str
    layout: str
    fit: dict
    early_stopping: bool
    smooth: bool

    def net(self, kind=fastbp.Network, **changed):
        """A new network of this case, on the engine or on the reference."""
        net = kind.from_layers(self.n_in, self.layers, **(self.network | changed))
        prepare(np.random.default_rng([self.seed, 1]), net)
        return net

    def data(self):
        """X (n, n_in) float64 of numbers exact in float16, targets y and weights s (or None)."""
        rng = np.random.default_rng([self.seed, 2])
        X = rng.normal(size=(self.n, self.n_in)).astype(np.float16).astype(np.float64)
        if self.layout == "sparse":
            X *= rng.uniform(size=X.shape) < 0.3
        y = targets_of(rng, self.network["loss"], self.n, self.layers[-1].n_out)
        s = rng.integers(0, 3, self.n) * 0.5
        s[0] = 1.0  # `fit` refuses weights without a positive sum
        return X, y, s if rng.uniform() < 0.3 else None

    def options(self, dtype):
        """The arguments of `fit` after X and y, of which some have a state."""
        X, y, s = self.data()
        options = self.fit | {"optimizer": RULES[self.rule](), "sample_weight": s}
        options["schedule"] = SCHEDULES[self.schedule]()
        if self.early_stopping:
            some = slice(0, max(1, self.n // 4))
            options["validation_data"] = (X[some].astype(dtype), _as(y[some], dtype))
            options["callbacks"] = [EarlyStopping(patience=1, restore_best=True)]
        return options

    def train(self, net, *, layout=None, disturbed_by=None, **more):
        """Fit a network of this case, with X in its layout or another one.

        `disturbed_by` = (size, run) first changes theta and X by random factors 1 ± size.
        """
        X, y, s = self.data()
        options = self.options(net.dtype) | more
        if disturbed_by is not None:
            size, run = disturbed_by
            rng = np.random.default_rng([self.seed, 3, run])
            net.theta *= 1 + size * rng.uniform(-1, 1, net.theta.size)
            X = X * (1 + size * rng.uniform(-1, 1, X.shape))
        layout, y = layout or self.layout, _as(y, net.dtype)
        if layout == "blocks":
            X, y = fastbp.stream(X.astype(net.dtype), y, s, block_rows=1 + self.n // 3), None
            options["sample_weight"] = None
        return net.fit(X if y is None else laid_out(X, layout, net.dtype), y, **options)


def _as(y, dtype):
    return y if y.ndim == 1 else y.astype(dtype)


def laid_out(X, layout, dtype):
    """The same numbers as another kind of X that `fit` takes."""
    own = X.astype(dtype)
    if layout == "other dtype":
        return X.astype(np.float16)
    if layout == "reversed":
        return own[::-1].copy()[::-1]
    if layout == "wide rows":
        return np.concatenate([own, np.full((len(own), 3), np.nan, dtype)], axis=1)[:, : X.shape[1]]
    if layout == "sparse":
        import scipy.sparse

        return scipy.sparse.csr_array(own)
    return own


def draw(seed):
    """The case of a seed."""
    rng = np.random.default_rng([seed, 0])

    def pick(values):
        return values[rng.integers(len(values))]

    loss, output = pick(CASES)
    smooth = rng.uniform() < 0.7
    n_in, n = int(pick(WIDTHS)), int(rng.integers(1, 120))
    hidden, width = [], n_in
    for _ in range(rng.integers(0, 4)):
        layer = _hidden(rng, pick, width, smooth)
        hidden.append(layer)
        width = layer.n_out
    network = {"loss": loss, "dtype": pick(("float64", "float64", "float32")), "seed": seed % 1000}
    for penalty in ("l1", "l2"):
        network[penalty] = float(pick((0.0, 0.0, 0.01)))
    network["input_dropout"] = float(pick((0.0, 0.0, 0.0, 0.2)))
    rule, layouts = pick(tuple(RULES)), set(LAYOUTS)
    if network["input_dropout"] or (hidden and hidden[0].residual):
        layouts -= {"sparse"}  # which `fit` refuses, as it does all others that are left out here
    if rule == "rprop":
        layouts -= {"blocks"}
    fit = {
        "epochs": int(rng.integers(1, 5)),
        "batch_size": int(pick((1, 2, 7, 8, 16, 33, 64, 200))),
        "shuffle": bool(rng.integers(2)),
        "accumulate": int(pick((1, 1, 1, 2, 3))),
    }
    return Case(
        seed,
        (*hidden, Dense(WIDTH, output)),
        n_in,
        network,
        n,
        rule,
        pick(tuple(SCHEDULES)),
        pick([name for name in LAYOUTS if name in layouts]),
        fit,
        bool(rng.uniform() < 0.25),
        smooth,
    )


def _hidden(rng, pick, width, smooth):
    residual = bool(rng.uniform() < 0.2)
    return Dense(
        width if residual else int(pick(WIDTHS)),
        pick(ACTIVATIONS if smooth else KINKED),
        bias=bool(rng.integers(4)),
        dropout=float(pick((0.0, 0.0, 0.1, 0.5))),
        norm=pick((None, None, None, "layer", "rms(1e-3)")),
        residual=residual,
        trainable=bool(rng.uniform() < 0.95),
        max_norm=pick((None, None, None, 1.5)),
        non_negative=bool(rng.uniform() < 0.05),
    )
