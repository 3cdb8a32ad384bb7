"""scikit-learn's decorators, and its mixin for callbacks, which exists since version 1.9."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import sklearn
from sklearn.utils.metaestimators import available_if

from .._checks.caller import warn_caller

_SCIKIT_LEARN = os.path.join(os.path.dirname(os.path.abspath(sklearn.__file__)), "")
_Method = TypeVar("_Method", bound=Callable[..., object])

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:  # scikit-learn before 1.9
    CallbackSupportMixin = type("CallbackSupportMixin", (), {})

    def _with_callbacks(method: _Method) -> _Method:
        return method


__all__ = ["PER_FIT", "CallbackSupportMixin", "only_with_epochs", "warn_user", "with_callbacks"]

# Attributes that scikit-learn sets on an estimator during a fit, and removes itself.
PER_FIT = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")


def with_callbacks(method: _Method) -> _Method:
    """Let scikit-learn's callbacks observe a method; no change before scikit-learn 1.9."""
    observed: _Method = _with_callbacks(method)
    return observed


def only_with_epochs(method: _Method) -> _Method:
    """Hide a method while the estimator's solver has no epochs."""
    conditional: _Method = available_if(lambda estimator: estimator._has_epochs())(method)
    return conditional


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line outside this package and scikit-learn, which wraps `fit`."""
    warn_caller(message, category, past=_SCIKIT_LEARN)
