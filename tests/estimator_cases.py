"""Data and pairs of estimators that the tests of fastbp.sklearn share."""

from typing import ClassVar

import numpy as np
from sklearn import neural_network
from sklearn.datasets import load_diabetes, load_wine
from sklearn.preprocessing import scale

from fastbp.sklearn import MLPClassifier, MLPRegressor

BOTH = [MLPClassifier, MLPRegressor]
THEIRS = {
    MLPClassifier: neural_network.MLPClassifier,
    MLPRegressor: neural_network.MLPRegressor,
}


def data_for(kind, n=120, seed=0):
    """Wine for a classifier, diabetes for a regressor; scaled, n samples in random order."""
    X, y = (load_wine if kind is MLPClassifier else load_diabetes)(return_X_y=True)
    chosen = np.random.default_rng(seed).permutation(len(X))[:n]
    y = y[chosen] if kind is MLPClassifier else scale(y)[chosen]
    return scale(X)[chosen], y


def pair(kind, X, y, fit_params=None, **params):
    """Our estimator and scikit-learn's, fitted alike; without shuffling they make the same steps.

    They differ in the place of epsilon in Adam, so epsilon is tiny here, and in the penalty of the
    last batch of an epoch if it is shorter.
    """
    params = {"hidden_layer_sizes": (12, 8), "random_state": 3, "shuffle": False, **params}
    params.setdefault("epsilon", 1e-14)
    return [each(**params).fit(X, y, **(fit_params or {})) for each in (kind, THEIRS[kind])]


class Epochs:
    """Keeps in which order the epochs of all copies ended."""

    ended: ClassVar = []

    def on_epoch_end(self, epoch, logs):
        Epochs.ended.append(epoch)
