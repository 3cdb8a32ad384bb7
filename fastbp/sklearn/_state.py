"""What is kept from one fit to the next, and what a fit that is refused leaves as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from sklearn.utils import check_random_state

from ..losses import resolve as resolve_loss
from ..optim import Optimizer
from ..schedules import Schedule
from ._callbacks import OF_ONE_FIT
from ._estimator import BaseMLP


@contextmanager
def unchanged_if_refused(est: BaseMLP) -> Iterator[None]:
    """Run checks and preparations of a fit; if one raises, every attribute is what it was.

    What is prepared has to be bound to attributes, not written into objects that they hold, but for
    the network's l2, which is put back. So are random numbers that were drawn from a generator of
    the caller's.
    """
    before = dict(vars(est))
    net = before.get("network_")
    l2 = None if net is None else net.l2
    shared = est.random_state is None or isinstance(est.random_state, np.random.RandomState)
    rng = check_random_state(est.random_state) if shared else None
    drawn = None if rng is None else rng.get_state()
    try:
        yield
    except BaseException:
        open_tasks = {name: vars(est)[name] for name in OF_ONE_FIT if name in vars(est)}
        vars(est).clear()
        vars(est).update(before | open_tasks)
        if net is not None:
            net._set_l2(l2)
        if rng is not None:
            rng.set_state(drawn)
        raise


def check_same_network(est: BaseMLP, sizes: tuple[int, ...]) -> None:
    """ValueError for a parameter that asks for another network than the one to be trained on."""
    net = est.network_
    hidden, wanted = net.dense[:-1], est._hidden_layers(sizes)
    pairs = {"hidden_layer_sizes": ([each.n_out for each in hidden], list(sizes))}
    for name in ("activation", "dropout", "norm"):
        pairs[name] = tuple([getattr(each, name) for each in layers] for layers in (hidden, wanted))
    pairs["loss"] = (net.criterion, resolve_loss(est._objective()[1]))
    for name, (old, new) in pairs.items():
        if old != new:
            made, now = _shown(old), _shown(new)
            raise ValueError(
                f"{name} is now {'another ' * (made == now)}{now}; the network was made with "
                f"{made}, and a warm start or "
                f"partial_fit goes on with that network: set {name} back, or begin anew by fit "
                "with warm_start=False, or with a clone of the estimator"
            )


def _shown(value: object) -> str:
    """The value, or the values of a list, as one writes them in parameters."""
    if isinstance(value, list):
        return str([each if isinstance(each, (int, float)) else str(each) for each in value])
    return str(value)


def kept_optimizer(est: BaseMLP, *, going_on: bool) -> Optimizer:
    """The optimiser of the last fit with its state, where that goes on and has the same rule.

    Parameters that were set since take effect. Otherwise a new optimiser.
    """
    fresh = est._make_optimizer()
    if going_on and est._scales_by_samples():
        fresh.lr = est._scaled_rate()
    known = vars(est)
    kept = known.get("_optimizer")
    settings = fresh.state_dict()["hyper"]
    rule = None if isinstance(est.learning_rate, Schedule) else est.learning_rate
    made, old_rule = known.get("_optimizer_settings", (settings, rule))
    est._optimizer_settings = settings, rule
    if not going_on or type(kept) is not type(fresh):
        return fresh
    changed = {name: value for name, value in settings.items() if made.get(name) != value}
    if rule != old_rule:  # the new one does not begin with the rate that the old one left
        changed["lr"] = settings["lr"]
    if all(getattr(kept, name) == value for name, value in changed.items()):
        return kept
    state = kept.state_dict()
    state["hyper"] |= changed
    if kept.n_moments != fresh.n_moments:  # as with momentum turned on: another rule's state
        return type(fresh)(**state["hyper"])
    fresh.load_state_dict(state)
    return fresh


def kept_schedule(est: BaseMLP, *, incremental: bool) -> Schedule | None:
    """A copy of the schedule in `learning_rate`, with the state that the last fit left.

    Another schedule than that of the last fit begins with its own state. So does, in a warm start,
    one that is of a single fit, as the rate of learning_rate="adaptive" begins again there.
    """
    given = est.learning_rate if isinstance(est.learning_rate, Schedule) else None
    same = given is not None and vars(est).get("_schedule_given") is given
    goes_on = same and (incremental or not given._is_for_one_fit)
    schedule = copy.deepcopy(est._schedule if goes_on else given)
    est._schedule_given, est._schedule = given, schedule
    return schedule
