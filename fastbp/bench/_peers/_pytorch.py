"""PyTorch with fused Adam: in eager mode, and with a compiled network."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from ..._types import Array
from .._data import Data
from .._suites import Config
from ._base import Program, batches

if TYPE_CHECKING:
    import torch


class Eager(Program):
    """A step is zero_grad, forward, loss, backward and step, on batches that were split before.

    An epoch draws a permutation and selects the rows of each batch. The precisions are those of
    `torch.set_float32_matmul_precision`; "autocast" is that in bfloat16, around forward and loss,
    with float32 parameters.
    """

    name = "torch"
    package = "torch"
    ways: ClassVar = {
        "highest": "highest",
        "high": "high",
        "medium": "medium",
        "autocast": "medium",
    }
    compiled: ClassVar[bool] = False

    def use(self, precision: str) -> None:
        import torch

        super().use(precision)
        if precision != "autocast":
            torch.set_float32_matmul_precision(precision)

    def product(self, A: Array, B: Array) -> Array:
        import torch

        with self._casting():
            product: Array = (torch.from_numpy(A) @ torch.from_numpy(B)).float().numpy()
        return product

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
            with self._casting():
                cost = loss(forward(X), y)
            cost.backward()
            optimizer.step()

        def epoch() -> None:
            order = torch.randperm(len(X))
            for start in range(0, len(X), batch):
                rows = order[start : start + batch]
                step(X[rows], y[rows])

        def predict() -> None:
            with torch.inference_mode(), self._casting():
                forward(X)

        if config.kind == "epoch":
            self.unit = epoch
        elif config.kind == "predict":
            self.unit = predict
        else:
            rows, self.n_steps = batches(X, y, batch), 1
            self.unit = lambda: step(*next(rows))

    def _casting(self) -> AbstractContextManager[object]:
        """Return the context of the forward pass."""
        import torch

        if self.precision != "autocast":
            return nullcontext()
        casting: AbstractContextManager[object] = torch.autocast("cpu", torch.bfloat16)
        return casting

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
