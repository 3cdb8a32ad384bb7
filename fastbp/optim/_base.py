"""What all optimisers share: hyper-parameters, options, and state that is the object's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypedDict, Unpack

import numpy as np

from .._checks import arguments as check
from .._checks.state import checked_state, counted, from_first_version, optional, text, vector

# The doubles of fastbp_optimizer_t that belong to a rule, in the order in which they are passed.
RULE_NUMBERS = (
    *("lr", "momentum", "beta1", "beta2", "eps", "dampening", "lr_decay", "momentum_decay"),
    *("shrink", "grow", "least", "most"),
)
# option: its code in the C enum fastbp_clip_t
CLIPS = {"clip_value": 1, "clip_norm": 2, "clip_global_norm": 3}


class Hyper:
    """A hyper-parameter: an attribute with a default that is checked whenever it is set.

    shown: whether repr has it even where it is the default.
    """

    def __init__(
        self, test: Callable[[object, str], object], default: object, *, shown: bool = False
    ) -> None:
        self.test, self.default, self.shown = test, default, shown

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None):
        return self if instance is None else instance.__dict__[self.name]

    def __set__(self, instance: object, value: object) -> None:
        instance.__dict__[self.name] = self.test(value, self.name)
        instance.__dict__["_packed"] = None
        instance.__dict__["_ready"] = False


def flag(value: object, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {value!r}")
    return bool(value)


def two_numbers(
    value: object, name: str, example: str, test: Callable[[object, str], float]
) -> tuple[float, float]:
    """A pair, each of which passes the test."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be two numbers such as {example}; got {value!r}")
    first, second = (test(x, f"{name}[{i}]") for i, x in enumerate(value))
    return first, second


def fractions(value: object, name: str) -> tuple[float, float]:
    """Two numbers in [0, 1)."""
    return two_numbers(value, name, "(0.9, 0.999)", check.check_fraction)


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


class Options(TypedDict, total=False):
    """Keywords that every optimiser takes; see `Optimizer`."""

    maximize: bool
    clip_value: float | None
    clip_norm: float | None
    clip_global_norm: float | None
    lr_factors: Iterable[float] | None
    ema: float | None


class Optimizer(ABC):
    """What all optimisers share: the step count `t`, the `moments`, twins of theta, and options.

    maximize: climb, θ moving along +g.
    clip_value, clip_norm, clip_global_norm: at most one, > 0, limits the gradient g of J, penalties
    included, before all else: |g| of every element to clip_value; or by a factor
    min(1, limit/(norm + 1e-6)) the norm of every W, b, gain and shift to clip_norm, or that of all
    together to clip_global_norm. PyTorch's clip_grad_value_ and clip_grad_norm_.
    lr_factors: one number > 0 a layer, by which its learning rate is multiplied.
    ema: in [0, 1); keeps the running mean of theta, see `fastbp.optim.averaged`.

    State is made on first use with a network and kept from call to call; `reset` drops it. Arrays
    that come read-only, such as maps of joblib's, are copied before they are written to.
    Hyper-parameters are attributes and may be changed between calls.
    """

    maximize = Hyper(flag, False)
    clip_value = Hyper(optional(check.check_positive), None)
    clip_norm = Hyper(optional(check.check_positive), None)
    clip_global_norm = Hyper(optional(check.check_positive), None)
    lr_factors = Hyper(_factors, None)
    ema = Hyper(optional(check.check_fraction), None)

    lr: float
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    full_batch: bool = False

    _t: int  # for the engine, which counts without a check
    moments: list[np.ndarray]
    average: np.ndarray | None
    scratch: np.ndarray | None
    _fields: ClassVar[dict[str, Hyper]] = {}

    def __init_subclass__(cls) -> None:
        options = list(Options.__annotations__)
        owners = [owner for owner in reversed(cls.__mro__) if owner is not Optimizer]
        own = list(dict.fromkeys(name for owner in owners for name in vars(owner)))
        found = {name: getattr(cls, name, None) for name in own + options}
        cls._fields = {name: field for name, field in found.items() if isinstance(field, Hyper)}

    def __init__(self, **values: object) -> None:
        for name in values:
            if name not in self._fields:
                raise TypeError(
                    f"{type(self).__name__}() has no argument {name!r}; known: "
                    f"{', '.join(self._fields)}"
                )
        for name, field in self._fields.items():
            setattr(self, name, values.get(name, field.default))
        self._clip()
        self.reset()

    @property
    @abstractmethod
    def code(self) -> int:
        """The number of the update rule in the C enum fastbp_rule_t."""

    @property
    @abstractmethod
    def n_moments(self) -> int:
        """How many twins of theta the update rule keeps."""

    @abstractmethod
    def hyper(self) -> dict[str, float]:
        """The numbers that the rule itself takes, by their names in the engine."""

    def _first_value(self, moment: int) -> float:
        """What the elements of a new moment are."""
        return 0.0

    # ---- for the engine -------------------------------------------------------------------

    def packed(self) -> tuple:
        """What the engine reads, in the order of `_core._optimizer`.

        >>> from fastbp.optim import SGD
        >>> SGD(0.5).packed()[:2]
        (0, 0.5)
        """
        if self._packed is None:
            numbers = self.hyper()
            self._packed = (
                self.code,
                *(numbers.get(name, 0.0) for name in RULE_NUMBERS),
                self.weight_decay,
                self.decoupled_weight_decay,
                self.maximize,
                *self._clip(),
                None if self.lr_factors is None else np.array(self.lr_factors),
                self.ema or 0.0,
            )
        return self._packed

    def _clip(self) -> tuple[int, float]:
        """(code of what is limited, the limit)."""
        found = [name for name in CLIPS if getattr(self, name) is not None]
        if len(found) > 1:
            raise ValueError(f"choose one of {' and '.join(found)}; the others must be None")
        return (CLIPS[found[0]], getattr(self, found[0])) if found else (0, 0.0)

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
        if self.scratch is None and self._clip()[0] > CLIPS["clip_value"]:
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
        self.moments = []
        self.average, self.average_start = None, 0
        self.scratch = None
        self._packed: tuple | None = None
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
        self._ready = False

    def save(self, path: object) -> None:
        """Write hyper-parameters and state to a file; `fastbp.optim.load` reads it.

        Raises OSError where it cannot write. `docs/optimizers.md` tells what is in the file.
        """
        from ._files import save

        save(self, path)

    def __repr__(self) -> str:
        shown = [
            f"{name}={getattr(self, name)}"
            for name, field in self._fields.items()
            if field.shown or getattr(self, name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


__all__ = ["Hyper", "Optimizer", "Options", "Unpack", "flag", "fractions", "two_numbers"]
