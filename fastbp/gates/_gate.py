"""`Gate`, the class of all gates: what users do with a formula."""

from __future__ import annotations

import keyword
from typing import cast

from .._types import Array
from ._derive import derivative
from ._graph import Node, leaf
from ._merge import merged
from ._text import readable_text, short_text
from ._trace import Trace


class Gate(Node):
    """A formula: an input, a constant, or an operation on other gates.

    Gates are made with `fastbp.gates.inputs`, the operators + − * / ** < <= > >= and abs(), and the
    functions of `fastbp.gates`. The other operand of an operator may be a gate, a number or an
    array, and shapes broadcast as in NumPy. Equal formulas are the same object, so `==` and `is`
    agree. A gate never changes.

    Attributes
    ----------
    operation : str
        The name of the operation, such as "mul"; "input", "number" or "array" for what has no
        operands.
    operands : tuple of Gate
        What the operation computes with, in the order in which it was written.
    data : str, float, ndarray or None
        The name of an input, or the value of a number or array.
    number : int
        Operands have lower numbers than the gates that use them.

    Examples
    --------
    >>> from fastbp import gates
    >>> x, y, z = gates.inputs("x", "y", "z")
    >>> f = (x + y) * z
    >>> f is (x + y) * z
    True
    >>> f.operation, f.inputs, f.count()
    ('mul', ('x', 'y', 'z'), 2)
    >>> f.trace(x=-2, y=5, z=-4).value
    -12.0
    >>> f
    Gate('(x + y) * z')

    `str` shows the whole formula. If it is long, parts that are used more than once get names.

    >>> print(gates.sigmoid(-x) ** 2 + 1)
    sigmoid(-x) ** 2 + 1
    """

    __slots__ = ()

    def __str__(self) -> str:
        return readable_text(self)

    def __repr__(self) -> str:
        return f"Gate({short_text(self)!r})"

    def trace(self, /, **values: float | Array) -> Trace:
        """Compute the values of all gates for these values of the inputs.

        Parameters
        ----------
        **values : float or array-like
            One value for each input, by its name: a number or an array of real or complex numbers.
            They are computed with as float64 or complex128. Shapes broadcast as in NumPy; the last
            axis holds the outputs of a row.

        Returns
        -------
        Trace
            All values; its `gradient()` walks back.

        Raises
        ------
        TypeError
            If an input has no value, if there is no input of a name, or if a value does not consist
            of numbers.
        ValueError
            If shapes do not broadcast, or if an array has rows without outputs.

        Examples
        --------
        >>> from fastbp import gates
        >>> x, y, z = gates.inputs("x", "y", "z")
        >>> trace = ((x + y) * z).trace(x=-2, y=5, z=-4)
        >>> trace.value
        -12.0
        >>> trace.gradient()
        {'x': -4.0, 'y': -4.0, 'z': 3.0}
        """
        return Trace(self, values)

    def derivative(self, name: str) -> Gate:
        """Return the derivative with respect to one input as a formula again.

        Derivatives of derivatives are second derivatives.

        Parameters
        ----------
        name : str
            The name of the input.

        Returns
        -------
        Gate
            The derivative of the sum of all elements of the value with respect to the input, in the
            shape of the input, as `Trace.gradient` computes it. Where an input may be smaller than
            the formula because shapes broadcast, ``sum_like(g, x)`` sums g to the shape of x;
            ``broadcast_like(g, x)`` repeats g in the shape of x.

        Raises
        ------
        ValueError
            If there is no input of this name.

        Examples
        --------
        >>> from fastbp import gates
        >>> (x,) = gates.inputs("x")
        >>> slope = (3 * (2 * x**2) ** 5).derivative("x")
        >>> slope.trace(x=2).value == 960 * 2**9
        True
        >>> slope.derivative("x").trace(x=1).value
        8640.0
        """
        return cast(Gate, derivative(self, name))

    def merged(self) -> Gate:
        """Return the same formula with parts that have a closed form joined into one gate.

        Recognised are sigmoid, tanh, softplus, log-sum-exp, softmax, square, sqrt, reciprocal, abs,
        relu, silu, mish, gelu_tanh, expm1, log1p, sinh, cosh, tan, cot, sec and csc, from the ways
        in which people write them. Numbers are computed, and double signs, products with 1 and sums
        with 0 disappear.

        Returns
        -------
        Gate
            A formula with the same inputs, values and gradients but for rounding, defined for the
            same values. Where the given formula overflows or cancels, the merged one is accurate.

        Notes
        -----
        Only identities of the real numbers are used that hold wherever the given formula is
        defined, and nowhere else: ``exp(log(x))``, ``x * 0`` and ``x / x`` stay as they are.

        Merge a formula before its derivative is taken: the derivative of the merged formula is
        accurate too, and a derivative is not written as people write, so less of it is recognised.

        Examples
        --------
        >>> from fastbp import gates
        >>> (x,) = gates.inputs("x")
        >>> p = 1 / (1 + gates.exp(-x))
        >>> print(p.merged(), gates.log(p).merged())
        sigmoid(x) -softplus(-x)
        >>> gates.log(p).trace(x=-1000).value, gates.log(p).merged().trace(x=-1000).value
        (-inf, -1000.0)
        >>> p.count(), p.merged().count()
        (4, 1)
        """
        return cast(Gate, merged(self))


def inputs(*names: str) -> tuple[Gate, ...]:
    """Return one gate for each input of a formula.

    Parameters
    ----------
    *names : str
        The names, each a Python identifier. `Gate.trace` takes the values by these names.

    Returns
    -------
    tuple of Gate
        As many gates as names, also for one name.

    Raises
    ------
    TypeError
        If a name is not a string.
    ValueError
        If there is no name, if a name is not an identifier, or if a name comes twice.

    Examples
    --------
    >>> from fastbp import gates
    >>> x, y = gates.inputs("x", "y")
    >>> (w,) = gates.inputs("w")
    >>> (w * x + y).trace(w=3, x=2, y=1).value
    7.0
    """
    if not names:
        raise ValueError('inputs() takes at least one name, as in x, y = inputs("x", "y")')
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"the name of an input must be a string; got {name!r}")
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(
                f"the name of an input must be a Python identifier, one name per argument as in "
                f'inputs("x", "y"); got {name!r}'
            )
    if len(set(names)) < len(names):
        raise ValueError(f"every input needs a name of its own; got {', '.join(names)}")
    return tuple(cast(Gate, leaf("input", name)) for name in names)
