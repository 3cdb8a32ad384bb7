"""The losses by name, with their options; docs/losses.md has the formulas."""

from .._public import present
from ._losses import NAMES, CustomLoss, Loss, resolve

__all__ = ["NAMES", "CustomLoss", "Loss", "resolve"]

present(__name__, __all__)
