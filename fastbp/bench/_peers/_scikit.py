"""scikit-learn's multi-layer perceptron."""

from __future__ import annotations

import numpy as np

from .._data import Data
from .._suites import Config
from ._base import Program


class ScikitLearn(Program):
    """`partial_fit`, which keeps the weights; only the kind "epoch" shuffles the rows."""

    name = "sklearn"
    package = "sklearn"

    def prepare(self, config: Config, data: Data, n_threads: int, dtype: str) -> None:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        classifier = config.loss == "cross_entropy"
        estimator = (MLPClassifier if classifier else MLPRegressor)(
            hidden_layer_sizes=config.widths[1:-1],
            activation=config.activation,
            alpha=0.0,
            batch_size=config.batch,
            learning_rate_init=config.learning_rate,
            shuffle=config.kind == "epoch",
            random_state=0,
        )
        X, y = data.X, data.y
        if classifier:
            estimator.partial_fit(X, y, classes=np.arange(config.widths[-1]))
        else:
            y = y.ravel() if y.shape[1] == 1 else y
            estimator.partial_fit(X, y)
        if config.kind != "predict":
            self.unit = lambda: estimator.partial_fit(X, y)
        elif classifier:
            self.unit = lambda: estimator.predict_proba(X)
        else:
            self.unit = lambda: estimator.predict(X)
