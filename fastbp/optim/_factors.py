"""Factors of the learning rate and of weight decay: by layer, and by group of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from .._checks import arguments as check
from .._checks.names import known_name
from .._types import Array

# The groups in the order of the C enum fastbp_group_t, and the parameters of each; all that a layer
# has besides is a constant of its activation.
GROUPS: dict[str, tuple[str, ...]] = {
    "weights": ("W",),
    "bias": ("b",),
    "norm": ("gain", "shift"),
    "constants": (),
    "scale": ("scale",),
    "embedding": ("frequencies", "phases", "projections", "offsets", "vectors"),
}
CONSTANTS = list(GROUPS).index("constants")
_LAYERS = "layers"

Test = Callable[[object, str], float]


class Factors(Mapping[str, "float | tuple[float, ...]"]):
    """Factors by group, and under "layers" one per layer; it does not change.

    >>> Factors({"bias": 0.1})
    {'bias': 0.1}
    """

    def __init__(self, factors: Mapping[str, float | tuple[float, ...]]) -> None:
        self._factors = dict(factors)

    def __getitem__(self, name: str) -> float | tuple[float, ...]:
        return self._factors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._factors)

    def __len__(self) -> int:
        return len(self._factors)

    def __repr__(self) -> str:
        return repr(self._factors)


def _by_layer(value: object, name: str, test: Test) -> tuple[float, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be one number per layer, such as (0.1, 1.0); got {value!r}")
    return tuple(test(x, f"{name}[{i}]") for i, x in enumerate(value))


def factors_of(test: Test) -> Callable[[object, str], tuple[float, ...] | Factors | None]:
    """The check of factors that are None, a sequence by layer, or a dict; `test` checks each."""

    def checked(value: object, name: str) -> tuple[float, ...] | Factors | None:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
                raise TypeError(
                    f"{name} must be one number per layer, such as (0.1, 1.0), or a dict of "
                    f"factors by group, such as {{'bias': 0.1}}; got {value!r}"
                )
            return _by_layer(value, name, test)
        found: dict[str, float | tuple[float, ...]] = {}
        for key, factor in value.items():
            group = known_name(f"group in {name}", key, (*GROUPS, _LAYERS))
            label = f"{name}[{group!r}]"
            by_layer = group == _LAYERS
            found[group] = _by_layer(factor, label, test) if by_layer else test(factor, label)
        return Factors(found)

    return checked


def plain(value: object) -> object:
    """Factors as a dict; anything else as it is."""
    return dict(value) if isinstance(value, Factors) else value


def count_layers(factors: tuple[float, ...] | Factors | None) -> int | None:
    """For how many layers there are factors; None if they are for any number.

    >>> count_layers((0.5, 1.0)), count_layers(Factors({"bias": 0.5}))
    (2, None)
    """
    by_layer = factors.get(_LAYERS) if isinstance(factors, Factors) else factors
    return len(by_layer) if isinstance(by_layer, tuple) else None


def table(factors: tuple[float, ...] | Factors | None, n_layers: int) -> Array:
    """The factor of each group of each layer, (n_layers, len(GROUPS)), float64.

    >>> table(Factors({"bias": 0.5, "layers": (1.0, 3.0)}), 2).tolist()
    [[1.0, 0.5, 1.0, 1.0, 1.0, 1.0], [3.0, 1.5, 3.0, 3.0, 3.0, 3.0]]
    """
    if not isinstance(factors, Factors):
        factors = Factors({} if factors is None else {_LAYERS: factors})
    groups = np.array([factors.get(group, 1.0) for group in GROUPS], dtype=np.float64)
    return np.outer(factors.get(_LAYERS, np.ones(n_layers)), groups)


def factor_tables(
    rates: tuple[float, ...] | Factors | None,
    decays: tuple[float, ...] | Factors | None,
    fan_in: Sequence[int] | None,
    power: float,
    decoupled: bool,
    n_layers: int,
) -> Array:
    """The factors as the engine reads them: of lr, and of weight_decay, (2, n_layers, groups).

    Parameters
    ----------
    rates, decays
        lr_factors and decay_factors of an optimiser.
    fan_in : sequence of int or None
        The inputs n of each layer, if W is trained as V/√n.
    power : float
        A step of V changes W as one of W with the rate lr · n^(−power) would.
    decoupled : bool
        Whether weight decay is θ ← (1 − lr·weight_decay) θ.
    n_layers : int
        The number of layers.
    """
    lr = table(rates, n_layers)
    decay = table(decays, n_layers)
    if decoupled:
        decay = decay * lr
    if fan_in is not None:
        n = np.asarray(fan_in, np.float64)
        weights = list(GROUPS).index("weights")
        lr[:, weights] *= n**-power
        if not decoupled:  # ∂/∂V (weight_decay/2) V² = weight_decay √n W, and ∂J/∂V = ∂J/∂W / √n
            decay[:, weights] *= n
    return np.stack([lr, decay])


rate_factors = factors_of(check.check_positive)
decay_factors = factors_of(check.check_nonnegative)
