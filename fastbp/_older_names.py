"""The names that modules had in version 0.1: imports and pickles that hold them go on working."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# old name: new name, both without "fastbp."
RENAMED = {
    "_base": "_network.base",
    "_monitor": "metrics._monitor",
    "_runner": "_training.runner",
    "checkpoints": "_training.checkpoints",
    "cli": "_cli.main",
    "csvfile": "tabular._csv",
    "dense": "_network.dense",
    "derivatives": "_network.derivatives",
    "explain": "_explain.measure",
    "explanation": "_explain.explanation",
    "layers": "_network.layers",
    "lr_range": "_training.lr_finder",
    "network": "_network.network",
    "optim.adam": "optim._adam",
    "optim.adaptive": "optim._adaptive",
    "optim.averaging": "optim._averaging",
    "optim.base": "optim._base",
    "optim.lbfgs": "optim._lbfgs",
    "optim.sgd": "optim._sgd",
    "preprocessing": "tabular._preprocessing",
    "reference.cost": "reference._cost",
    "reference.formulas": "reference._formulas",
    "reference.losses": "reference._losses",
    "reference.network": "reference._network",
    "reference.slow": "reference._slow",
    "schedules._given": "schedules._formulas",
    "schedules._names": "schedules._registry",
    "schedules._seen": "schedules._plateau",
    "splits": "_training.splits",
    "streaming": "_training.streams",
}


class _Alias(Loader):
    """Gives the module that is there under its new name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self._name)
        self._spec = module.__spec__  # which the import system is about to replace
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _OlderNames(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, old = fullname.partition(".")
        if package != __package__ or old not in RENAMED:
            return None
        return ModuleSpec(fullname, _Alias(f"{__package__}.{RENAMED[old]}"))


def install() -> None:
    """Look old names up after everything else."""
    sys.meta_path.append(_OlderNames())
