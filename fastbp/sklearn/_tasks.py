"""A fit as a tree of tasks, which scikit-learn's callbacks hear of."""

from __future__ import annotations

import copy
from typing import Any

from ._estimator import BaseMLP

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

    Costs nothing where no callback was set by `set_callbacks`. given: X, y and metadata, as the
    caller of fit gave them.
    """

    def __init__(self, est: BaseMLP, epochs: int, given: dict[str, Any]) -> None:
        self._est, self._given = est, given
        self._context = self._epoch = None
        if hasattr(est, "_skl_callbacks") or hasattr(est, "_parent_callback_ctx"):
            self._context = est._init_callback_context(max_subtasks=epochs)
            self._context.call_on_fit_task_begin(estimator=est, **given)

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
        return self._given | {"reconstruction_attributes": fitted}
