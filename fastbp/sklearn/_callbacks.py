"""scikit-learn's callback protocol, of version 1.9 on; before it, nothing."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:
        """Stands where scikit-learn's mixin does."""

    def with_callbacks(method: Any) -> Any:
        """The method as it is."""
        return method


if TYPE_CHECKING:
    from ._estimator import BaseMLP

__all__ = ["OF_ONE_FIT", "CallbackSupportMixin", "Tasks", "with_callbacks"]

# What scikit-learn binds to an estimator while it is fitted, and takes off itself.
OF_ONE_FIT = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")

# What an estimator has to have to be used, besides a copy of its network.
_FITTED = (
    "classes_",
    "_multilabel",
    "n_outputs_",
    "n_features_in_",
    "feature_names_in_",
    "n_iter_",
)


class Tasks:
    """A fit as scikit-learn's callbacks see it: a task that holds one for each epoch.

    Costs nothing where no callback was set by `set_callbacks`. told: X, y and metadata, as the
    caller of fit gave them.
    """

    def __init__(self, est: BaseMLP, epochs: int, told: dict[str, Any]) -> None:
        self._est, self._told = est, told
        self._context = self._epoch = None
        if hasattr(est, "_skl_callbacks") or hasattr(est, "_parent_callback_ctx"):
            self._context = est._init_callback_context(max_subtasks=epochs)
            self._context.call_on_fit_task_begin(estimator=est, **told)

    def epoch_begin(self) -> None:
        if self._context is not None:
            self._epoch = self._context.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(estimator=self._est, **self._as_it_stands())

    def epoch_end(self) -> bool:
        """Whether a callback wants to stop."""
        if self._context is None:
            return False
        stop = self._epoch.call_on_fit_task_end(estimator=self._est, **self._as_it_stands())
        return bool(stop)

    def end(self) -> None:
        if self._context is not None:
            self._context.call_on_fit_task_end(estimator=self._est, **self._as_it_stands())

    def _as_it_stands(self) -> dict[str, Any]:
        known = vars(self._est)
        fitted = {name: known[name] for name in _FITTED if name in known}
        fitted["network_"] = copy.deepcopy(self._est.network_)
        return self._told | {"reconstruction_attributes": fitted}
