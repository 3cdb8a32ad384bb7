"""fastbp itself, by its public calls."""

from __future__ import annotations

from ..._network.network import Network
from ...optim import Adam
from .._data import Data
from .._suites import Config
from ._base import Program


def network_arguments(config: Config, dtype: str) -> dict[str, object]:
    """What the engine's Network and the reference take for a configuration."""
    return {
        "widths": config.widths,
        "activation": config.activation,
        "output": "softmax" if config.loss == "cross_entropy" else "identity",
        "loss": config.loss,
        "dtype": dtype,
        "seed": 0,
    }


class Engine(Program):
    """`Network.fit` over shuffled data, all of a fit's overhead included; `predict`; `step`."""

    name = "fastbp"
    network = Network

    def prepare(self, config: Config, data: Data, n_threads: int, dtype: str) -> None:
        net = self.network(**network_arguments(config, dtype))
        optimizer = Adam(config.learning_rate)
        X, y = data.X, data.y

        def fit(repeats: int) -> None:
            net.fit(
                X,
                y,
                epochs=repeats,
                batch_size=config.batch,
                optimizer=optimizer,
                n_threads=n_threads,
            )

        self.unit = {
            "predict": lambda: net.predict(X),
            "online": lambda: net.train_batch(X, y, optimizer),
        }.get(config.kind)
        self.fit = fit

    def run(self, repeats: int) -> None:
        if self.unit is None:
            self.fit(repeats)
        else:
            super().run(repeats)
