"""The paths that modules had in version 0.1; they still work, and give the modules of today.

Imports of these paths and pickles that hold them go on working. They give no DeprecationWarning:
the documentation never named them, and a pickle, which cannot be told from an import, would warn
as well. New code imports public names from where the API reference has them, such as
`fastbp.Dense` instead of `fastbp.dense.Dense`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def _now_private(package: str, *names: str) -> dict[str, str]:
    """Modules of a package that have only gained an underscore."""
    return {f"{package}.{name}": f"{package}._{name}" for name in names}


# old path: new path, both without "fastbp."
RENAMED = {
    "_base": "_network.base",
    "_metric_functions": "metrics._declarations",
    "_monitor": "metrics._monitor",
    "_runner": "_training.runner",
    "_session": "_types",
    "_sparse": "_types",
    **_now_private(
        "bench",
        *("client", "data", "memory", "peers", "plot", "report", "runner", "suites", "timing"),
        "worker",
    ),
    **{
        f"bench.peers.{name}": f"bench._peers._{name}"
        for name in ("base", "engine", "jax_cpu", "numpy_reference", "pytorch", "scikit")
    },
    "checkpoints": "_training.checkpoints",
    "cli": "_cli.main",
    "commands": "_cli",
    **{
        f"commands.{name}": f"_cli.{name}"
        for name in (
            *("bench", "explain", "info", "options", "predict", "recipe", "sources"),
            "train",
        )
    },
    "csvfile": "tabular._csv",
    **_now_private("datasets", "idx"),
    "dense": "_network.dense",
    "derivatives": "_network.derivatives",
    "explain": "_explain.measure",
    "explanation": "_explain.explanation",
    "layers": "_network.layers",
    "lr_range": "_training.lr_finder",
    "network": "_network.network",
    **_now_private("optim", "adam", "adaptive", "averaging", "base", "files", "lbfgs", "sgd"),
    "preprocessing": "tabular._preprocessing",
    **_now_private(
        "reference",
        *("cost", "curves", "derivatives", "formulas", "layers", "losses", "network", "slow"),
        *("slow_losses", "updates"),
    ),
    "reference.training": "_training.sessions",
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
