"""The type of hooks, functions that see, change or replace δ between layers; see docs/hooks.md."""

from __future__ import annotations

from typing import Protocol

from ._types import Array

__all__ = ["Hook"]


class Hook(Protocol):
    """A function hook(l, delta) that a backward pass calls for l = L, L − 1, …, 1.

    `delta` is δ^l (batch, n_l), an array that the hook may write into. The hook returns None, or an
    array that replaces δ^l; the recursion and the gradients continue from the result.
    `Network.on_delta` sets a hook for all calls. `backward`, `backward_from` and `train_batch` take
    one for a single call.

    >>> import fastbp
    >>> def halve(l, delta):
    ...     delta *= 0.5
    >>> net = fastbp.Network((1, 1), init="zeros"); _ = net.forward([[3.0]])
    >>> J = net.backward([[2.0]], hook=halve); net.grad
    array([-3., -1.], dtype=float32)
    """

    def __call__(self, l: int, delta: Array, /) -> object: ...
