"""The stub `_core.pyi` against the compiled binding: names, parameters, defaults, types."""

import ast
import importlib.abc
import importlib.util
import inspect
import re
import types
import typing
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp import _core
from fastbp.optim import SGD

pytestmark = pytest.mark.once

SOURCES = Path(__file__).parents[2] / "fastbp"
STUB = (SOURCES / "_core.pyi").read_text()
BINDING = (SOURCES / "_core.pyx").read_text()
# The Python type for a parameter of a C type. Parameters without a C type take any object.
TYPES = {
    **dict.fromkeys(("int", "ptrdiff_t", "size_t", "uint64_t"), int),
    **dict.fromkeys(("bint", "bool"), bool),
    "double": float,
    **{each.__name__: each for each in (str, tuple, list)},
}
# Python does not show these two methods of a C class, so they are read from the source.
SPECIAL = {"__cinit__": "__init__", "__getbuffer__": "__buffer__"}


class Stub(importlib.abc.InspectLoader):
    """Imports source text."""

    def __init__(self, text):
        self.text = text

    def get_source(self, fullname):
        return self.text


def stub_of(text):
    """The stub as a module, with evaluated annotations."""
    spec = importlib.util.spec_from_loader("fastbp._core_stub", Stub(text))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- the two sides in one form ----------------------------------------------------------------


def signature_of(declared):
    """inspect.Signature of C parameters such as `self, int n, tuple options=()`."""
    names = [part.split()[-1] for part in declared.split(",")]
    return inspect.signature(eval(f"lambda {', '.join(names)}: None"))


def c_types(declared):
    """Parameter name → C type, for parameters with a C type."""
    pairs = [part.partition("=")[0].split() for part in declared.split(",")]
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def declared_by(function):
    """The parameters as the binding declares them, at the beginning of the docstring."""
    return re.match(r"[\w.]+\((.*)\)", function.__doc__)[1]


def bare(signature):
    """A signature without annotations, to compare names, kinds, order and defaults."""
    stripped = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return inspect.Signature(stripped)


def special_methods(name):
    """Special method → declared parameters, for the class with this name in the source."""
    body = re.search(rf"^cdef class {name}:.*?(?=^\S|\Z)", BINDING, re.DOTALL | re.MULTILINE)[0]
    found = re.findall(r"^    def (__\w+__)\((.*?)\):$", body, re.DOTALL | re.MULTILINE)
    return {SPECIAL[method]: declared for method, declared in found if method in SPECIAL}


