"""Warnings that point to the line of the user's program, however deep in the package they arise."""

from __future__ import annotations

import os
import sys
import warnings

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def warn_caller(
    message: str, category: type[Warning] = UserWarning, *, past: str = _PACKAGE
) -> None:
    """Warn at the innermost line outside this package, and outside the folder `past`."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_PACKAGE, past)):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
