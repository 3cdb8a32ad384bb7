"""Public classes and functions say their public module instead of the one that defines them."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def present(package: str, names: Iterable[str]) -> None:
    """Set `__module__` of the classes and functions in the `__all__` of a public package.

    `repr` and pickles then hold `fastbp.losses.Loss`, so private modules can be renamed.
    """
    offered = vars(sys.modules[package])
    for name in names:
        home = getattr(offered[name], "__module__", None)
        if isinstance(home, str) and home.startswith("fastbp.") and "._" in home:
            offered[name].__module__ = package
