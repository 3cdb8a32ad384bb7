"""The base class of the optimisers: common options, state, and what fit and the engine read."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np

from .._checks import arguments as check
from .._checks.state import checked_state, counted, from_first_version, optional, text, vector
from .._forks import lock_for
from .._types import Array, Place, Session, SessionOptions, Trainee
from ._factors import count_layers, decay_factors, factor_tables, plain, rate_factors
from ._format import State, write_state
from ._hyper import Declared, flag, hyper, learning_rate


def _settings(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a dict of settings by name; got {type(value).__name__}")
    return dict(value)


def _vectors(value: object, name: str) -> list[Array]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be a list of arrays; got {type(value).__name__}")
    return [vector(each, f"{name}[{i}]") for i, each in enumerate(value)]


# Hyper-parameters that version 0.1 did not have. A state has them only if they are not the default.
_ADDED: dict[str, object] = {"decay_factors": None, "fan_in_scaling": False}

# The fields of state_dict() with their checks.
_STATE = {
    "name": text,
    "hyper": _settings,
    "t": check.check_count,
    "moments": _vectors,
    "average": optional(vector),
    "average_start": check.check_count,
}


_NEVER_CHANGE = frozenset((bool, float, int, str, type(None)))  # as attributes that are copied
_OF_PROCESS = (
    "_lock",
    "_packed",
    "_tables",
    "_values",
    "_ready",
    "_owner",
)  # attributes that no pickle keeps


def _native(array: Array) -> Array:
    """A copy in the byte order of this machine, which starts on a cache line."""
    return check.aligned_copy(array, array.dtype.newbyteorder("="))


class Optimizer(Declared, ABC):
    """The base class of all optimisers, with the options that they share.

    The state is the number of steps `t` and the `moments`, arrays with the layout of theta. It is
    allocated when the optimiser is first used with a network, and kept until `reset` is called.
    Read-only arrays, such as memory maps of joblib, are copied before the first write.
    Hyper-parameters are attributes, and you can change them between calls.

    At most one of clip_value, clip_norm and clip_global_norm can be set. Clipping is the first
    operation on g, the gradient of J including penalties. A norm is limited by multiplying g by
    min(1, limit/(norm + 1e-6)). These options are clip_grad_value_ and clip_grad_norm_ of PyTorch.
    """

    lr: float = learning_rate(default=0.001)
    maximize: bool = hyper(
        default=False, test=flag, doc="Whether to maximise J: g ← −g.", kw_only=True
    )
    clip_value: float | None = hyper(
        default=None,
        test=optional(check.check_positive),
        doc="Limit of |g| for each element, greater than 0.",
        kw_only=True,
    )
    clip_norm: float | None = hyper(
        default=None,
        test=optional(check.check_positive),
        doc="Limit of the norm of g for each array W, b, gain or shift, and for the trained "
        "constants of a layer together, greater than 0.",
        kw_only=True,
    )
    clip_global_norm: float | None = hyper(
        default=None,
        test=optional(check.check_positive),
        doc="Limit of the norm of the whole g, greater than 0.",
        kw_only=True,
    )
    lr_factors: Iterable[float] | Mapping[str, Any] | None = hyper(
        default=None,
        test=rate_factors,
        doc="Factors of the learning rate, greater than 0: one per layer, or a dict of factors by "
        "group, 'weights', 'bias', 'norm', 'constants', 'scale', 'embedding', with 'layers' for "
        "one per layer.",
        kw_only=True,
    )
    decay_factors: Iterable[float] | Mapping[str, Any] | None = hyper(
        default=None,
        test=decay_factors,
        doc="Factors of weight_decay in the same form, at least 0. Where weight_decay is 0 by "
        "default, give it, too.",
        kw_only=True,
    )
    fan_in_scaling: bool = hyper(
        default=False,
        test=flag,
        doc="Whether W of a layer with n inputs is trained as V/√n; see docs/optimizers.md.",
        kw_only=True,
    )
    ema: float | None = hyper(
        default=None,
        test=optional(check.check_fraction),
        doc="Decay rate of a running mean of theta, in [0, 1); see `fastbp.optim.averaged`.",
        kw_only=True,
    )

    weight_decay = 0.0
    decoupled_weight_decay = False
    full_batch = False
    needs_whole = False  # theta and its state, so no rank may have a share of them
    needs_gradient = False  # all of g before the first update
    extrapolates = False  # gradients are those at moments[1], which a session exchanges with theta
    fan_in_power = 0.5  # of 1/n in the rate of W; 1 where a step grows with the gradient

    t = counted("Number of steps made, 0 to 2**63 − 1.")

    def _check_given(self, given: Mapping[str, object]) -> None:
        factors = given.get("decay_factors")
        if factors is not None and "weight_decay" not in given and self.weight_decay == 0:
            raise ValueError(
                "decay_factors multiply weight_decay, which is 0 by default in "
                f"{type(self).__name__}: give weight_decay, too"
            )

    def __post_init__(self) -> None:
        self._lock = lock_for(self)  # of the state, which the steps of several networks may share
        self._clip()
        self.reset()

    def reset(self) -> None:
        """Forget the state: the optimiser has made no steps and belongs to no network.

        >>> from fastbp.optim import SGD
        >>> SGD(0.1).t
        0
        """
        with self._lock:
            self._t = 0
            self.moments: list[Array] = []
            self.average: Array | None = None
            self.average_start = 0
            self.scratch: Array | None = None
            self._packed: tuple[object, dict[str, object]] | None = None
            self._tables: tuple[object, tuple[int, ...], Array] | None = None
            self._bound: tuple[int, np.dtype[Any]] | None = None
            self._changed()

    def _changed(self) -> None:
        self._values = object()  # stands for the present values of the hyper-parameters
        self._ready: object = None  # the values for which the state has been bound

    @property
    @abstractmethod
    def rule(self) -> str:
        """The name of the update rule in the engine and in `fastbp.reference`."""

    @property
    @abstractmethod
    def n_moments(self) -> int:
        """The number of moments that the update rule keeps."""

    def hyper(self) -> dict[str, float]:
        """Return the hyper-parameters of the rule itself, by their names in the engine.

        >>> from fastbp.optim import Lion
        >>> Lion(0.5).hyper()
        {'lr': 0.5, 'beta1': 0.9, 'beta2': 0.99}
        """
        numbers: dict[str, float] = {}
        for name, field in self._fields.items():
            if field.engine:
                value = getattr(self, name)
                values = value if isinstance(value, tuple) else (value,)
                numbers |= zip(field.engine, values, strict=False)
        return numbers

    def _first_value(self, moment: int) -> float:
        """The initial value of a moment."""
        return 0.0

    # ---- for fit and the engine -----------------------------------------------------------

    def check_fit(self, *, checkpoint: bool, schedule: bool) -> None:
        """Raise TypeError or ValueError if this optimiser cannot do such a fit."""

    def session(
        self,
        net: Trainee,
        source: object,
        options: SessionOptions,
        epochs: int,
        place: Place,
    ) -> Session:
        """Return the training session that `fit` runs.

        Parameters
        ----------
        net : Network
            The network to train.
        source : object
            A checked data set or stream.
        options : SessionOptions
            How rows become batches.
        epochs : int
            The largest number of epochs of the fit.
        place : Place
            Where the training begins.
        """
        net._bind(self)
        return net._begin(source, self, options, epochs, place)

    def packed(self) -> dict[str, object]:
        """Return what the engine reads, by name.

        It is the same object until a hyper-parameter changes.

        >>> from fastbp.optim import SGD
        >>> SGD(0.5, clip_norm=2).packed()["rule"], SGD(0.5, clip_norm=2).packed()["limit"]
        ('sgd', 2.0)
        """
        values, packed = self._values, self._packed
        if packed is None or packed[0] is not values:
            clip, limit = self._clip()
            found = {
                "rule": self.rule,
                "hyper": self.hyper(),
                "weight_decay": self.weight_decay,
                "decoupled": self.decoupled_weight_decay,
                "maximize": self.maximize,
                "clip": clip,
                "limit": limit,
                "average_decay": self.ema or 0.0,
            }
            packed = self._packed = (values, found)  # of no use if a value has changed meanwhile
        return packed[1]

    def factors(self, widths: tuple[int, ...]) -> Array | None:
        """Return the factors of lr and of weight_decay, (2, n_layers, groups), or None if 1.

        Parameters
        ----------
        widths : tuple of int
            The units of every layer of the network, inputs first.

        Examples
        --------
        >>> from fastbp.optim import SGD
        >>> SGD(lr_factors={"bias": 0.5}).factors((3, 2)).tolist()
        [[[1.0, 0.5, 1.0, 1.0, 1.0, 1.0]], [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]]
        """
        if self.lr_factors is None and self.decay_factors is None and not self.fan_in_scaling:
            return None
        values, kept = self._values, self._tables
        if kept is None or kept[0] is not values or kept[1] != widths:
            found = factor_tables(
                self.lr_factors,  # type: ignore[arg-type]  # checked
                self.decay_factors,  # type: ignore[arg-type]
                widths[:-1] if self.fan_in_scaling else None,
                self.fan_in_power,
                self.decoupled_weight_decay,
                len(widths) - 1,
            )
            kept = self._tables = (values, widths, found)
        return kept[2]

    def _clip(self) -> tuple[str, float]:
        """(the kind of clipping: "none", "value", "norm" or "global_norm"; the limit)."""
        options = ("clip_value", "clip_norm", "clip_global_norm")
        found = [name for name in options if getattr(self, name) is not None]
        if len(found) > 1:
            raise ValueError(f"choose one of {' and '.join(found)}; the others must be None")
        return (found[0].removeprefix("clip_"), getattr(self, found[0])) if found else ("none", 0.0)

    def bind(self, n_params: int, dtype: np.dtype[Any], n_layers: int | None = None) -> None:
        """Allocate the state for a theta of this size and dtype, unless it exists already.

        Raises ValueError if the state belongs to a theta of another size or dtype, or if the number
        of lr_factors or decay_factors is not n_layers.

        >>> from fastbp.optim import Adam
        >>> adam = Adam(); adam.bind(5, np.dtype("float32")); len(adam.moments)
        2
        """
        if self._ready is self._values and self._bound == (n_params, dtype):
            return
        with self._lock:
            self._bind(n_params, dtype, n_layers)

    def _bind(self, n_params: int, dtype: np.dtype[Any], n_layers: int | None) -> None:
        values = self._values
        for name in ("lr_factors", "decay_factors"):
            n_factors = count_layers(getattr(self, name))
            if n_layers is not None and n_factors not in (None, n_layers):
                raise ValueError(
                    f"{name} has {n_factors} numbers; the network has {n_layers} layers: "
                    "give one per layer"
                )
        wanted: tuple[int, np.dtype[Any]] = (n_params, np.dtype(dtype))
        if self._bound is not None and self._bound != wanted:
            raise ValueError(
                f"this {type(self).__name__} holds the state of {self._bound[0]} parameters of "
                f"{self._bound[1]}; the network has {n_params} of {wanted[1]}: "
                "use another optimiser, or reset() this one"
            )
        self._bound = wanted
        self.moments = [check.writeable(moment) for moment in self.moments]
        while len(self.moments) < self.n_moments:
            first = self._first_value(len(self.moments))
            moment = check.aligned_zeros(n_params, wanted[1])
            if first != 0:
                moment[...] = first
            self.moments.append(moment)
        self.scratch = None if self.scratch is None else check.writeable(self.scratch)
        clips_norms = self._clip()[0].endswith("norm")
        if self.scratch is None and (clips_norms or self.needs_gradient):
            self.scratch = np.zeros(n_params, dtype)
        if self.ema is None:
            self.average = None
        elif self.average is None:
            self.average, self.average_start = np.zeros(n_params, dtype), self.t
        else:
            self.average = check.writeable(self.average)
        self._ready = values

    def _keep(self, change: Callable[[Array], Array]) -> None:
        """Replace the vectors of the state, for a fit in which each rank updates a share of theta.

        Not the scratch, which `bind` allocates again.
        """
        self.moments = [check.aligned_copy(change(m), m.dtype) for m in self.moments]
        if self.average is not None:
            self.average = check.aligned_copy(change(self.average), self.average.dtype)
        kept = [*self.moments, *([] if self.average is None else [self.average])]
        self._bound = (kept[0].size, kept[0].dtype) if kept else None
        self.scratch = self._ready = None

    # ---- state ----------------------------------------------------------------------------

    def state_dict(self) -> State:
        """Return copies of the hyper-parameters and the state.

        With `load_state_dict`, a training can continue from them with bit-identical results.

        >>> from fastbp.optim import SGD
        >>> state = SGD(0.1).state_dict(); state["hyper"]["lr"], state["t"], state["moments"]
        (0.1, 0, [])
        """
        with self._lock:
            return {
                "name": type(self).__name__,
                "hyper": {
                    name: plain(value)
                    for name, value in ((name, getattr(self, name)) for name in self._fields)
                    if name not in _ADDED or value != _ADDED[name]
                },
                "t": self.t,
                "moments": [moment.copy() for moment in self.moments],
                "average": None if self.average is None else self.average.copy(),
                "average_start": self.average_start,
            }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore what `state_dict` of an optimiser of the same class returned.

        Raises TypeError or ValueError if the state is that of another class, lacks a field, or has
        values that are not valid. The optimiser is then unchanged.

        >>> from fastbp.optim import SGD
        >>> sgd = SGD(); sgd.load_state_dict(SGD(0.5, momentum=0.9).state_dict()); sgd
        SGD(lr=0.5, momentum=0.9, nesterov=False)
        """
        checked = self._checked(state)  # if it raises, nothing has changed
        with self._lock:
            for name, value in (self._added() | checked["hyper"]).items():
                setattr(self, name, value)
            self.reset()
            self.t, self.average_start = checked["t"], checked["average_start"]
            self.moments = [_native(moment) for moment in checked["moments"]]
            if checked["average"] is not None:
                self.average = _native(checked["average"])
            kept = [*self.moments, *([] if self.average is None else [self.average])]
            if kept:
                self._bound = (kept[0].size, kept[0].dtype)

    def _checked(self, given: object) -> State:
        """A state after the checks of each field and of all fields together."""
        fields = checked_state(given, _STATE, f"{type(self).__name__}.state_dict()")
        state = State(
            name=fields["name"],
            hyper=fields["hyper"],
            t=fields["t"],
            moments=fields["moments"],
            average=fields["average"],
            average_start=fields["average_start"],
        )
        if state["name"] != type(self).__name__:
            raise ValueError(
                f"this is the state of {state['name']}; the optimiser is {type(self).__name__}: "
                "load it into one of the same class"
            )
        n_moments = type(self)(**state["hyper"]).n_moments
        moments = state["moments"]
        if state["average_start"] > state["t"]:
            raise ValueError(
                f"average_start, {state['average_start']}, must not exceed t, {state['t']}"
            )
        kept = [*moments, *([] if state["average"] is None else [state["average"]])]
        if len({(each.size, each.dtype.newbyteorder("=")) for each in kept}) > 1:
            raise ValueError("moments and average must have the same size and dtype")
        if moments and not n_moments <= len(moments) <= 3:
            raise ValueError(f"{type(self).__name__} has {n_moments} moments; got {len(moments)}")
        return state

    def __getstate__(self) -> dict[str, object]:
        """All but the lock, and what follows from the hyper-parameters; arrays are copied."""
        with self._lock:
            state = {name: x for name, x in vars(self).items() if name not in _OF_PROCESS}
            state["moments"] = [moment.copy() for moment in self.moments]
            state["average"] = None if self.average is None else self.average.copy()
            return state

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore a pickle. Its arrays may be read-only, so `bind` checks them again."""
        self._lock, self._packed, self._tables = lock_for(self), None, None
        kept = {name: x for name, x in state.items() if name not in _OF_PROCESS}
        self.__dict__.update(self._added() | from_first_version(kept))
        self._changed()

    def _added(self) -> dict[str, object]:
        """The defaults of those of its hyper-parameters that version 0.1 did not have."""
        return {name: value for name, value in _ADDED.items() if name in self._fields}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy with a state of its own."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        state = self.__getstate__()
        for name, value in state.items():
            if type(value) not in _NEVER_CHANGE:
                state[name] = copy.deepcopy(value, memo)
        twin.__setstate__(state)
        return twin

    def _copies(self, n: int) -> list[Self]:
        """Return n copies, which share what the engine reads until a value of one changes."""
        first = copy.deepcopy(self)
        first.packed()
        copies = [first, *(copy.deepcopy(first) for _ in range(n - 1))]
        for each in copies:
            each._values, each._packed = first._values, first._packed
            each._tables = first._tables
        return copies

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write hyper-parameters and state to a file, which `fastbp.optim.load` reads.

        docs/optimizers.md describes the format. Raises TypeError if the class is not one of
        `fastbp.optim`, and OSError if the file cannot be written.
        """
        if type(self).__module__ != Optimizer.__module__:
            raise TypeError(
                f"only optimisers of fastbp.optim can be saved; got {type(self).__name__}: "
                "use its state_dict()"
            )
        write_state(path, self.state_dict())
