"""The hook between layers: δ read, changed or replaced on its way down; see `docs/hooks.md`.

What both kinds of Network share. A hook is a function `hook(l, delta)`, called in a backward pass
with l = L, L − 1, …, 1 and δ^l (batch, n_l), an array that it may write into. It returns None, or
an array to take the place of δ^l. The recursion and the gradients go on from what it leaves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from ._checks import arguments as check
from ._types import Array

__all__ = ["Hook"]

Hook = Callable[[int, Array], object]
"""A function hook(l, delta) that sees, changes or replaces δ^l in a backward pass."""


class Hooks(ABC):
    """`on_delta` and `pull_back`; a mixin of Network."""

    widths: tuple[int, ...]
    dtype: np.dtype
    layers: tuple
    _hook: Hook | None = None
    _in_hook = False

    def on_delta(self, hook: Hook | None) -> Hook | None:
        """Let every backward pass from now on call hook(l, delta); None lets it end.

        The hook is called for l = L, …, 1 with δ^l (batch, n_l), before δ^{l−1} is made from it:
        it may write into delta, or return an array to take its place. It holds for `backward`,
        `backward_from`, `value_and_grad`, `train_batch` and `fit`, which then goes batch by batch
        through Python. One hook at a time; copies and files of the network do not have it.
        Returns the hook, so that it may be used as a decorator. Raises TypeError for what cannot
        be called.

        >>> import fastbp
        >>> net = fastbp.Network((1, 1, 1), activation="identity", seed=0)
        >>> @net.on_delta
        ... def report(l, delta):
        ...     print("layer", l, delta.shape)
        >>> _ = net.forward([[3.0]]); _ = net.backward([[2.0]])
        layer 2 (1, 1)
        layer 1 (1, 1)
        >>> net.on_delta(None)
        """
        self._hook = None if hook is None else _callable(hook)
        return hook

    def pull_back(self, l: int, g: object) -> Array:
        """g ⊙ σ_l'(z^l) by the last forward pass: ∂J/∂z^l (batch, n_l) from g = ∂J/∂a^l.

        For hooks that make a δ^l of their own. l = 1 … L; of softmax it is the whole Jacobian
        product. Raises RuntimeError before a forward, TypeError or ValueError for an l or g that
        does not fit.

        >>> import fastbp
        >>> net = fastbp.Network((1, 2, 1), seed=0); net.layers[0].b = [1.0, -1.0]
        >>> _ = net.forward([[0.0]]); net.pull_back(1, [[5.0, 5.0]])
        array([[5., 0.]], dtype=float32)
        """
        n = self._rows_forwarded()
        l = check.check_positive_int(l, "l")
        if l >= len(self.widths):
            raise ValueError(f"l must be a layer, 1 to {len(self.widths) - 1}; got {l}")
        told = {"name": "g", "where": f"widths[{l}]", "rows_of": "the last forward"}
        return self._pull_back(l, check.as_rows(g, n, self.widths[l], self.dtype, **told))

    def _hook_for(self, hook: Hook | None) -> Hook | None:
        """The hook of one call: its own, or the network's."""
        return self._hook if hook is None else _callable(hook)

    def _call_hook(self, hook: Hook, l: int, delta: Array) -> None:
        """Show δ^l, and put what the hook makes of it in its place."""
        self.layers[l - 1].show_delta(delta)
        self._in_hook = True
        try:
            given = hook(l, delta)
        finally:
            self._in_hook = False
        if given is None or given is delta:
            return
        name, where = "the delta that the hook returned", f"widths[{l}]"
        told = {"name": name, "where": where, "rows_of": "the batch"}
        delta[...] = check.as_rows(given, len(delta), self.widths[l], self.dtype, **told)

    def _hide_delta(self) -> None:
        """Back to the state after forward, where a hook has failed half-way."""
        for layer in self.layers:
            layer.show_forward(layer.z, layer.a)

    def _not_in_hook(self) -> None:
        if self._in_hook:
            raise RuntimeError(
                "a hook runs within a backward pass of its network, which cannot start another: "
                "use predict or loss there, or another network"
            )

    def _hook_of_fit(self, part_rows: int) -> Hook | None:
        """The hook that a fit has to call; ValueError for a fit that cannot call it."""
        if self._hook is not None:
            self._no_dropout()
        if self._hook is not None and part_rows > 0:
            raise ValueError(
                "accumulate adds up gradients where no hook is called: leave accumulate out, or "
                "take the hook away with net.on_delta(None)"
            )
        return self._hook

    def _no_dropout(self) -> None:
        if self.input_dropout > 0 or any(layer.dense.dropout > 0 for layer in self.layers):
            raise ValueError(
                "training with a hook goes through the stored passes, which drop nothing, and "
                "this network has dropout: train it without a hook"
            )

    @abstractmethod
    def _rows_forwarded(self) -> int:
        """Rows of the last forward; RuntimeError before it."""

    @abstractmethod
    def _pull_back(self, l: int, g: Array) -> Array:
        """The same of a checked g, which stays as it is."""


def _callable(hook: Hook) -> Hook:
    if not callable(hook):
        raise TypeError(f"a hook must be a function of (l, delta); got {hook!r}")
    return hook
