"""scikit-learn's callback protocol, of version 1.9 on; before it, nothing."""

from __future__ import annotations

from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:
        """Stands where scikit-learn's mixin does."""

    def with_callbacks(method: Any) -> Any:
        """The method as it is."""
        return method


__all__ = ["OF_ONE_FIT", "CallbackSupportMixin", "with_callbacks"]

# What scikit-learn binds to an estimator while it is fitted, and takes off itself.
OF_ONE_FIT = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")
