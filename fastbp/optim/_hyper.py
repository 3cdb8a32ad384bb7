"""Hyper-parameters: a class declares each one once, in one statement.

From it follow the constructor and its signature, the check of every new value, `repr`, the numbers
for the engine, and the Parameters section of the class's docstring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature, cleandoc
from typing import Any, ClassVar, dataclass_transform

from .._checks import arguments as check
from .._checks.keywords import unknown_argument

Check = Callable[[object, str], object]


class Hyper:
    """One hyper-parameter: an attribute whose every new value is checked. `hyper` makes it."""

    def __init__(
        self,
        default: object,
        test: Check,
        doc: str,
        engine: tuple[str, ...],
        kw_only: bool,
        shown: bool,
    ) -> None:
        self.default, self.test, self.engine, self.__doc__ = default, test, engine, doc
        self.kw_only, self.shown = kw_only, shown

    def __set_name__(self, owner: type, name: str) -> None:
        self.name, self.annotation = name, owner.__annotations__[name]

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else instance.__dict__[self.name]

    def __set__(self, instance: Declared, value: object) -> None:
        instance.__dict__[self.name] = self.test(value, self.name)
        instance._changed()


def hyper(
    *,
    default: object,
    test: Check,
    doc: str,
    engine: str = "",
    kw_only: bool = False,
    shown: bool = False,
) -> Any:
    """Declare a hyper-parameter: the value of an annotated name in the body of a class.

    The result is a `Hyper`. It is annotated as Any so that `lr: float = hyper(...)` type-checks, as
    with `dataclasses.field`.

    Parameters
    ----------
    default : object
        The value if the caller gives none.
    test : callable
        A function (value, name) that returns the value to store, and raises TypeError or ValueError
        if the value is not valid.
    doc : str
        What the hyper-parameter is and which values it may have, for the docstring of the class.
    engine : str, default ""
        Its names in the engine, separated by spaces: one name for a number, or one name for each
        element of a tuple.
    kw_only : bool, default False
        Whether the constructor accepts it only as a keyword argument.
    shown : bool, default False
        Whether `repr` shows it even if it has its default value.
    """
    return Hyper(default, test, doc, tuple(engine.split()), kw_only, shown)


def learning_rate(*, default: float) -> Any:
    """Declare the learning rate."""
    doc = "Learning rate, greater than 0."
    return hyper(default=default, test=check.check_positive, doc=doc, engine="lr", shown=True)


@dataclass_transform(field_specifiers=(hyper, learning_rate))
class Declared:
    """A class with hyper-parameters, whose constructor takes them."""

    _fields: ClassVar[dict[str, Hyper]] = {}
    __signature__: ClassVar[Signature | None]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # fields of base classes come first, except those that all optimisers share: they come last
        owners = list(reversed(cls.__mro__))
        owners.sort(key=lambda owner: Declared in owner.__bases__)
        names = dict.fromkeys(name for owner in owners for name in vars(owner))
        found = {name: getattr(cls, name, None) for name in names}
        cls._fields = {name: field for name, field in found.items() if isinstance(field, Hyper)}
        own_constructor = cls.__init__ is not Declared.__init__
        cls.__signature__ = None if own_constructor else _signature(cls._fields)
        if cls.__doc__ is not None and not own_constructor:
            cls.__doc__ = _documented(cls.__doc__, cls._fields)

    def __init__(self, *args: object, **values: object) -> None:
        positional = [name for name, field in self._fields.items() if not field.kw_only]
        if len(args) > len(positional):
            raise TypeError(
                f"{type(self).__name__}() takes at most {len(positional)} arguments without a "
                f"name; got {len(args)}"
            )
        if args and _is_parameters(args[0]):
            name = type(self).__name__
            raise TypeError(
                f"{name}() takes no parameters; got {type(args[0]).__name__}: the network passes "
                f"them, in fit(…, optimizer={name}(…)) and in step({name}(…))"
            )
        for name in values:
            if name not in self._fields:
                raise unknown_argument(type(self).__name__, name, self._fields, "optimizer")
            if name in positional[: len(args)]:
                raise TypeError(f"{type(self).__name__}() got two values for argument {name!r}")
        values |= zip(positional, args, strict=False)
        for name, field in self._fields.items():
            setattr(self, name, values.get(name, field.default))
        self._check_given(values)
        self.__post_init__()

    def _check_given(self, given: Mapping[str, object]) -> None:
        """Raise ValueError for arguments that need others; all are valid by themselves."""

    def __post_init__(self) -> None:
        """Complete the construction; all hyper-parameters have their values."""

    def _changed(self) -> None:
        """Drop what was computed from the hyper-parameters; one of them has a new value."""

    def __repr__(self) -> str:
        shown = [
            f"{name}={getattr(self, name)}"
            for name, field in self._fields.items()
            if field.shown or getattr(self, name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _is_parameters(value: object) -> bool:
    """Whether it is a network, an array or the like, as optimisers of PyTorch take."""
    listed = isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0
    return hasattr(value, "theta") or (listed and not isinstance(value, (str, bytes)))


def _signature(fields: dict[str, Hyper]) -> Signature:
    kinds = {False: Parameter.POSITIONAL_OR_KEYWORD, True: Parameter.KEYWORD_ONLY}
    parameters = [
        Parameter(name, kinds[field.kw_only], default=field.default, annotation=field.annotation)
        for name, field in fields.items()
    ]
    return Signature(sorted(parameters, key=lambda parameter: parameter.kind))


def _documented(doc: str, fields: dict[str, Hyper]) -> str:
    """The docstring with the sections Parameters and Raises, and a heading for its example."""
    text, mark, example = cleandoc(doc).partition("\n>>> ")
    lines = [text.rstrip(), "", "Parameters", "----------"]
    for name, field in fields.items():
        lines += [f"{name} : {field.annotation}, default {field.default!r}", f"    {field.__doc__}"]
    lines += ["", "Raises", "------", "TypeError, ValueError"]
    lines += ["    If an argument has a wrong type or is out of range."]
    if mark:
        lines += ["", "Examples", "--------", f">>> {example}"]
    return "\n".join(lines) + "\n"


# ---- checks -------------------------------------------------------------------------------


flag = check.check_flag


def two_numbers(
    value: object, name: str, example: str, test: Callable[[object, str], float]
) -> tuple[float, float]:
    """The check of a pair of numbers; `test` checks each of them."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be two numbers such as {example}; got {value!r}")
    first, second = (test(x, f"{name}[{i}]") for i, x in enumerate(value))
    return first, second


def fractions(value: object, name: str) -> tuple[float, float]:
    """The check of a pair of numbers in [0, 1)."""
    return two_numbers(value, name, "(0.9, 0.999)", check.check_fraction)
