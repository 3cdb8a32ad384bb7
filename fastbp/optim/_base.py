"""What all optimisers share: hyper-parameters, options, and state that is the object's."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._checks import arguments as check
from .._checks.state import checked_state, counted, from_first_version, optional, text, vector
from .._types import Place, Session, SessionOptions, Trainee
from ._format import write_state
from ._hyper import Declared, flag, hyper


def _factors(value: object, name: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be one number a layer, such as (0.1, 1.0); got {value!r}")
    return tuple(check.check_positive(x, f"{name}[{i}]") for i, x in enumerate(value))


def _settings(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a dict of settings by name; got {type(value).__name__}")
    return dict(value)


def _vectors(value: object, name: str) -> list[np.ndarray]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be a list of arrays; got {type(value).__name__}")
    return [vector(each, f"{name}[{i}]") for i, each in enumerate(value)]


# What state_dict() of an optimiser holds.
_STATE = {
    "name": text,
    "hyper": _settings,
    "t": check.check_count,
    "moments": _vectors,
    "average": optional(vector),
    "average_start": check.check_count,
}


def _native(array: np.ndarray) -> np.ndarray:
    """A copy in the byte order of this machine."""
    copy = np.empty(array.shape, array.dtype.newbyteorder("="))
    copy[...] = array
    return copy


class Optimizer(Declared, ABC):
    """What all optimisers share: the step count `t`, the `moments`, twins of theta, and options.

    At most one of clip_value, clip_norm and clip_global_norm limits the gradient g of J, penalties
    included, before all else. A norm is limited by the factor min(1, limit/(norm + 1e-6)). They are
    PyTorch's clip_grad_value_ and clip_grad_norm_.

    State is made on first use with a network and kept from call to call; `reset` drops it. Arrays
    that come read-only, such as maps of joblib's, are copied before they are written to.
    Hyper-parameters are attributes and may be changed between calls.
    """

    lr: float  # declared with its default by each rule
    maximize: bool = hyper(default=False, test=flag, doc="Climb: θ moves along +g.", kw_only=True)
    clip_value: float | None = hyper(
        default=None,
        test=optional(check.check_positive),
        doc="Limit of |g| of every element, > 0.",
        kw_only=True,
    )
    clip_norm: float | None = hyper(
        default=None,
        test=optional(check.check_positive),
        doc="Limit of the norm of g of every W, b, gain and shift, > 0.",
        kw_only=True,
    )
    clip_global_norm: float | None = hyper(
        default=None,
        test=optional(check.check_positive),
        doc="Limit of the norm of all of g, > 0.",
        kw_only=True,
    )
    lr_factors: Iterable[float] | None = hyper(
        default=None,
        test=_factors,
        doc="One number > 0 per layer, by which its learning rate is multiplied.",
        kw_only=True,
    )
    ema: float | None = hyper(
        default=None,
        test=optional(check.check_fraction),
        doc="In [0, 1): keep the running mean of theta, see `fastbp.optim.averaged`.",
        kw_only=True,
    )

    weight_decay = 0.0
    decoupled_weight_decay = False
    full_batch = False

    def __post_init__(self) -> None:
        self._clip()
        self.reset()

    def _changed(self) -> None:
        self._packed = None
        self._ready = False

    @property
    @abstractmethod
    def rule(self) -> str:
        """The name of the update rule in the engine and in `fastbp.reference`."""

    @property
    @abstractmethod
    def n_moments(self) -> int:
        """How many twins of theta the update rule keeps."""

    def hyper(self) -> dict[str, float]:
        """The numbers that the rule itself takes, by their names in the engine.

        >>> from fastbp.optim import Lion
        >>> Lion(0.5).hyper()
        {'lr': 0.5, 'beta1': 0.9, 'beta2': 0.99}
        """
        numbers: dict[str, float] = {}
        for name, field in self._fields.items():
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            numbers |= zip(field.engine, values, strict=False)  # most have no name there
        return numbers

    def _first_value(self, moment: int) -> float:
        """What the elements of a new moment are."""
        return 0.0

    # ---- for fit and the engine -----------------------------------------------------------

    def check_fit(self, *, checkpoint: bool, schedule: bool) -> None:
        """Raise TypeError or ValueError for a fit that this optimiser cannot make."""

    def session(
        self,
        net: Trainee,
        source: object,
        options: SessionOptions,
        epochs: int,
        place: Place,
    ) -> Session:
        """The session that `fit` drives: the steps of `net` on a checked source of data.

        epochs: how many the fit may have in all; place: where it begins.
        """
        net._bind(self)
        return net._begin(source, self, options, epochs, place)

    def packed(self) -> dict[str, object]:
        """What the engine reads, by name; the same object until a hyper-parameter changes.

        >>> from fastbp.optim import SGD
        >>> SGD(0.5, clip_norm=2).packed()["rule"], SGD(0.5, clip_norm=2).packed()["limit"]
        ('sgd', 2.0)
        """
        if self._packed is None:
            clip, limit = self._clip()
            self._packed = {
                "rule": self.rule,
                "hyper": self.hyper(),
                "weight_decay": self.weight_decay,
                "decoupled": self.decoupled_weight_decay,
                "maximize": self.maximize,
                "clip": clip,
                "limit": limit,
                "lr_factors": None if self.lr_factors is None else np.array(self.lr_factors),
                "average_decay": self.ema or 0.0,
            }
        return self._packed

    def _clip(self) -> tuple[str, float]:
        """(what is limited: "none", "value", "norm" or "global_norm"; the limit)."""
        options = ("clip_value", "clip_norm", "clip_global_norm")
        found = [name for name in options if getattr(self, name) is not None]
        if len(found) > 1:
            raise ValueError(f"choose one of {' and '.join(found)}; the others must be None")
        return (found[0].removeprefix("clip_"), getattr(self, found[0])) if found else ("none", 0.0)

    def bind(self, n_params: int, dtype: np.dtype, n_layers: int | None = None) -> None:
        """Allocate the moments, of the size and dtype of theta, unless they are there.

        Raises ValueError when the state belongs to a theta of another size or dtype, and when
        lr_factors are not n_layers.

        >>> from fastbp.optim import Adam
        >>> adam = Adam(); adam.bind(5, np.dtype("float32")); len(adam.moments)
        2
        """
        if self._ready and self._bound == (n_params, dtype):
            return
        factors = self.lr_factors
        if n_layers is not None and factors is not None and len(factors) != n_layers:
            raise ValueError(
                f"lr_factors has {len(factors)} numbers; the network has {n_layers} layers: "
                "give one each"
            )
        wanted = (n_params, np.dtype(dtype))
        if self._bound not in (None, wanted):
            raise ValueError(
                f"this {type(self).__name__} holds the state of {self._bound[0]} parameters of "
                f"{self._bound[1]}; the network has {n_params} of {wanted[1]}: "
                "use another optimiser, or reset() this one"
            )
        self._bound = wanted
        self.moments = [check.writeable(moment) for moment in self.moments]
        while len(self.moments) < self.n_moments:
            first = self._first_value(len(self.moments))
            self.moments.append(np.full(n_params, first, dtype))
        self.scratch = None if self.scratch is None else check.writeable(self.scratch)
        if self.scratch is None and self._clip()[0].endswith("norm"):
            self.scratch = np.zeros(n_params, dtype)
        if self.ema is None:
            self.average = None
        elif self.average is None:
            self.average, self.average_start = np.zeros(n_params, dtype), self.t
        else:
            self.average = check.writeable(self.average)
        self._ready = True

    # ---- state ----------------------------------------------------------------------------

    t = counted("Steps taken, 0 to 2**63 - 1.")

    def reset(self) -> None:
        """Forget the state: no steps taken, no moments, no average, bound to no network.

        >>> from fastbp.optim import SGD
        >>> SGD(0.1).t
        0
        """
        self.t = 0
        self.moments: list[np.ndarray] = []
        self.average: np.ndarray | None = None
        self.average_start = 0
        self.scratch: np.ndarray | None = None
        self._packed: dict[str, object] | None = None
        self._ready = False  # bound, and no hyper-parameter has changed since
        self._bound: tuple[int, np.dtype] | None = None

    def state_dict(self) -> dict[str, object]:
        """Hyper-parameters and state, copied: what a training needs to go on bit for bit.

        >>> from fastbp.optim import SGD
        >>> state = SGD(0.1).state_dict(); state["hyper"]["lr"], state["t"], state["moments"]
        (0.1, 0, [])
        """
        return {
            "name": type(self).__name__,
            "hyper": {name: getattr(self, name) for name in self._fields},
            "t": self.t,
            "moments": [moment.copy() for moment in self.moments],
            "average": None if self.average is None else self.average.copy(),
            "average_start": self.average_start,
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take over what `state_dict` of an optimiser of the same class gave.

        Raises TypeError or ValueError, with nothing changed, for the state of another class, with
        fields missing, or with values that cannot be.

        >>> from fastbp.optim import SGD
        >>> sgd = SGD(); sgd.load_state_dict(SGD(0.5, momentum=0.9).state_dict()); sgd
        SGD(lr=0.5, momentum=0.9, nesterov=False)
        """
        state = self._checked(state)  # nothing has changed where this raises
        for name, value in state["hyper"].items():
            setattr(self, name, value)
        self.reset()
        self._t, self.average_start = state["t"], state["average_start"]
        self.moments = [_native(moment) for moment in state["moments"]]
        if state["average"] is not None:
            self.average = _native(state["average"])
        kept = [*self.moments, *([] if self.average is None else [self.average])]
        if kept:
            self._bound = (kept[0].size, kept[0].dtype)

    def _checked(self, state: object) -> dict[str, Any]:
        """The fields of a state, each of its kind, and all of them together."""
        state = checked_state(state, _STATE, f"{type(self).__name__}.state_dict()")
        if state["name"] != type(self).__name__:
            raise ValueError(
                f"this is the state of {state['name']}; the optimiser is {type(self).__name__}: "
                "load it into one of the same class"
            )
        n_moments = type(self)(**state["hyper"]).n_moments
        moments = state["moments"]
        if state["average_start"] > state["t"]:
            raise ValueError(
                f"average_start, {state['average_start']}, must not be beyond t, {state['t']}"
            )
        kept = [*moments, *([] if state["average"] is None else [state["average"]])]
        if len({(each.size, each.dtype.newbyteorder("=")) for each in kept}) > 1:
            raise ValueError("moments and average must be of one size and dtype")
        if moments and not n_moments <= len(moments) <= 3:
            raise ValueError(f"{type(self).__name__} has {n_moments} moments; got {len(moments)}")
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        """From a pickle, whose arrays may be read-only maps: `bind` looks at them again."""
        self.__dict__.update(from_first_version(state))
        self._changed()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write hyper-parameters and state to a file; `fastbp.optim.load` reads it.

        docs/optimizers.md describes the file. Raises TypeError for a class that is not one of
        `fastbp.optim`, and OSError if the file cannot be written.
        """
        if type(self).__module__ != Optimizer.__module__:
            raise TypeError(
                f"only optimisers of fastbp.optim go into files; got {type(self).__name__}: "
                "use its state_dict()"
            )
        write_state(path, self.state_dict())
