"""The names of `matmul_precision`, the checks of them, and the name that new networks take."""

from __future__ import annotations

from typing import Any

import numpy as np

NAMES = ("highest", "high", "medium")  # the place of a name is its value in fastbp_precision_t
HIGHEST = NAMES[0]

_default = HIGHEST


def set_float32_matmul_precision(precision: str) -> None:
    """Set the `matmul_precision` of networks that are made without one.

    The function of PyTorch with this name takes the same names. Here it concerns the float32
    networks that are made after the call; a network that exists keeps its own `matmul_precision`,
    which can be set. The setting belongs to the process, whichever thread sets it.

    Parameters
    ----------
    precision : {"highest", "high", "medium"}
        How exact the factors of matrix products are: "highest" is float32, "high" has 16 bits,
        "medium" has 8, those of bfloat16. docs/numerics.md has the errors.

    Raises
    ------
    TypeError, ValueError
        If it is not one of these names.

    Examples
    --------
    >>> import fastbp
    >>> fastbp.set_float32_matmul_precision("high")
    >>> fastbp.Network((2, 1)).matmul_precision
    'high'
    >>> fastbp.Network((2, 1), dtype="float64").matmul_precision
    'highest'
    >>> fastbp.set_float32_matmul_precision("highest")
    """
    global _default
    _default = checked(precision, "precision")


def get_float32_matmul_precision() -> str:
    """Return the `matmul_precision` of networks that are made without one.

    It is "highest" unless `set_float32_matmul_precision` has set another.

    >>> get_float32_matmul_precision()
    'highest'
    """
    return _default


def checked(name: object, argument: str = "matmul_precision") -> str:
    """One of NAMES. Raises TypeError if it is not a string, ValueError for any other string.

    >>> checked("medium")
    'medium'
    """
    expected = f"{argument} must be {', '.join(map(repr, NAMES[:-1]))} or {NAMES[-1]!r}"
    if not isinstance(name, str):
        raise TypeError(f"{expected}; got {type(name).__name__}")
    if name not in NAMES:
        raise ValueError(f"{expected}; got {name!r}")
    return NAMES[NAMES.index(name)]  # a str, also for a subclass such as numpy.str_


def described(dtype: object, precision: str) -> str:
    """The dtype, and the precision if it is not "highest", for descriptions of networks.

    >>> described("float32", "highest"), described("float32", "medium")
    ('float32', 'float32, matmul_precision medium')
    """
    return str(dtype) if precision == HIGHEST else f"{dtype}, matmul_precision {precision}"


def settled(name: object, dtype: np.dtype[Any], *, rounds_float64: bool = False) -> str:
    """The precision of a network of that dtype.

    Parameters
    ----------
    name : str or None
        The argument of the network. None takes the default of the process, and "highest" for
        float64.
    dtype : numpy.dtype
        float32 or float64.
    rounds_float64 : bool, default False
        Whether a float64 network may round its factors.

    Raises
    ------
    TypeError, ValueError
        For another name, and for any but "highest" if dtype is float64 and rounds_float64 False.

    Examples
    --------
    >>> settled("high", np.dtype("float32")), settled(None, np.dtype("float64"))
    ('high', 'highest')
    """
    if name is None:
        return HIGHEST if dtype == np.float64 else _default
    precision = checked(name)
    if precision != HIGHEST and dtype == np.float64 and not rounds_float64:
        raise ValueError(
            f"a float64 network takes matmul_precision='highest' only; got {precision!r}: "
            "use dtype='float32', or leave matmul_precision out"
        )
    return precision
