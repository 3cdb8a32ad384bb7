"""Public names say where they are public, whatever the private module that defines them."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def present(package: str, names: Iterable[str]) -> None:
    """Set `__module__` of the classes and functions that a public package offers.

    So `repr` and pickles hold `fastbp.losses.Loss`, and a private module may be renamed.
    """
    offered = vars(sys.modules[package])
    for name in names:
        home = getattr(offered[name], "__module__", None)
        if isinstance(home, str) and home.startswith("fastbp.") and "._" in home:
            offered[name].__module__ = package
