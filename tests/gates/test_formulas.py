"""Activations and losses of formulas: identity, text, refusals, and their values in NumPy."""

import math
import pickle

import numpy as np
import pytest

import fastbp
from fastbp import activations, gates
from fastbp.gates import ActivationFormula, LossFormula
from fastbp.gates._formulas import parse_activation, parse_loss

SWISH = "z * sigmoid(beta * z)"


def swish(z, beta):
    return z * gates.sigmoid(beta * z)


# ---- identity -----------------------------------------------------------------------------


def test_a_function_is_called_once_with_gates():
    calls = []

    def function(z, beta, alpha):
        calls.append((z, beta, alpha))
        return alpha * swish(z, beta)

    made = gates.activation(function, alpha=2, beta=1.5, per="unit")
    assert calls == [gates.inputs("z", "beta", "alpha")]
    assert made.constants == {"alpha": 2.0, "beta": 1.5} and made.per == "unit"
    assert made.gate is function(*gates.inputs("z", "beta", "alpha"))


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (gates.activation(swish, beta=1.0), f"formula({SWISH}, beta=1.0)"),
        (gates.activation(swish, beta=0.1, per="unit"), f"formula({SWISH}, beta=0.1, per=unit)"),
        (gates.activation(lambda z: z / (1 + abs(z))), "formula(z / (1 + abs(z)))"),
        (gates.activation(lambda z, per1, s1: z * s1 - per1, s1=1e-300, per1=-0.0), None),
        (gates.activation(lambda z: gates.exp(z) * gates.sin(gates.exp(z))), None),
        (gates.prelu(), "formula(where(z > 0, z, alpha * z), alpha=0.25)"),
        (gates.prelu(0.1, per="unit"), "formula(where(z > 0, z, alpha * z), alpha=0.1, per=unit)"),
    ],
)
def test_activations_as_text(made, text):
    assert text is None or str(made) == text
    for copy in (parse_activation(str(made)), pickle.loads(pickle.dumps(made)), eval(repr(made))):
        assert copy == made and hash(copy) == hash(made) and str(copy) == str(made)
        assert copy.gate is made.gate and copy.constants == made.constants


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (gates.loss(lambda a, y: gates.sum((a - y) ** 2)), "formula(sum((a - y) ** 2))"),
        (
            gates.loss(lambda a, y: gates.logsumexp(a) - gates.sum(a * y), targets="classes"),
            "formula(logsumexp(a) - sum(a * y), targets=classes)",
        ),
        (
            gates.loss(lambda a, y: gates.sum(a * y), targets="classes", score="Top_K_Accuracy(3)"),
            "formula(sum(a * y), targets=classes, score=top_k_accuracy(3))",
        ),
    ],
)
def test_losses_as_text(made, text):
    assert str(made) == text
    for copy in (parse_loss(text), pickle.loads(pickle.dumps(made)), eval(repr(made))):
        assert copy == made and hash(copy) == hash(made)
        assert copy.gate is made.gate and copy.targets == made.targets
        assert copy.score == made.score


def test_formulas_differ_in_text_constants_and_per():
    first = gates.activation(swish, beta=1.0)
    others = [
        gates.activation(swish, beta=2.0),
        gates.activation(swish, beta=1.0, per="unit"),
        gates.activation(lambda z, gamma: swish(z, gamma), gamma=1.0),
        gates.activation(lambda z, beta: gates.sigmoid(beta * z) * z, beta=1.0),
    ]
    assert len({first, *others}) == 5 and first == gates.activation(swish, beta=1.0)
    loss = LossFormula("sum(abs(a - y))")
    assert loss != LossFormula("sum(abs(a - y))", targets="classes") and loss != first
    assert loss != LossFormula("sum(abs(a - y))", score="r2")


def test_formulas_never_change():
    made = gates.prelu()
    made.constants["alpha"] = 3.0  # a copy
    assert made.constants == {"alpha": 0.25}
    with pytest.raises(AttributeError, match="never changes; per cannot be set"):
        made.per = "unit"
    with pytest.raises(AttributeError, match="gate cannot be deleted"):
        del made.gate
    assert made.programs() is made.programs()


