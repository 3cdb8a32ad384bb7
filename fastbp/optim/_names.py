"""The optimisers by name."""

from __future__ import annotations

from typing import Literal, overload

from .._checks.names import known_name
from ._adam import Adam, Adamax, AdamW, NAdam, RAdam
from ._adaptive import Adadelta, Adagrad, RMSprop
from ._base import Optimizer
from ._lbfgs import LBFGS
from ._muon import Muon
from ._schedule_free import ScheduleFree
from ._sgd import SGD, Lion, Rprop

BY_NAME: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind
    for kind in (
        *(SGD, Adam, AdamW, NAdam, RAdam, Adamax),
        *(RMSprop, Adagrad, Adadelta, Lion, Rprop, ScheduleFree, Muon),
    )
}

NAMES: tuple[str, ...] = tuple(BY_NAME)
"""The names of all optimisers that make single steps; "lbfgs" is for `fit` only."""


@overload
def resolve(spec: str | Optimizer | LBFGS, *, fit: Literal[False] = False) -> Optimizer: ...


@overload
def resolve(spec: str | Optimizer | LBFGS, *, fit: bool) -> Optimizer | LBFGS: ...


def resolve(spec: str | Optimizer | LBFGS, *, fit: bool = False) -> Optimizer | LBFGS:
    """Return a new optimiser with default hyper-parameters for a name, or `spec` itself.

    A name may be in any case. If `fit` is set, "lbfgs" and LBFGS objects are accepted too; they
    cannot make single steps. Raises ValueError, listing the known names, for an unknown name, and
    TypeError if `spec` is neither a name nor an optimiser.

    >>> resolve("adam")
    Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08)
    """
    if isinstance(spec, Optimizer) or (fit and isinstance(spec, LBFGS)):
        return spec
    if isinstance(spec, LBFGS) or (isinstance(spec, str) and spec.lower() == "lbfgs"):
        if fit:
            return LBFGS()
        raise TypeError("LBFGS makes no single steps: pass it to fit, or use another optimizer")
    if not isinstance(spec, str):
        got = type(spec).__name__
        if isinstance(spec, type):
            got = f"the class {spec.__name__}: write {spec.__name__}()"
        elif got.lower() in BY_NAME:  # that of another library
            got = f"{type(spec).__module__}.{got}: write fastbp.optim.{got}(…)"
        raise TypeError(f"optimizer must be a name or an Optimizer object; got {got}")
    return BY_NAME[known_name("optimizer", spec, (*NAMES, "lbfgs") if fit else NAMES)]()
