"""Networks, data and callbacks that the tests of fits share."""

import numpy as np

import fastbp

N = 23


def case(network=fastbp.Network, dtype="float64", **options):
    """A network 3-5-2 and N samples of a function that it can learn."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(N, 3)).astype(dtype)
    y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)
    return network((3, 5, 2), activation="tanh", dtype=dtype, seed=5, **options), X, y


def classes(network=fastbp.Network, n_classes=3):
    """A classifier 3-5-n_classes, and N samples with their classes, none of which is rare."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(N, 3))
    y = (np.arange(N) % 8 % n_classes).astype(np.int32)
    options = {"output": "softmax", "loss": "cross_entropy", "dtype": "float64", "seed": 5}
    return network((3, 5, n_classes), **options), X, y


class StopAt:
    """Raises KeyboardInterrupt after so many steps of the fit."""

    def __init__(self, steps):
        self._left = steps

    def on_batch_end(self, step, logs):
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