# ---- refusals -----------------------------------------------------------------------------


def refused(message, function, **constants):
    with pytest.raises((TypeError, ValueError)) as caught:
        gates.activation(function, **constants)
    assert message in str(caught.value)


def test_functions_that_do_not_fit_are_explained():
    refused("takes (z, beta), but is called with (z)", swish)
    refused("takes (z), but is called with (z, beta)", lambda z: z, beta=1.0)
    refused("beta * z), beta=1.0): missing a required argument: 'beta'", swish)
    refused("it returned 3.0", lambda z: 3.0)
    refused("it returned (Gate('z'), Gate('z'))", lambda z: (z, z))
    refused("None; is a return missing?", lambda z: None)
    refused("expected a function, as in gates.activation(lambda", "relu")
    refused("write gates.where(condition, x, y) instead of if", lambda z: z if z > 1 else 0)
    refused("use the functions of fastbp.gates", lambda z: np.where(z > 0, z, 0))
    refused("x == y only tells", lambda z: gates.where(z == 0, 1, z))


def test_functions_of_other_libraries_are_named():
    refused("functions of fastbp.gates, such as gates.tanh", lambda z: np.tanh(z))
    refused("lambda z: math.exp(z)", lambda z: math.exp(z))  # the line that failed
    refused("such as gates.mean", lambda z: z - z.mean())
    refused("such as gates.tanh; those of numpy", np.tanh)
    refused(
        "no len(). A formula consists of operators and functions of fastbp.gates, such as gates.",
        lambda z: len(z),
    )


def test_gates_functions_are_activations():
    assert str(gates.activation(gates.tanh)) == "formula(tanh(z))"
    assert str(gates.activation(abs)) == "formula(abs(z))"


def test_refused_formulas_show_the_place():
    refused(
        "without sums over the outputs; mean is not\n    z - mean(z)\n        ^^^^^^^",
        lambda z: z - gates.mean(z),
    )
    refused("softmax is not\n    softmax(z)\n    ^^^", gates.softmax)
    refused(
        "no arrays; use numbers or trained constants\n    <2 array> * z\n    ^^^^^^^^^",
        lambda z: np.array([1.0, 2.0]) * z,
    )
    refused("must be finite; got nan\n    z * nan\n        ^^^", lambda z: z * math.nan)
    refused(
        "log(-1.0) is nan; numbers must be finite\n    z + log(-1)\n        ^^^^^^^",
        lambda z: z + gates.log(-1.0),
    )
    refused("divides by 0\n    z / 0", lambda z: z / 0)
    refused(
        "the inputs of this formula are z; got x\n    z * x\n        ^",
        lambda z: z * gates.inputs("x")[0],
    )
    refused(
        "z and the trained constants beta; got x",
        lambda z, beta: z * beta * gates.inputs("x")[0],
        beta=1.0,
    )
    refused("must depend on z, and this does not: 3 * beta", lambda z, beta: 3 * beta, beta=1.0)
    refused("must depend on beta, and this does not: z", lambda z, beta: z, beta=1.0)
    refused("at most 5,000 gates", lambda z: chain(z, 5001))
    refused("instructions, and 4,096 are the most", lambda z: chain(z, 1500))


def chain(z, n):
    for _ in range(n):
        z = gates.sin(z)
    return z


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda a, y: (a - y) ** 2,
            "one per output: reduce it with gates.sum or gates.mean\n    (a",
        ),
        (lambda a, y: gates.sum(a) * y, "\n    sum(a) * y\n    ^^^^^^^^^^"),
        (lambda a, y: gates.sum(y), "must depend on a, and this does not: sum(y)"),
        (lambda a, y: gates.sum(np.ones(3) * a), "no arrays"),
        (lambda a, y: gates.sum(a * math.inf), "must be finite; got inf"),
        (lambda a, y: gates.sum(a * gates.inputs("z")[0]), "a, the outputs, and y, the targets"),
        (lambda a: gates.sum(a), "takes (a), but is called with (a, y), as in gates.loss("),
    ],
)
def test_refused_losses(function, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        gates.loss(function)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name", ["W", "b", "gain", "shift", "z", "a", "y", "delta", "per", "exp", "where", "if", "β"]
)
def test_names_of_constants(name):
    if name == "per":  # the option
        return refused("unknown per 1.0", lambda z: z, per=1.0)
    return refused("choose another name, such as beta", lambda z, **c: z, **{name: 1.0})


