"""A fit as a tree of tasks, which scikit-learn's callbacks observe."""

from __future__ import annotations

import copy
from typing import Any

from ._estimator import BaseMLP

# Attributes that an estimator needs for predictions, besides a copy of its network or members.
_FITTED = (
    "classes_",
    "_multilabel",
    "n_outputs_",
    "n_features_in_",
    "feature_names_in_",
    "n_iter_",
    "_n_begun",
)


class Tasks:
    """A fit as a task of scikit-learn's callbacks, with one subtask per epoch of a network.

    It does nothing if no callback was set by `set_callbacks`. `arguments` are the X, y and metadata
    that the caller passed to fit.
    """

    def __init__(self, est: BaseMLP, epochs: int, arguments: dict[str, object]) -> None:
        self._est, self._arguments = est, arguments
        # Objects of scikit-learn, which has no type hints.
        self._context: Any = None
        self._epoch: Any = None
        if hasattr(est, "_skl_callbacks") or hasattr(est, "_parent_callback_ctx"):
            self._context = est._init_callback_context(max_subtasks=epochs)
            self._context.call_on_fit_task_begin(estimator=est, **arguments)

    def epoch_begin(self) -> None:
        if self._context is not None:
            self._epoch = self._context.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(estimator=self._est, **self._current_state())

    def epoch_end(self) -> bool:
        """Whether a callback asks to stop."""
        if self._context is None:
            return False
        stop = self._epoch.call_on_fit_task_end(estimator=self._est, **self._current_state())
        return bool(stop)

    def end(self) -> None:
        if self._context is not None:
            self._context.call_on_fit_task_end(estimator=self._est, **self._current_state())

    def _current_state(self) -> dict[str, object]:
        known = vars(self._est)
        fitted = {name: known[name] for name in _FITTED if name in known}
        which = "estimators_" if "estimators_" in known else "network_"
        fitted[which] = copy.deepcopy(known[which])
        return self._arguments | {"reconstruction_attributes": fitted}
