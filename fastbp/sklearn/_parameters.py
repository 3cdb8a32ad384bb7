"""What scikit-learn's validation checks of the parameters that both estimators have."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions

from .. import optim, schedules
from .._checks.arguments import MAX_THREADS
from .._network.dense import Norm
from .._precision import NAMES
from ..activations import Activation
from ..optim import Optimizer
from ..schedules import Schedule


class OfGates(HasMethods):
    """An object of a class of formulas of `fastbp.gates`, which is imported only to check one."""

    def __init__(self, name: str) -> None:
        super().__init__("programs")
        self.name = name

    def is_satisfied_by(self, val: object) -> bool:
        if not super().is_satisfied_by(val):
            return False
        from .. import gates

        return isinstance(val, getattr(gates, self.name))

    def __str__(self) -> str:
        return f"an instance of 'fastbp.gates.{self.name}'"


def _from(low: float, kind: type = Real, closed: str = "left") -> Interval:
    return Interval(kind, low, None, closed=closed)


def as_object(name: str, value: object) -> str | None:
    """The object with the meaning of a name or a dict that `Network.fit` takes, if there is one.

    >>> as_object("solver", "muon")
    'fastbp.optim.Muon()'
    >>> as_object("learning_rate", {"lr": "cosine"})
    "fastbp.schedules.Together(lr='cosine')"
    """
    if name == "solver" and isinstance(value, str) and value.lower() in optim.NAMES:
        return f"fastbp.optim.{type(optim.resolve(value)).__name__}()"
    if name != "learning_rate":
        return None
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key}={of!r}" for key, of in value.items())
        return f"fastbp.schedules.Together({inside})"
    if isinstance(value, str) and value.lower() in schedules.NAMES:
        return f"fastbp.schedules.{schedules.resolve(value)!r}"
    return None


CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", _from(1, Integral)],
    "activation": [str, Activation, OfGates("ActivationFormula"), list, tuple],
    "solver": [StrOptions({"sgd", "adam", "lbfgs"}), Optimizer],
    "alpha": [_from(0)],
    "batch_size": [StrOptions({"auto"}), _from(1, Integral)],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), Schedule],
    "learning_rate_init": [_from(0, closed="neither")],
    "power_t": [_from(0)],
    "max_iter": [_from(1, Integral)],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_from(0)],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="left")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [_from(0, closed="neither")],
    "n_iter_no_change": [_from(1, Integral), Options(Real, {inf})],
    "max_fun": [_from(1, Integral)],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "norm": [str, Norm, None],
    "n_members": [_from(1, Integral)],
    "callbacks": ["array-like"],
    "n_threads": [Interval(Integral, 1, MAX_THREADS, closed="both"), None],
    "matmul_precision": [StrOptions(set(NAMES)), None],
}