def test_messages_say_why_a_name_is_taken():
    refused("the constant 'b' is a parameter of layers; choose", lambda z, b: z * b, b=1.0)
    refused("the constant 'y' has a meaning in formulas", lambda z, y: z * y, y=1.0)
    refused("the constant 'β' is no name of ASCII letters", lambda z, β: z * β, β=1.0)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("z*sigmoid(z)", ValueError, r"write a formula as 'formula\(z\*sigmoid\(z\)\)'"),
        (gates.prelu, TypeError, r"call it: gates.prelu\(\)"),
        ("formula(Sigmod(z))", ValueError, "function 'Sigmod'; known: .*; did you mean 'sigmoid'?"),
    ],
)
def test_activations_that_are_nearly_right(spec, error, message):
    with pytest.raises(error, match=message) as caught:
        activations.resolve(spec)
    assert "sum_like" not in str(caught.value) and "_slope" not in str(caught.value)


def test_class_numbers_for_a_loss_of_numbers():
    loss = gates.loss(lambda a, y: gates.sum((a - y) ** 2))
    net = fastbp.Network((2, 3), loss=loss, seed=0)
    message = r'for formula\(sum\(\(a - y\) \*\* 2\)\); got 1-D; .* targets="classes"'
    with pytest.raises(ValueError, match=message):
        net.loss(np.ones((2, 2)), [0, 1])


@pytest.mark.parametrize(
    ("function", "way"),
    [
        (lambda z: gates.max(z, 0), "gates.maximum compares two gates"),
        (lambda z: z % 1, "the operators are"),
        (lambda z: z & z, "the operators are"),
        (lambda z: round(z), "the operators are"),
    ],
)
def test_what_gates_cannot_do(function, way):
    with pytest.raises(TypeError, match=f"the function fails on gates: .*; {way}") as caught:
        gates.activation(function)
    assert "numpy" not in str(caught.value)


def test_a_function_of_gates_that_is_not_wrapped():
    net = fastbp.Network((2, 3), loss=lambda a, y: gates.sum((a - y) ** 2), seed=0)
    with pytest.raises(TypeError, match=r"got Gate; wrap .*: loss=gates.loss\(function\)"):
        net.loss(np.ones((2, 2)), np.ones((2, 3)))


def test_values_of_constants():
    refused("the constant beta must be finite; got nan", swish, beta=math.nan)
    refused("the constant beta must be a number; got '1'", swish, beta="1")
    refused("the constant beta must be a number; got True", swish, beta=True)
    nine = {f"c{i}": 1.0 for i in range(9)}
    refused("at most 8 trained constants; got 9", lambda z, **c: z * sum(c.values()), **nine)
    refused("unknown per 'row'; known: layer, unit", gates.tanh, per="row")
    with pytest.raises(ValueError, match="unknown targets 'labels'; known: numbers, classes"):
        gates.loss(lambda a, y: gates.sum(a * y), targets="labels")


