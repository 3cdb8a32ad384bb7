"""The losses by name, with their options; the formulas are in docs/losses.md."""

from .._public import present
from ._losses import NAMES, CustomLoss, Loss, resolve

__all__ = ["NAMES", "CustomLoss", "Loss", "resolve"]

present(__name__, __all__)
