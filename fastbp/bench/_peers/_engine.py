"""fastbp itself, through its public methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from ..._network.network import Network
from ...optim import Adam
from ...reference import Network as ReferenceNetwork
from .._data import Data
from .._suites import Config
from ._base import Program


class Engine(Program):
    """`fit` on shuffled data, including all of its overhead; `predict`; `train_batch`."""

    name = "fastbp"
    ways: ClassVar = {"highest": "highest", "high": "high", "medium": "medium"}
    network: ClassVar[type[Network | ReferenceNetwork]] = Network

    def prepare(self, config: Config, data: Data, n_threads: int, dtype: str) -> None:
        net = self.network(
            config.widths,
            activation=config.activation,
            output="softmax" if config.loss == "cross_entropy" else "identity",
            loss=config.loss,
            dtype=dtype,
            seed=0,
            matmul_precision=self.precision,
        )
        optimizer = Adam(config.learning_rate)
        if isinstance(net, Network):
            self.products = net._backend.net.products(config.batch)
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

        self.fit: Callable[[int], None] | None = None
        if config.kind == "predict":
            self.unit = lambda: net.predict(X)
        elif config.kind == "online":
            self.unit = lambda: net.train_batch(X, y, optimizer)
        else:
            self.fit = fit

    def run(self, repeats: int) -> None:
        """Do the work `repeats` times; a repeat of `fit` is one of its epochs."""
        if self.fit is None:
            super().run(repeats)
        else:
            self.fit(repeats)
