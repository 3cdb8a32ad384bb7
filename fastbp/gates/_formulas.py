"""Activations and losses that are formulas: graphs of gates with the programs that compute them."""

from __future__ import annotations

import inspect
import keyword
import linecache
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import tee
from types import MappingProxyType, TracebackType
from typing import Any, Literal, NoReturn, TypeAlias, cast

from .._checks import arguments as check
from .._checks.names import comma_parts, unknown_name
from .._types import Array
from ._compile import (
    SEED,
    ActivationGraphs,
    LossGraphs,
    activation_graphs,
    along,
    check_activation,
    check_loss,
    compile_activation,
    compile_loss,
    loss_graphs,
)
from ._evaluate import check_rows, evaluated, one_for_each, repeated, same_precision
from ._gate import Gate, inputs
from ._graph import Node
from ._operations import OPERATIONS
from ._program import Program
from ._text import MAX_CHARACTERS, expression_text, parse_expression

Per: TypeAlias = Literal["layer", "unit"]
PER = ("layer", "unit")
TARGETS = ("numbers", "classes")

MAX_CONSTANTS = 8
_MAX_TEXT = MAX_CHARACTERS + 2000  # of a formula with its options
# Names that the parameters of a layer and the inputs of formulas have.
_LAYERS = ("W", "b", "gain", "shift")
_TAKEN = frozenset({*_LAYERS, "z", "a", "y", "delta", "per", *OPERATIONS})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORMULA = re.compile(r"\s*formula\s*\((.*)\)\s*", re.DOTALL)
_OPTION = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*([A-Za-z0-9_.+()-]+)\s*")
_SCORE = re.compile(r"[A-Za-z0-9_]+(\([0-9]+\))?")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class _Formula:
    """What activations and losses have in common: a gate, its text, and identity by both."""

    gate: Gate
    """The formula as it was written."""

    @cached_property
    def text(self) -> str:
        """The formula as text, such as "z * sigmoid(beta * z)"."""
        return expression_text(self.gate)

    def _key(self) -> tuple[object, ...]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a formula never changes; {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a formula never changes; {name} cannot be deleted")


class ActivationFormula(_Formula):
    """An activation a = f(z; c, …) as a formula, with trained constants c.

    `activation` makes it of a function. It goes wherever an activation's name goes. Two formulas
    are equal if their text, their constants and `per` are.

    Parameters
    ----------
    formula : str or Gate
        The formula of z and the constants, which has one number per element of z: no sums over the
        outputs and no arrays.
    per : {"layer", "unit"}
        Whether each constant is one number per layer, or one per unit.
    **constants : float
        The names of the constants and their initial values.

    Raises
    ------
    TypeError
        If the formula is neither a string nor a Gate, or a constant is not a number.
    ValueError
        If the text is no formula, or if a program cannot compute it. The message shows the place.

    Examples
    --------
    >>> from fastbp import gates
    >>> swish = gates.ActivationFormula("z * sigmoid(beta * z)", beta=1.0)
    >>> swish.text, swish.constants, swish.per
    ('z * sigmoid(beta * z)', {'beta': 1.0}, 'layer')
    >>> str(swish)
    'formula(z * sigmoid(beta * z), beta=1.0)'
    """

    per: Per
    """Whether each constant is one number per layer, or one per unit."""
    _constants: Mapping[str, float]

    def __init__(self, formula: str | Gate, /, *, per: Per = "layer", **constants: float) -> None:
        checked = _checked_constants(constants)
        if per not in PER:
            raise unknown_name("per", per, PER)
        names = ("z", *checked)
        gate = parse_expression(formula, names) if isinstance(formula, str) else formula
        if not isinstance(gate, Gate):
            kind = type(formula).__name__
            raise TypeError(f"formula must be a text or a Gate; got {kind}")
        check_activation(gate, tuple(checked))
        vars(self).update(gate=gate, per=per, _constants=MappingProxyType(checked))
        _check_text_and_programs(self)

    @property
    def constants(self) -> dict[str, float]:
        """The trained constants: name → initial value."""
        return dict(self._constants)

    @property
    def merged_gate(self) -> Gate:
        """The formula after `Gate.merged`, which is what is computed."""
        return cast(Gate, self._graphs.value[0])

    @property
    def _graphs(self) -> ActivationGraphs:
        return self._made[0]

    @cached_property
    def _made(self) -> tuple[ActivationGraphs, tuple[Program, Program, Program, Program]]:
        names = tuple(self._constants)
        graphs, same = tee(activation_graphs(self.gate, names))
        programs = compile_activation(graphs, names, self.per)
        return ActivationGraphs(*same), programs

    def programs(self) -> tuple[Program, Program, Program, Program]:
        """Return the programs value, slope, push and curve.

        With g = ∂J/∂a, and R{x} for the derivative of x along a direction, they compute

        ===== ============================= ====================================
        value z, c, …                       a
        slope z, c, …, g                    g ∂f/∂z, g ∂f/∂c, …
        push  z, c, …, R{z}, R{c}, …        R{a}
        curve z, c, …, g, R{z}, R{c}, … R{g} R{g ∂f/∂z}, R{g ∂f/∂c}, …
        ===== ============================= ====================================
        """
        return self._made[1]

    # ---- the same in NumPy ----------------------------------------------------------------

    def value(self, z: Array, constants: Sequence[Array] = ()) -> Array:
        """Return a = f(z), computed in NumPy.

        Parameters
        ----------
        z : array_like, shape (n, n_out)
            Real or complex. All is computed in its dtype, float64 for integers, complex if another
            array is complex. Other shapes are allowed: a has the shape of z.
        constants : sequence of array_like
            A value for each constant, which broadcasts to the shape of z.

        Raises
        ------
        TypeError
            If an array does not consist of numbers.
        ValueError
            If a constant has no value, or an array does not broadcast to the shape of z.
        """
        return self._computed(self._graphs.value, z, {}, constants)[0]

    def slope(self, z: Array, constants: Sequence[Array], g: Array) -> list[Array]:
        """Return g ∂f/∂z, then g ∂f/∂c for every constant c, all in the shape of z.

        `g` is ∂J/∂a, of the shape of z; the other parameters are those of `value`.
        """
        return self._computed(self._graphs.slope, z, {SEED: g}, constants)

    def push(self, z: Array, constants: Sequence[Array], rz: Array, rc: Sequence[Array]) -> Array:
        """Return R{a}, the derivative of a along a direction.

        Parameters
        ----------
        z : ndarray, shape (n, n_out)
            Real or complex.
        constants : sequence of array_like
            A value for each constant, which broadcasts against z.
        rz : ndarray, shape (n, n_out)
            The direction of z.
        rc : sequence of array_like
            The directions of the constants.
        """
        given = {along("z"): rz, **self._along(rc)}
        return self._computed(self._graphs.push, z, given, constants)[0]

    def curve(
        self,
        z: Array,
        constants: Sequence[Array],
        g: Array,
        rz: Array,
        rc: Sequence[Array],
        rg: Array,
    ) -> list[Array]:
        """Return the derivatives of what `slope` returns along a direction.

        Parameters
        ----------
        z : ndarray, shape (n, n_out)
            Real or complex.
        constants : sequence of array_like
            A value for each constant, which broadcasts against z.
        g : ndarray, shape (n, n_out)
            ∂J/∂a.
        rz : ndarray, shape (n, n_out)
            The direction of z.
        rc : sequence of array_like
            The directions of the constants.
        rg : ndarray, shape (n, n_out)
            The direction of g.
        """
        given = {SEED: g, along("z"): rz, **self._along(rc), along(SEED): rg}
        return self._computed(self._graphs.curve, z, given, constants)

    def _along(self, rc: Sequence[Array]) -> dict[str, object]:
        return one_for_each([along(name) for name in self._constants], rc, "rc")

    def _computed(
        self,
        graphs: Sequence[Node],
        z: Array,
        given: Mapping[str, object],
        constants: Sequence[Array],
    ) -> list[Array]:
        values = one_for_each(self._constants, constants, "constants")
        arrays = repeated(same_precision({"z": z, **values, **given}))
        return evaluated(graphs, arrays, arrays["z"])

    # ---- identity -------------------------------------------------------------------------

    def __str__(self) -> str:
        options = [f"{name}={value!r}" for name, value in self._constants.items()]
        options += ["per=unit"] * (self.per == "unit")
        return f"formula({', '.join([self.text, *options])})"

    def __repr__(self) -> str:
        options = ['per="unit"'] * (self.per == "unit")
        options += [f"{name}={value!r}" for name, value in self._constants.items()]
        return f"ActivationFormula({', '.join([repr(self.text), *options])})"

    def _key(self) -> tuple[object, ...]:
        return self.gate, tuple(self._constants.items()), self.per

    def __reduce__(self) -> tuple[Any, ...]:
        return ActivationFormula._from_text, (str(self),)

    @classmethod
    def _from_text(cls, text: str) -> ActivationFormula:
        formula, options = _split(text, "an activation")
        per = options.pop("per", "layer")
        return cls(formula, per=per, **{n: _as_number(n, v) for n, v in options.items()})  # type: ignore[arg-type]


class LossFormula(_Formula):
    """A loss J_i = f(a, y) of one row as a formula.

    `loss` makes it of a function. It goes wherever a loss's name goes. Two formulas are equal if
    their text, `targets` and `score` are.

    Parameters
    ----------
    formula : str or Gate
        The formula of the outputs a and the targets y of a row, which gives one number: a sum,
        mean, max or logsumexp over the outputs, or a function of such.
    targets : {"numbers", "classes"}
        What y is: one number per output, or a class, of which the formula gets the one-hot row.
    score : str or None, default None
        The metric that is `val_score` in the logs of a fit, as in `loss`.

    Raises
    ------
    TypeError
        If the formula is neither a string nor a Gate, or `score` is not a string.
    ValueError
        If the text is no formula, or if a program cannot compute it. The message shows the place.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import gates
    >>> loss = gates.LossFormula("sum((a - y) ** 2)")
    >>> str(loss)
    'formula(sum((a - y) ** 2))'
    >>> loss.value(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]]))
    array([5.])
    >>> loss.gradient(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]]))
    array([[2., 4.]])
    """

    targets: str
    """What y is: "numbers" or "classes"."""
    score: str | None
    """The metric that is `val_score`, by name."""

    def __init__(
        self, formula: str | Gate, /, *, targets: str = "numbers", score: str | None = None
    ) -> None:
        if targets not in TARGETS:
            raise unknown_name("targets", targets, TARGETS)
        gate = parse_expression(formula, ("a", "y")) if isinstance(formula, str) else formula
        if not isinstance(gate, Gate):
            raise TypeError(f"formula must be a text or a Gate; got {type(formula).__name__}")
        check_loss(gate)
        vars(self).update(gate=gate, targets=targets, score=_checked_score(score))
        _check_text_and_programs(self)

    @property
    def merged_gate(self) -> Gate:
        """The formula after `Gate.merged`, which is what is computed."""
        return cast(Gate, self._graphs.value[0])

    @property
    def _graphs(self) -> LossGraphs:
        return self._made[0]

    @cached_property
    def _made(self) -> tuple[LossGraphs, tuple[Program, Program, Program]]:
        graphs, same = tee(loss_graphs(self.gate))
        programs = compile_loss(graphs)
        return LossGraphs(*same), programs

    def programs(self) -> tuple[Program, Program, Program]:
        """Return the programs value, slope and curve.

        ===== ========== ==========
        value a, y       J_i
        slope a, y       J_i, ∂J_i/∂a
        curve a, y, R{a} R{∂J_i/∂a}
        ===== ========== ==========
        """
        return self._made[1]

    # ---- the same in NumPy ----------------------------------------------------------------

    def value(self, a: Array, y: Array) -> Array:
        """Return J_i, (n,), for outputs and targets (n, n_out).

        Like `gradient` and `curve`, it computes in the dtype of a, float64 for integers. Raises
        ValueError if a is no matrix, or if another array has another shape.
        """
        arrays = self._checked({"a": a, "y": y})
        (found,) = evaluated(self._graphs.value, arrays, arrays["a"][:, :1])
        return found[:, 0]

    def gradient(self, a: Array, y: Array) -> Array:
        """Return ∂J_i/∂a, (n, n_out)."""
        arrays = self._checked({"a": a, "y": y})
        return evaluated(self._graphs.slope[1:], arrays, arrays["a"])[0]

    def curve(self, a: Array, y: Array, ra: Array) -> Array:
        """Return the derivative of ∂J_i/∂a along R{a} = ra, (n, n_out)."""
        arrays = self._checked({"a": a, "y": y, along("a"): ra})
        return evaluated(self._graphs.curve, arrays, arrays["a"])[0]

    @staticmethod
    def _checked(given: Mapping[str, object]) -> dict[str, Array]:
        arrays = same_precision(given)
        check_rows(arrays)
        return arrays

    # ---- identity -------------------------------------------------------------------------

    def __str__(self) -> str:
        targets = ", targets=classes" * (self.targets == "classes")
        return f"formula({self.text}{targets}{self._score()})"

    def __repr__(self) -> str:
        targets = f", targets={self.targets!r}" * (self.targets != "numbers")
        score = f", score={self.score!r}" * (self.score is not None)
        return f"LossFormula({self.text!r}{targets}{score})"

    def _score(self) -> str:
        return "" if self.score is None else f", score={self.score}"

    def _key(self) -> tuple[object, ...]:
        return self.gate, self.targets, self.score

    def __reduce__(self) -> tuple[Any, ...]:
        return LossFormula._from_text, (str(self),)

    @classmethod
    def _from_text(cls, text: str) -> LossFormula:
        formula, options = _split(text, "a loss")
        targets, score = options.pop("targets", "numbers"), options.pop("score", None)
        if options:
            raise ValueError(
                f"a loss takes no {next(iter(options))}; it takes targets=classes and score=..."
            )
        return cls(formula, targets=targets, score=score)


# ---- formulas of functions ----------------------------------------------------------------


def activation(
    function: Callable[..., Gate], /, *, per: Per = "layer", **constants: float
) -> ActivationFormula:
    """Return a function of z as an activation, which networks compute at the engine's speed.

    Parameters
    ----------
    function : callable
        Gets a gate for z and, by name, one for each constant, and returns a gate. It is called
        once. It may use operators and the functions of `fastbp.gates`, element by element: no sums
        over the outputs and no arrays.
    per : {"layer", "unit"}
        Whether each constant is one number per layer, or one per unit.
    **constants : float
        Trained constants: the names of parameters of the function and their initial values. At most
        8, and no name of a layer's parameters such as W and b, and none of an operation.

    Returns
    -------
    ActivationFormula

    Raises
    ------
    TypeError
        If the parameters of the function do not fit, or it does not return a gate.
    ValueError
        If a program cannot compute the formula. The message shows the place.

    Examples
    --------
    >>> from fastbp import gates
    >>> swish = gates.activation(lambda z, beta: z * gates.sigmoid(beta * z), beta=1.0)
    >>> print(swish)
    formula(z * sigmoid(beta * z), beta=1.0)
    """
    checked = _checked_constants(constants)
    example = "gates.activation(lambda z, beta: z * gates.sigmoid(beta * z), beta=1.0)"
    z, *rest = inputs("z", *checked)
    gate = _called(function, (z,), dict(zip(checked, rest, strict=True)), example)
    return ActivationFormula(gate, per=per, **checked)


def loss(
    function: Callable[[Gate, Gate], Gate],
    /,
    *,
    targets: str = "numbers",
    score: str | None = None,
) -> LossFormula:
    """Return a function of outputs and targets as a loss, computed at the engine's speed.

    Parameters
    ----------
    function : callable
        Gets gates for the outputs a and the targets y of a row, and returns a gate with one number
        per row: a sum, mean, max or logsumexp over the outputs, or a function of such. It is called
        once.
    targets : {"numbers", "classes"}
        What y is: one number per output, or a class, of which the formula gets the one-hot row.
    score : str or None, default None
        The metric of `fastbp.metrics` that is `val_score` in the logs of a fit, such as "r2",
        "accuracy", "binary_accuracy" or "sign_accuracy". None means that there is none.

    Returns
    -------
    LossFormula

    Raises
    ------
    TypeError
        If the function does not take two arguments, or does not return a gate, or if `score` is not
        a string.
    ValueError
        If a program cannot compute the formula. The message shows the place.

    Examples
    --------
    >>> from fastbp import gates
    >>> print(gates.loss(lambda a, y: gates.mean((a - y) ** 2)))
    formula(mean((a - y) ** 2))
    >>> print(gates.loss(lambda a, y: gates.mean((a - y) ** 2), score="r2"))
    formula(mean((a - y) ** 2), score=r2)
    """
    gate = _called(function, inputs("a", "y"), {}, "gates.loss(lambda a, y: gates.sum((a - y)**2))")
    return LossFormula(gate, targets=targets, score=score)


def prelu(alpha: float = 0.25, per: Per = "layer") -> ActivationFormula:
    """Return z for z > 0 and alpha z otherwise, with a trained alpha.

    Parameters
    ----------
    alpha : float
        The initial value.
    per : {"layer", "unit"}
        Whether alpha is one number per layer, or one per unit.

    Returns
    -------
    ActivationFormula

    References
    ----------
    He et al., "Delving Deep into Rectifiers", ICCV 2015, arXiv:1502.01852.

    Examples
    --------
    >>> from fastbp import gates
    >>> print(gates.prelu(0.1, per="unit"))
    formula(where(z > 0, z, alpha * z), alpha=0.1, per=unit)
    """
    return ActivationFormula("where(z > 0, z, alpha * z)", per=per, alpha=alpha)


def parse_activation(text: str) -> ActivationFormula:
    """Return the activation of a text such as "formula(z * sigmoid(beta * z), beta=1.0)".

    ValueError if it is no such text or a program cannot compute it.
    """
    return ActivationFormula._from_text(text)


def parse_loss(text: str) -> LossFormula:
    """Return the loss of a text such as "formula(sum((a - y) ** 2))"; ValueError as above."""
    return LossFormula._from_text(text)


# ---- checks -------------------------------------------------------------------------------


def _check_text_and_programs(formula: ActivationFormula | LossFormula) -> None:
    """ValueError for a formula that is too large for a text or for a program."""
    expression_text(formula.gate)
    formula.programs()


def _checked_score(score: object) -> str | None:
    """The name of a score, in lower case; networks check that there is a metric of that name."""
    if score is None:
        return None
    if not isinstance(score, str):
        raise TypeError(
            f"score must be the name of a metric, such as 'r2', which model files can hold; got "
            f"{score!r}: pass a function to fit(metrics=...)"
        )
    if not _SCORE.fullmatch(score):
        raise ValueError(f"score must be the name of a metric, such as 'r2'; got {score!r}")
    return score.lower()


def _checked_constants(constants: Mapping[str, object]) -> dict[str, float]:
    """The constants with their initial values, if their names and values are allowed."""
    if len(constants) > MAX_CONSTANTS:
        raise ValueError(
            f"an activation has at most {MAX_CONSTANTS} trained constants; got {len(constants)}"
        )
    for name in constants:
        if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name in _TAKEN:
            what = "is no name of ASCII letters, digits and _"
            if name in _TAKEN:
                what = (
                    "is a parameter of layers" if name in _LAYERS else "has a meaning in formulas"
                )
            raise ValueError(f"the constant {name!r} {what}; choose another name, such as beta")
    return {
        name: check.check_real(value, f"the constant {name}") for name, value in constants.items()
    }


def _split(text: str, kind: str) -> tuple[str, dict[str, str]]:
    """The formula and the options of a text "formula(..., name=value, ...)"."""
    if not isinstance(text, str):
        raise TypeError(f"{kind} must be a text; got {type(text).__name__}")
    if len(text) > _MAX_TEXT:
        raise ValueError(f"{kind} as text has at most {_MAX_TEXT:,} characters; got {len(text):,}")
    match = _FORMULA.fullmatch(text)
    if match is None:
        raise ValueError(f"{kind} as text must be formula(...); got {text[:100]!r}")
    formula, *rest = comma_parts(match[1])
    options: dict[str, str] = {}
    for part in rest:
        option = _OPTION.fullmatch(part)
        if option is None:
            raise ValueError(f"expected name=value after the formula; got {part.strip()[:100]!r}")
        if option[1] in options:
            raise ValueError(f"{option[1]} stands twice after the formula")
        options[option[1]] = option[2]
    return formula.strip(), options


def _as_number(name: str, text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"the constant {name} must be a number; got {text!r}")
    return float(text)


def _called(
    function: Callable[..., Gate], given: tuple[Gate, ...], named: dict[str, Gate], example: str
) -> Gate:
    """The gate that a function returns, with errors that say what a formula may consist of."""
    if not callable(function):
        raise TypeError(f"expected a function, as in {example}; got {type(function).__name__}")
    _check_signature(function, given, named, example)
    try:
        result = function(*given, **named)
    except (TypeError, AttributeError) as error:
        if str(error).startswith("a gate is") or " takes gates" in str(error):
            raise  # it says what to write
        raise TypeError(_explained(error, function)) from error
    if not isinstance(result, Gate):
        got = "None; is a return missing?" if result is None else f"{result!r:.80}"
        raise TypeError(f"the function must return one gate, as in {example}; it returned {got}")
    return result


def _check_signature(
    function: Callable[..., Gate], given: tuple[Gate, ...], named: dict[str, Gate], example: str
) -> None:
    """TypeError if the function cannot be called with these parameters."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a built-in function that does not tell
    try:
        signature.bind(*given, **named)
    except TypeError as error:
        takes = ", ".join(signature.parameters)
        called = ", ".join([*(str(gate.data) for gate in given), *named])
        raise TypeError(
            f"the function takes ({takes}), but is called with ({called}), as in {example}: {error}"
        ) from None


def _explained(error: Exception, function: Callable[..., Gate]) -> str:
    """Why a function failed on gates, with the line of it that failed."""
    line = _line_outside(error.__traceback__)
    theirs = re.findall(r"no attribute '(\w+)'", str(error))
    theirs += re.findall(r"\b(?:np|numpy|math)\.(\w+)", line)
    theirs.append(getattr(function, "__name__", ""))  # it may be one of theirs
    name = next((name for name in theirs if name in OPERATIONS), None)
    shown = f"\n    {line}" if line else ""
    tail = "those of numpy and math take no gates"
    if name is None and str(error).startswith("max()"):
        tail = "gates.maximum compares two gates, and gates.max takes one"
    elif name is None and ("operand type" in str(error) or "__round__" in str(error)):
        tail = "the operators are + - * / ** and comparisons"
    return (
        f"the function fails on gates: {error}. A formula consists of operators and functions of "
        f"fastbp.gates, such as gates.{name or 'exp'}; {tail}{shown}"
    )


def _line_outside(trace: TracebackType | None) -> str:
    """The last line of a traceback that is not of this package."""
    line, here = "", os.path.dirname(__file__)
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(here):
            line = linecache.getline(file, trace.tb_lineno).strip()
        trace = trace.tb_next
    return line