def in_module(module):
    """Name → object, for everything that the binding defines and does not import."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if not name.startswith("__")
        and not isinstance(thing, types.ModuleType)
        and getattr(thing, "__module__", _core.__name__) == _core.__name__
    }


def in_stub(stub):
    """The same for the stub, without names with an underscore, which are for type checkers."""
    constants = {name: None for name in stub.__annotations__ if not name.startswith("_")}
    defined = {
        name: thing
        for name, thing in vars(stub).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == stub.__name__
    }
    return constants | defined


def members(cls):
    """Public methods and properties that the class itself defines."""
    return {name: thing for name, thing in vars(cls).items() if not name.startswith("__")}


def differences(stub):
    """The differences between the stub and the binding, one line each."""
    ours, theirs = in_stub(stub), in_module(_core)
    yield from (f"only in the stub: {name}" for name in ours.keys() - theirs.keys())
    yield from (f"only in the binding: {name}" for name in theirs.keys() - ours.keys())
    for name in ours.keys() & theirs.keys():
        if isinstance(theirs[name], type):
            yield from differences_of_classes(name, ours[name], theirs[name])
        elif callable(theirs[name]):
            yield from differences_of_functions(name, ours[name], theirs[name])
        elif ours[name] is not None:
            yield f"{name} is a constant"


def differences_of_classes(name, ours, theirs):
    special = special_methods(name)
    stated = {method: vars(ours)[method] for method in SPECIAL.values() if method in vars(ours)}
    if special.keys() != stated.keys():
        yield f"{name} has {sorted(special)}, the stub {sorted(stated)}"
    if "__init__" in special and "__init__" in stated:
        declared = special["__init__"]
        yield from differences_of_parameters(
            name, stated["__init__"], signature_of(declared), declared
        )
    ours, theirs = members(ours), members(theirs)
    for member in ours.keys() ^ theirs.keys():
        yield f"{name}.{member} is in {'the stub' if member in ours else 'the binding'} alone"
    for member in ours.keys() & theirs.keys():
        if isinstance(ours[member], property) != inspect.isgetsetdescriptor(theirs[member]):
            yield f"{name}.{member} is a property on one side"
        elif not isinstance(ours[member], property):
            yield from differences_of_functions(f"{name}.{member}", ours[member], theirs[member])


def differences_of_functions(name, ours, theirs):
    signature, declared = inspect.signature(theirs), declared_by(theirs)
    yield from differences_of_parameters(name, ours, signature, declared)


def differences_of_parameters(name, ours, signature, declared):
    """Differences of names, order, kinds and defaults, and types that are missing or do not fit."""
    stated, hints = inspect.signature(ours), typing.get_type_hints(ours)
    if bare(signature) != bare(stated):
        yield f"{name}{bare(signature)}, in the stub {bare(stated)}"
    untyped = {"return", *stated.parameters} - hints.keys() - {"self"}
    yield from (f"{name}: {each} has no type" for each in untyped)
    for parameter, c_type in c_types(declared).items():
        hint = hints.get(parameter)
        wanted = TYPES[c_type] if c_type in TYPES else ours.__globals__[c_type]
        if (typing.get_origin(hint) or hint) is not wanted:
            yield f"{name}: {c_type} {parameter}, in the stub {hint}"


# ---- tests ------------------------------------------------------------------------------------


def test_the_stub_agrees_with_the_binding():
    assert list(differences(stub_of(STUB))) == []


WRONG = {
    "a function is missing": ("def isa() -> str: ...\n", ""),
    "a function too many": ("def isa() -> str: ...\n", "def isa() -> str: ...\ndef asi(): ...\n"),
    "a class is missing": ("class Buffer:", "class _Buffer:"),
    "a constant is missing": ("MAX_CELL: Final[int]\n", ""),
    "a method is missing": ("def set_trainable(self, layer: int", "def __f(self, layer: int"),
    "a property is missing": ("    @property\n    def line(self) -> int: ...\n", ""),
    "a method for a property": ("    @property\n    def place", "    def place"),
    "a parameter is missing": ("p: Pass, layer: int, g: _Floats", "p: Pass, layer: int"),
    "another name": ("v: _Floats, out", "u: _Floats, out"),
    "another order": ("form: str,\n    a: _Floats,\n", "a: _Floats,\n    form: str,\n"),
    "another kind": ("    *,\n", ""),
    "another default": ("repeats: int = 1", "repeats: int = 2"),
    "no default": ("bytes: int = 268435456", "bytes: int"),
    "another type": ("def run(self, seconds: float)", "def run(self, seconds: int)"),
    "no type": ("def run(self, seconds: float)", "def run(self, seconds)"),
    "a parameter of a constructor is missing": ("        f64: bool,\n", ""),
    "another default of a constructor": ('comment: str = ""', 'comment: str = "#"'),
    "another type of a constructor": ("shuffle: bool", "shuffle: int"),
    "no constructor": ("def __init__(self, net: Net, capacity", "def __f(self, net: Net, capacity"),
    "no buffer protocol": ("def __buffer__", "def __f"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_stub_is_found(case):
    right, wrong = WRONG[case]
    assert right in STUB
    text = STUB.replace(right, wrong)
    if case == "no default":  # nor may one stand before it
        text = text.replace("f64: bool = False, bytes", "f64: bool, bytes")
        text = text.replace("n_threads: int = 0, seconds: float = 0.05", "n_threads, seconds")
    if case == "a class is missing":
        text = text.replace("-> Buffer", "-> _Buffer")
    assert list(differences(stub_of(text)))


def names_taken(path):
    """Names that a file of the package uses from `_core`."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("_core"):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "_core":
            yield node.attr


def test_the_package_uses_only_names_of_the_stub():
    taken = {name for path in SOURCES.rglob("*.py") for name in names_taken(path)}
    assert {"Net", "Fit", "CELL_KINDS"} <= taken
    assert taken <= in_module(_core).keys() & in_stub(stub_of(STUB)).keys()


def has_type(value, hint):
    """Whether a value of a report has the type that the stub states."""
    if typing.is_typeddict(hint):
        hints = typing.get_type_hints(hint)
        return value.keys() == hints.keys() and all(has_type(value[k], hints[k]) for k in hints)
    if typing.get_origin(hint) is list:
        return all(has_type(each, typing.get_args(hint)[0]) for each in value)
    return type(value) is hint


def test_the_report_of_a_fit_has_the_types_of_the_stub():
    net = fastbp.Network((3, 4, 2), seed=0)
    X, y = np.zeros((5, 3), np.float32), np.zeros((5, 2), np.float32)
    sgd = SGD(0.1)
    sgd.bind(net.theta.size, net.dtype)
    report = _core.Fit(net._backend.net, net.theta, X, y, None, sgd, 5, False, 0).report()
    assert has_type(report, typing.get_type_hints(stub_of(STUB).Fit.report)["return"])
