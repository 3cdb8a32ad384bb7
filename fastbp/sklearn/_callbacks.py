"""scikit-learn's decorators, and its mixin for callbacks, which exists since version 1.9."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sklearn.utils.metaestimators import available_if

_Method = TypeVar("_Method", bound=Callable[..., object])

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:  # scikit-learn before 1.9
    CallbackSupportMixin = type("CallbackSupportMixin", (), {})

    def _with_callbacks(method: _Method) -> _Method:
        return method


__all__ = ["PER_FIT", "CallbackSupportMixin", "only_with_epochs", "with_callbacks"]

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
