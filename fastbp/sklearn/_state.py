"""What an estimator keeps from one fit to the next, and how a refused fit is undone."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from .._precision import HIGHEST
from ..losses import resolve as resolve_loss
from ..optim import Optimizer
from ..schedules import Schedule
from ._callbacks import PER_FIT
from ._estimator import BaseMLP


@contextmanager
def unchanged_if_refused(est: BaseMLP) -> Iterator[None]:
    """Restore every attribute if the checks and preparations of a fit raise an exception.

    The preparations must assign new objects to attributes and must not change the objects that are
    there. The network's l2 and matmul_precision are exceptions, and are restored. The state of a
    random generator that belongs to the caller is restored too.
    """
    before = dict(vars(est))
    net = est.network_ if "network_" in before else None
    l2, precision = (0.0, "") if net is None else (net.l2, net.matmul_precision)
    shared = est.random_state is None or isinstance(est.random_state, np.random.RandomState)
    rng = check_random_state(est.random_state) if shared else None
    rng_state = None if rng is None else rng.get_state()
    try:
        yield
    except BaseException:
        open_tasks = {name: vars(est)[name] for name in PER_FIT if name in vars(est)}
        est.__dict__.clear()
        est.__dict__.update(before | open_tasks)
        if net is not None:
            net._set_l2(l2)
            net.matmul_precision = precision
        if rng is not None:
            rng.set_state(rng_state)
        raise


# What the fits of one network leave, and those of an ensemble.
_OF_NETWORK = (
    *("network_", "n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_"),
    *("best_validation_score_", "_no_improvement_count", "_random_state", "_optimizer"),
    *("_optimizer_settings", "_schedule", "_schedule_given", "_given"),
)
_OF_ENSEMBLE = ("estimators_", "_n_begun", "n_iter_", "loss_")


def forget_network(est: BaseMLP) -> None:
    """Remove what fits of one network have left, before the estimator becomes an ensemble."""
    for name in _OF_NETWORK:
        est.__dict__.pop(name, None)


def forget_ensemble(est: BaseMLP) -> None:
    """Remove what fits of an ensemble have left, before the estimator becomes one network."""
    if "estimators_" in vars(est):
        for name in _OF_ENSEMBLE:
            est.__dict__.pop(name, None)


def check_same_network(est: BaseMLP, sizes: tuple[int, ...]) -> None:
    """Raise ValueError if a parameter describes another network than the existing one."""
    net = est.network_
    hidden, wanted = net.dense[:-1], est._hidden_layers(sizes)
    pairs: dict[str, tuple[object, object]] = {
        "hidden_layer_sizes": ([each.n_out for each in hidden], list(sizes))
    }
    for name in ("activation", "dropout", "norm"):
        pairs[name] = (
            [getattr(each, name) for each in hidden],
            [getattr(each, name) for each in wanted],
        )
    pairs["loss"] = (net.criterion, resolve_loss(est._objective()[1]))
    for name, (old, new) in pairs.items():
        if old != new:
            made, now = _shown(old), _shown(new)
            raise ValueError(
                f"{name} is now {'another ' * (made == now)}{now}; the network was made with "
                f"{made}, and a warm start or partial_fit continues with that network: set "
                f"{name} back, call fit with warm_start=False, or use a clone of the estimator"
            )


def set_precision(est: BaseMLP) -> None:
    """Give the existing network the estimator's matmul_precision, unless that is None.

    Raises ValueError if the network is float64 and so takes "highest" only.
    """
    wanted, net = est.matmul_precision, est.network_
    if wanted is None:
        return
    if wanted != HIGHEST and net.dtype == np.float64:
        raise ValueError(
            f"matmul_precision is now {wanted!r}; the network was made with float64, which takes "
            "'highest' only, and a warm start or partial_fit continues with that network: set "
            "matmul_precision back, call fit with warm_start=False, or use a clone of the estimator"
        )
    net.matmul_precision = wanted


def _shown(value: object) -> str:
    """The value, or the values of a list, as they are written in parameters."""
    if isinstance(value, list):
        return str([each if isinstance(each, (int, float)) else str(each) for each in value])
    return str(value)


def kept_optimizer(est: BaseMLP, *, incremental: bool) -> Optimizer:
    """The optimiser of the last fit with its state if `incremental`, otherwise a new one.

    Parameters that were set since the last fit take effect. If they describe another update rule,
    the optimiser is new.
    """
    fresh = est._make_optimizer()
    if incremental and est._scales_by_samples():
        fresh.lr = est._scaled_rate()
    known = vars(est)
    kept: Optimizer | None = known.get("_optimizer")
    settings = _hyper_parameters(fresh)
    rule = None if isinstance(est.learning_rate, Schedule) else est.learning_rate
    old_settings, old_rule = known.get("_optimizer_settings", (settings, rule))
    est._optimizer_settings = settings, rule
    if not incremental or kept is None or type(kept) is not type(fresh):
        return fresh
    changed = {name: value for name, value in settings.items() if old_settings.get(name) != value}
    if rule != old_rule:  # the new rule must not begin with the last rate of the old one
        changed["lr"] = settings["lr"]
    if all(getattr(kept, name) == value for name, value in changed.items()):
        return kept
    hyper = _hyper_parameters(kept) | changed
    if kept.n_moments != fresh.n_moments:  # for example momentum turned on: the state does not fit
        return type(fresh)(**hyper)
    fresh.load_state_dict(kept.state_dict() | {"hyper": hyper})
    return fresh


def _hyper_parameters(optimizer: Optimizer) -> dict[str, Any]:
    """The arguments of an optimiser's constructor."""
    return {name: getattr(optimizer, name) for name in optimizer._fields}


def kept_schedule(est: BaseMLP, *, incremental: bool) -> Schedule | None:
    """A copy of the schedule in `learning_rate`, with the state of the last fit.

    If `learning_rate` is another object than in the last fit, the copy has that object's own state.
    The same holds in a warm start for a schedule that depends on one fit, because
    learning_rate="adaptive" also starts again there.
    """
    given = est.learning_rate if isinstance(est.learning_rate, Schedule) else None
    if given is None:
        est._schedule_given = est._schedule = None
        return None
    same = vars(est).get("_schedule_given") is given
    continues = same and (incremental or not given._is_for_one_fit)
    schedule = copy.deepcopy(est._schedule if continues else given)
    est._schedule_given, est._schedule = given, schedule
    return schedule
