"""The check of the shape of rows, dense or sparse."""

from __future__ import annotations

from .words import counted


def check_row_shape(
    shape: tuple[int, ...], n_cols: int, name: str, where: str, verb: str = "takes"
) -> None:
    """ValueError unless the shape is (n, n_cols) with n >= 1.

    Parameters
    ----------
    shape : tuple of int
        The shape of the rows.
    n_cols : int
        How many columns they must have.
    name, where : str
        The names of the rows and of the width of the network that they must have, for messages.
    verb : {"takes", "has"}
        "takes" for inputs of the network, "has" for its outputs.

    Examples
    --------
    >>> check_row_shape((2, 5), 4, "X", "widths[0]")
    Traceback (most recent call last):
    ValueError: X has 5 columns; the network takes 4 (widths[0])
    """
    if len(shape) == 1 and n_cols == 1:
        raise ValueError(f"{name} must be 2-D; got 1-D: write {name}[:, None] for one column")
    if len(shape) == 1 and shape[0] == n_cols:
        raise ValueError(f"{name} must be 2-D; got 1-D: write {name}[None, :] for one sample")
    if len(shape) != 2:
        raise ValueError(
            f"{name} must be 2-D, (samples, {n_cols}); got {len(shape)}-D, shape {shape}"
        )
    if shape[1] != n_cols:
        raise ValueError(
            f"{name} has {counted(shape[1], 'column')}; the network {verb} {n_cols} ({where})"
        )
    if shape[0] == 0:
        raise ValueError(f"{name} has no rows; give at least one sample")
