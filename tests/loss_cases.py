"""Every loss with and without its options, with targets and outputs for it."""

import numpy as np
from formula_cases import LOSSES as FORMULAS

from fastbp import activations, losses
from fastbp.activations import Activation
from fastbp.losses import _losses, resolve

WIDTH = 4  # outputs of the specs below
SPECS = (
    *(name for name in losses.NAMES if name != "margin_ranking"),  # see test_losses_own.py
    "huber(0.25)",
    "poisson(log_input=false)",
    "binary_cross_entropy(2.5)",
    "binary_cross_entropy(pos_weight=[1, 2, 0.5, 3])",
    "cross_entropy(label_smoothing=0.2)",
    "cross_entropy(class_weight=[1, 2, 0.5, 3])",
    "cross_entropy(0.1, [1, 2, 0.5, 3])",
    "focal(0)",
    "focal(0.5, alpha=[1, 2, 0.5, 3])",
    "binary_focal(0, none)",
    "binary_focal(1.5, 0.75)",
    "multi_margin(0.25)",
    "quantile(0.1, 0.9)",
    "quantile(0.1, 0.3, 0.5, 0.9)",
    *FORMULAS,
)


def outputs_of(spec):
    """Names of all output activations that the loss accepts."""
    loss = resolve(spec)
    for name in activations.NAMES:
        try:
            _losses.check_output(loss, Activation(name), WIDTH)
        except ValueError:
            continue
        yield name


CASES = [(spec, output) for spec in SPECS for output in outputs_of(spec)]


def targets_of(rng, spec, n, n_out):
    """Targets of n samples for the loss; class indices if it takes nothing else."""
    loss = resolve(spec)
    size = (n, loss.n_targets(n_out))
    return {
        "numbers": lambda: rng.normal(size=size),
        "fractions": lambda: rng.uniform(size=size),
        "counts": lambda: rng.poisson(2.0, size).astype(float),
        "bits": lambda: rng.integers(0, 2, size).astype(float),
        "signs": lambda: rng.choice([-1.0, 1.0], size),
        "classes": lambda: rng.dirichlet(np.ones(n_out), n),
        "probabilities": lambda: rng.dirichlet(np.ones(n_out), n),
        "indices": lambda: rng.integers(n_out, size=n),
    }[loss.targets]()


def all_targets(rng, spec, n, n_out):
    """The same in a list, with class indices as well if the loss takes both."""
    y = targets_of(rng, spec, n, n_out)
    return [y, y.argmax(axis=1)] if resolve(spec).targets == "classes" else [y]


def prepare(rng, net):
    """Set parameters so that outputs are away from the poles and clips of logarithms."""
    net.theta = rng.normal(scale=0.5, size=net.theta.size)
    top = net.layers[-1]
    if net.criterion.pairs_with(top.activation):
        return
    if net.criterion.pair is not None or str(net.criterion).startswith("poisson(log_input=false"):
        top.W *= 0.05
        low, high = (-1.0, -0.6) if top.activation.name in ("softplus", "exp") else (0.3, 0.6)
        top.b = rng.uniform(low, high, top.b.shape)