@pytest.mark.parametrize("parse", [parse_activation, parse_loss])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("relu", r"must be formula\(...\); got 'relu'"),
        ("formula(z", r"must be formula\(...\)"),
        ("formula(z), beta=1", r"must be formula\(...\)"),
        ("formula()", "expected a number, a name"),
        ("formula(foo(2))", "unknown function 'foo'"),
        ("formula(z, beta)", "expected name=value after the formula; got 'beta'"),
        ("formula(z, beta=1, beta=2)", "beta stands twice"),
        ("formula(" + "z + " * 6000 + "z)", "at most 22,000 characters; got 24,010"),
    ],
)
def test_bad_texts(parse, text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_bad_options_of_texts():
    for value in ("nan", "inf", "1_0", "x", "0x1"):
        with pytest.raises(ValueError, match=f"beta must be a number; got '{value}'"):
            parse_activation(f"formula({SWISH}, beta={value})")
    with pytest.raises(ValueError, match="beta must be finite; got inf"):
        parse_activation(f"formula({SWISH}, beta=1e999)")
    with pytest.raises(ValueError, match="unknown per 'row'"):
        parse_activation("formula(tanh(z), per=row)")
    with pytest.raises(ValueError, match="a loss takes no per; it takes targets=classes and score"):
        parse_loss("formula(sum(a), per=unit)")
    with pytest.raises(ValueError, match="unknown targets 'x'"):
        parse_loss("formula(sum(a), targets=x)")
    with pytest.raises(TypeError, match="an activation must be a text; got int"):
        parse_activation(3)


def test_formulas_of_other_objects():
    for cls in (ActivationFormula, LossFormula):
        with pytest.raises(TypeError, match="must be a text or a Gate; got int"):
            cls(3)


# ---- values in NumPy ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_have_the_dtype_that_is_given(dtype, rng):
    made = gates.activation(lambda z, beta: 0.5 * swish(z, beta) + abs(z), beta=1.0, per="unit")
    z, g, rz, rg = rng.standard_normal((4, 3, 2)).astype(dtype)
    c, rc = rng.standard_normal((2, 1, 2)).astype(dtype)
    found = [
        made.value(z, c),
        *made.slope(z, c, g),
        made.push(z, c, rz, rc),
        *made.curve(z, c, g, rz, rc, rg),
    ]
    assert {(x.dtype.name, x.shape) for x in found} == {(dtype, (3, 2))} and len(found) == 6
    loss = gates.loss(lambda a, y: gates.mean(abs(a - y)))
    assert loss.value(z, g).dtype == dtype and loss.value(z, g).shape == (3,)
    assert loss.gradient(z, g).dtype == loss.curve(z, g, rz).dtype == dtype


@pytest.mark.parametrize("dtype", [int, bool, np.uint8])
def test_integers_are_computed_in_float64(dtype):
    z, y = np.array([[1, 1]]).astype(dtype), np.array([[0, 1]]).astype(dtype)
    made = gates.activation(lambda z, beta: 0.5 * swish(z, beta), beta=1.0)
    floats = z.astype(float)
    for found, want in (
        ([made.value(z, [2])], [made.value(floats, [2.0])]),
        (made.slope(z, [2], y), made.slope(floats, [2.0], y.astype(float))),
        ([made.push(z, [2], y, [1])], [made.push(floats, [2.0], y.astype(float), [1.0])]),
        (
            made.curve(z, [2], y, z, [1], y),
            made.curve(floats, [2.0], y.astype(float), floats, [1.0], y.astype(float)),
        ),
    ):
        for one, other in zip(found, want, strict=True):
            assert one.dtype == np.float64 and (one == other).all() and one.any()
    loss = gates.loss(lambda a, y: 0.5 * gates.mean((a - y) ** 2))
    assert loss.value(z, y).tolist() == [0.25]
    assert loss.gradient(z, y).tolist() == [[0.5, 0.0]]
    assert loss.curve(z, y, z).tolist() == [[0.5, 0.5]]


def test_the_first_array_decides_the_dtype():
    loss = gates.loss(lambda a, y: gates.sum((a - y) ** 2))
    a, y = np.ones((2, 3), np.float32), np.zeros((2, 3))
    assert loss.value(a, y).dtype == loss.gradient(a, y).dtype == np.float32
    assert loss.curve(a, y, y).dtype == np.float32
    assert loss.value(a, y * 1j).dtype == np.complex64
    swish_of = gates.activation(swish, beta=1.0)
    assert swish_of.value(a, [1.0]).dtype == np.float32
    assert swish_of.value(a, [1j]).dtype == np.complex64


def test_lists_and_other_shapes():
    made = gates.activation(lambda z, beta: beta * z**2, beta=1.0)
    assert made.value([[1, 2]], [3]).tolist() == [[3.0, 12.0]]
    assert made.value([1, 2], [3]).tolist() == [3.0, 12.0]
    assert made.value(2, [3]).tolist() == 12.0
    loss = gates.loss(lambda a, y: gates.sum((a - y) ** 2))
    assert loss.value([[1, 2]], [[0, 0]]).tolist() == [5.0]


def test_arguments_that_do_not_fit():
    made, z = gates.activation(swish, beta=1.0), np.ones((2, 3))
    for constants, got in (((), "got 0"), ([1, 2], "got 2"), (3.0, "float is no list")):
        with pytest.raises(ValueError, match=rf"constants must be .* 1 \(beta\), .*; {got}"):
            made.value(z, constants)
    with pytest.raises(ValueError, match=r"rc must be a list .* 1 \(R\{beta\}\)"):
        made.push(z, [1], z, [])
    with pytest.raises(ValueError, match=r"beta has shape \(2,\), .* of z, \(2, 3\)"):
        made.value(z, [[1, 2]])
    with pytest.raises(ValueError, match=r"∂J/∂a has shape \(3, 2\), .* of z, \(2, 3\)"):
        made.slope(z, [1], z.T)
    with pytest.raises(TypeError, match="z must hold real numbers; got dtype <U1"):
        made.value([["x"]], [1])
    loss = gates.loss(lambda a, y: gates.sum((a - y) ** 2))
    with pytest.raises(ValueError, match=r"a must have two axes, .*; got shape \(3,\): for one"):
        loss.value(np.ones(3), np.ones(3))
    for y in (np.ones(2), np.ones((2, 1)), np.ones((3, 2))):
        with pytest.raises(ValueError, match=r"y must have the shape of a, \(2, 3\); got"):
            loss.gradient(z, y)
    with pytest.raises(ValueError, match=r"R\{a\} must have the shape of a"):
        loss.curve(z, z, z[:1])


def test_derivatives_by_complex_steps(rng):
    """f(x + ih) = f(x) + ih f'(x) without cancellation, and h is too small for more terms."""
    made = gates.activation(lambda z, beta, c: swish(z, beta) + gates.sin(c * z), beta=1.2, c=0.5)
    z, g, rz, rg = rng.standard_normal((4, 5, 3))
    constants, rc = rng.standard_normal((2, 2))
    h = 1e-30j
    moved = made.value(z + h * rz, constants + h * rc).imag / 1e-30
    eps = np.finfo(float).eps
    # the values are below 10 and come from fewer than 20 roundings each
    np.testing.assert_allclose(made.push(z, constants, rz, rc), moved, rtol=0, atol=400 * eps)
    slope = made.slope(z, constants, g)
    np.testing.assert_allclose(
        slope[0], g * made.value(z + h, constants).imag / 1e-30, rtol=0, atol=400 * eps
    )
    for i in range(2):
        one = constants + h * np.eye(2)[i]
        np.testing.assert_allclose(
            slope[1 + i], g * made.value(z, one).imag / 1e-30, rtol=0, atol=400 * eps
        )
    bent = made.slope(z + h * rz, constants + h * rc, g + h * rg)
    for found, want in zip(made.curve(z, constants, g, rz, rc, rg), bent, strict=True):
        np.testing.assert_allclose(found, want.imag / 1e-30, rtol=0, atol=2000 * eps)


def test_overflow_is_silent():
    made = gates.activation(lambda z: gates.exp(z) / gates.exp(2 * z))
    assert np.isnan(made.value(np.array([[1000.0]]))).all()


def test_a_loss_without_sums_over_its_gradient(rng):
    """∂ of a function of the sum alone is the same for every output."""
    loss = gates.loss(lambda a, y: gates.sum(a) ** 2)
    a = rng.standard_normal((4, 3))
    want = np.repeat(2 * a.sum(axis=1, keepdims=True), 3, axis=1)
    np.testing.assert_allclose(loss.gradient(a, a), want, rtol=4 * np.finfo(float).eps)
