"""PyTorch with fused Adam: in eager mode, and with a compiled network."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from .._data import Data
from .._suites import Config
from ._base import Program, batches

if TYPE_CHECKING:
    import torch


class Eager(Program):
    """A step is zero_grad, forward, loss, backward and step, on batches that were split before.

    An epoch draws a permutation and selects the rows of each batch.
    """

    name = "torch"
    package = "torch"
    compiled: ClassVar[bool] = False

    def prepare(self, config: Config, data: Data, n_threads: int, dtype: str) -> None:
        import torch

        torch.set_num_threads(n_threads)
        torch.manual_seed(0)
        model = self._model(config, getattr(torch, dtype))
        forward = torch.compile(model) if self.compiled else model
        optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
        functional = torch.nn.functional
        loss = functional.cross_entropy if config.loss == "cross_entropy" else functional.mse_loss
        X, y = torch.from_numpy(data.X), torch.from_numpy(data.y)
        batch = config.batch

        def step(X: torch.Tensor, y: torch.Tensor) -> None:
            optimizer.zero_grad(set_to_none=True)
            loss(forward(X), y).backward()
            optimizer.step()

        def epoch() -> None:
            order = torch.randperm(len(X))
            for start in range(0, len(X), batch):
                rows = order[start : start + batch]
                step(X[rows], y[rows])

        def predict() -> None:
            with torch.inference_mode():
                forward(X)

        if config.kind == "epoch":
            self.unit = epoch
        elif config.kind == "predict":
            self.unit = predict
        else:
            rows, self.n_steps = batches(X, y, batch), 1
            self.unit = lambda: step(*next(rows))

    def _model(self, config: Config, dtype: torch.dtype) -> torch.nn.Module:
        from torch import nn

        between = {"relu": nn.ReLU, "tanh": nn.Tanh}[config.activation]
        layers = []
        for n_in, n_out in pairwise(config.widths):
            layers += [nn.Linear(n_in, n_out, dtype=dtype), between()]
        return nn.Sequential(*layers[:-1])


class Compiled(Eager):
    """The same with torch.compile, which needs a C++ compiler."""

    name = "torch-compile"
    compiled = True

    def prepare(self, config: Config, data: Data, n_threads: int, dtype: str) -> None:
        import torch

        torch._dynamo.reset()  # so that each network is compiled as if it were the first
        super().prepare(config, data, n_threads, dtype)
