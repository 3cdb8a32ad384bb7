"""A page that walks one sample through a small network, forward and back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._network.walk import Walk
    from .._page.picture import Picture

MAX_UNITS = 12  # of a layer
MAX_LAYERS = 8


class WalkPage:
    """A page for browsers and notebooks: one sample through a network, step by step.

    `walk` makes it. A notebook shows it, and `to_html` writes it to a file.

    Attributes
    ----------
    walk : Walk
        The numbers, as `Network.walk` returns them.
    """

    def __init__(self, walk: Walk) -> None:
        self.walk = walk

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the page as a whole HTML document, and write it to a file if there is a path.

        The document loads nothing from elsewhere. Raises OSError if the file cannot be written.
        """
        from .._files.atomic import write_text
        from .._page.page import document

        text = document(self._picture())
        if path is not None:
            write_text(path, text)
        return text

    def _repr_html_(self) -> str:
        """The page for notebooks."""
        from .._page.page import fragment

        return fragment(self._picture())

    def _picture(self) -> Picture:
        from ._walk_picture import picture

        return picture(self.walk)

    def __repr__(self) -> str:
        return f"WalkPage({self.walk!r})"


def walk(net: Any, x: object, y: object) -> WalkPage:
    """Show one sample in a small network, forward and back, as a page with buttons.

    z, a, δ and dW appear layer by layer, with their formulas filled in with numbers. The network
    stays as it is.

    Parameters
    ----------
    net : Network
        A network with at most 12 units in each layer and at most 8 layers.
    x : array-like of shape (n_0,)
        The sample.
    y : number, class number, or array-like of shape (n_L,)
        Its target.

    Returns
    -------
    WalkPage
        The page. A notebook shows it; `to_html(path)` writes it.

    Raises
    ------
    TypeError, ValueError
        If the network is too large, or as `Network.walk` raises them.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network((2, 3, 1), activation="tanh", seed=0)
    >>> page = fastbp.plot.walk(net, [0.5, -1.0], 1.0)
    >>> text = page.to_html("walk.html")
    >>> text.startswith("<!doctype html>")
    True
    """
    widths = net.widths
    if max(widths) > MAX_UNITS or len(widths) > MAX_LAYERS + 1:
        raise ValueError(
            f"the page shows networks with at most {MAX_UNITS} units in a layer and {MAX_LAYERS} "
            f"layers; this one is {'-'.join(map(str, widths))}: print(net.walk(x, y)) shows the "
            "same as text, and NetworkDisplay draws a part of wide layers"
        )
    return WalkPage(net.walk(x, y))
