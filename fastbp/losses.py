"""The losses by name, with the code the C engine knows them by and the output they pair with.

The formulas stand in `csrc/kernels` and, to be read, in `fastbp.reference`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from . import _validation as check
from .activations import Activation

# name: (code, output activation it is computed from the logits with, or None)
_TABLE: dict[str, tuple[int, str | None]] = {
    "squared_error": (0, None),
    "mse": (1, None),
    "binary_cross_entropy": (2, "sigmoid"),
    "cross_entropy": (3, "softmax"),
}

NAMES: tuple[str, ...] = tuple(_TABLE)


@dataclass(frozen=True)
class Loss:
    """A loss function: its name, and `param` for those that have one (none of them yet).

    Raises ValueError for an unknown name.

    >>> Loss("cross_entropy").labels
    True
    """

    name: str
    param: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in _TABLE:
            raise check.unknown_name("loss", self.name, NAMES)
        if self.param != 0:
            raise ValueError(f"{self.name} takes no parameter; got {self.param}")

    @property
    def code(self) -> int:
        """The number of this loss in the C enum."""
        return _TABLE[self.name][0]

    @property
    def labels(self) -> bool:
        """Whether targets may be class indices."""
        return self.name == "cross_entropy"

    @property
    def pair(self) -> str | None:
        """Name of the output activation with which delta^L = a - y, computed from the logits."""
        return _TABLE[self.name][1]

    def pairs_with(self, output: Activation) -> bool:
        """Whether the loss is fused with this output activation.

        >>> Loss("binary_cross_entropy").pairs_with(Activation("sigmoid"))
        True
        """
        return self.pair == output.name

    def __str__(self) -> str:
        return self.name


def resolve(spec: str | Loss) -> Loss:
    """The Loss meant by a name or a Loss itself; ValueError, listing the names, if unknown.

    >>> resolve("mse").code
    1
    """
    if isinstance(spec, Loss):
        return spec
    name, param = check.split_spec(spec, "loss", NAMES)
    return Loss(name) if param is None else Loss(name, param)


def warn_unpaired(loss: Loss, output: Activation, *, stacklevel: int = 3) -> None:
    """UserWarning when a logarithmic loss is put on outputs that are not in (0, 1).

    It names the paired output; `stacklevel` 3 points at the caller of a constructor.
    """
    if loss.pair is not None and output.name not in ("softmax", "sigmoid"):
        warnings.warn(
            f"{loss.name} takes the logarithm of outputs in (0, 1), and those of {output} are "
            f"clipped to them, with no gradient outside: use output='{loss.pair}'",
            UserWarning,
            stacklevel=stacklevel,
        )
