"""Pairs of an engine network and a reference network with data, and how closely they must agree."""

import itertools
import multiprocessing

import numpy as np
from error_bounds import ErrorBounds
from formula_cases import ACTIVATIONS as FORMULAS

import fastbp
from fastbp import activations, losses, reference
from fastbp.optim import SGD, Adam, AdamW, RMSprop

# The activations of output layers; those of all layers; those of them that are no formulas, which
# kernels of their own compute
OUTPUTS = (*activations.NAMES, *FORMULAS)
HIDDEN = tuple(spec for spec in OUTPUTS if not activations.resolve(spec).entry.output_only)
BUILT_IN = tuple(spec for spec in HIDDEN if activations.resolve(spec).formula is None)
DTYPES = ("float32", "float64")
LOGARITHMIC = ("binary_cross_entropy", "cross_entropy")
# The losses that tests combine with everything else; test_losses.py tests all losses.
LOSSES = ("squared_error", "mse", *LOGARITHMIC)
OPTIMIZERS = {
    "sgd": lambda: SGD(0.1),
    "momentum": lambda: SGD(0.05, momentum=0.9),
    "nesterov": lambda: SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: Adam(0.01, betas=(0.8, 0.99)),
    "adamw": lambda: AdamW(0.01, betas=(0.8, 0.99), weight_decay=0.1, ema=0.9),
    # three moments, and the gradient is written; a large eps, because v − ḡ² may be close to 0
    "rmsprop": lambda: RMSprop(0.002, 0.9, 0.1, momentum=0.5, centered=True, clip_global_norm=0.3),
}


def targets_for(rng, loss, n, n_out):
    """Dense targets (n, n_out) for the loss."""
    if losses.resolve(loss).targets == "classes":
        return rng.dirichlet(np.ones(n_out), n)
    if loss == "binary_cross_entropy":
        return rng.uniform(size=(n, n_out))
    return rng.normal(size=(n, n_out))


def combinations(*others):
    """(hidden, output, *rest): every activation in both places, with every product of others.

    A layer does not depend on the activation of the next, so not every pair of them is needed.
    """
    outputs, rests = OUTPUTS, list(itertools.product(*others))
    below = [
        (hidden, outputs[(i + j) % len(outputs)], *rest)
        for i, hidden in enumerate(HIDDEN)
        for j, rest in enumerate(rests)
    ]
    above = [
        (HIDDEN[(i + j) % len(HIDDEN)], output, *rest)
        for i, output in enumerate(outputs)
        for j, rest in enumerate(rests)
    ]
    return list(dict.fromkeys(below + above))


class Twins:
    """An engine network of some dtype, the same network as a float64 reference, and n samples.

    Parameters and data are exact in dtype, so both compute from the same numbers. If the loss
    takes a logarithm of outputs that are not its pair, they are kept between 0.1 and 0.9, away
    from the poles and from the clip, whose eps depends on the dtype.
    """

    def __init__(self, rng, widths, *, hidden, output, loss, dtype, n, labels=False, **options):
        options |= {"activation": hidden, "output": output, "loss": loss, "seed": 0}
        self.rng, self.loss, self.dtype = rng, loss, dtype
        self.engine = fastbp.Network(widths, dtype=dtype, **options)
        self.reference = reference.Network(widths, **options)
        self.X = self._exact(rng.normal(size=(n, widths[0])))
        self.y = self._exact(targets_for(rng, loss, n, widths[-1]))
        if labels and self.reference.criterion.labels:
            self.y = rng.integers(widths[-1], size=n)
        for layer in self.reference.layers:
            layer.W = rng.normal(size=layer.W.shape) / np.sqrt(len(layer.W))
            layer.W *= 0.2 if "exp" in str(hidden) else 1  # else values grow by layer
            layer.b = rng.normal(scale=0.3, size=layer.b.shape)
            for view in layer.constants.values():
                view *= rng.uniform(0.8, 1.2, view.shape)
        if loss in LOGARITHMIC and not self.paired:
            self._keep_outputs_inside()
        self.set_theta(self.reference.theta)

    @property
    def paired(self):
        net = self.reference
        return net.criterion.pairs_with(net.activations[-1])

    def _exact(self, array):
        return array.astype(self.dtype).astype(np.float64)

    def _keep_outputs_inside(self):
        net, inputs = self.reference, self.X
        if len(net.layers) > 1:
            net.forward(self.X)
            inputs = net.layers[-2].a
        top = net.layers[-1]
        top.W *= 0.1 / max(0.1, abs(inputs @ top.W).max())
        low, high = (-1.3, -0.4) if top.activation.name in ("softplus", "exp") else (0.3, 0.6)
        top.b = self.rng.uniform(low, high, top.b.shape)

    def set_theta(self, theta):
        self.engine.theta = theta
        self.reference.theta = self.engine.theta.astype(np.float64)

    def weights(self):
        return self._exact(self.rng.uniform(0.5, 2.0, len(self.X)))

    def dense_y(self):
        return np.eye(self.reference.widths[-1])[self.y] if self.y.ndim == 1 else self.y

    # ---- agreement ------------------------------------------------------------------------

    def bounds(self, s=None, **options):
        s = np.ones(len(self.X)) if s is None else s
        return ErrorBounds(self.reference, self.dense_y(), s, self.dtype, **options)

    def check_layers(self, bounds, names=("z", "a", "delta", "dW", "db")):
        """Compare every z, a, δ, dW and db, element by element."""
        pairs = zip(self.engine.layers, self.reference.layers, strict=True)
        for i, (engine, exact) in enumerate(pairs):
            for name in names:
                computed = getattr(engine, name)
                assert computed.dtype == self.dtype
                within(computed, getattr(exact, name), getattr(bounds, name)[i], f"{name} of {i}")
            for name, bound in bounds.dconstants[i].items():
                computed, wanted = engine.dconstants[name], exact.dconstants[name]
                within(computed, wanted, bound, f"gradient of {name} of {i}")

    def check_pass(self, s=None):
        """Compare forward and backward, their results, and those of input_gradient and loss."""
        out = self.engine.forward(self.X)
        self.reference.forward(self.X)
        J = self.engine.backward(self.y, s)
        exact_J = self.reference.backward(self.y, s)
        bounds = self.bounds(s)
        self.check_layers(bounds)
        within(out, self.reference.layers[-1].a, bounds.a[-1], "output")
        within(J, exact_J, bounds.J, "J")
        within(self.engine.loss(self.X, self.y, s), exact_J, bounds.J, "loss")
        gradient = self.engine.input_gradient()
        within(gradient, self.reference.input_gradient(), bounds.input, "input gradient")
        return bounds


def within(computed, exact, bound, what):
    """Assert |computed − exact| <= bound in every element, and that every bound is finite."""
    error = abs(np.asarray(computed, np.float64) - exact)
    assert np.isfinite(bound).all(), what
    worst = np.argmax(error - bound)
    message = f"{what}: off by {np.ravel(error)[worst]}, allowed {np.ravel(bound)[worst]}"
    assert (error <= bound).all(), message


def in_child(function, *arguments):
    """Run function in a new process, and fail if it crashes or raises."""
    child = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == 0, f"exit code {child.exitcode}"
