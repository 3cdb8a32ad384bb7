"""The losses by name, with their options; the formulas are in docs/losses.md."""

from .._public import present
from ._losses import NAMES, CustomLoss, FormulaLoss, Loss, resolve

__all__ = ["NAMES", "CustomLoss", "FormulaLoss", "Loss", "resolve"]

present(__name__, __all__)
