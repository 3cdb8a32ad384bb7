"""Terms and programs: simplifications, the order of instructions, slots; what the engine runs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_interpreter import COMPUTED, run

from fastbp import _core
from fastbp.gates._program import MAX_NUMBERS, MAX_TEMPORARIES, OPERATIONS, REDUCTIONS, assemble
from fastbp.gates._terms import Terms

SHAPE = (3, 4)
INPUTS = ("full", "full", "row", "one")
# operations that are exact on whole numbers, as long as these stay small
EXACT = [
    *("add", "sub", "mul", "neg", "abs", "sign", "square", "min", "max"),
    *("less", "less_equal", "equal", "select", "select_positive"),
    *("row_sum", "row_max", "row_length"),
]


def compiled(result, inputs=INPUTS, kind="full"):
    """The program of the term that `result` makes of terms and their inputs."""
    terms = Terms(inputs)
    return assemble(inputs, [(result(terms, *terms.inputs), kind)])


def operations(program):
    return [operation for operation, *_ in program.code]


@st.composite
def steps(draw):
    """Operations and, for each, which of the values before it are its operands."""
    chosen = draw(st.lists(st.sampled_from(EXACT), min_size=1, max_size=25))
    return [(name, [draw(st.integers(0, 99)) for _ in range(OPERATIONS[name])]) for name in chosen]


@settings(max_examples=150, deadline=None)
@given(steps(), st.lists(st.integers(-2, 3), min_size=1, max_size=4), st.data())
def test_programs_compute_what_their_terms_mean(plan, numbers, data):
    """Numbers of 24 bits have exact products and sums, so every rewriting must keep each bit."""
    rng = np.random.default_rng(0)
    shapes = {"full": SHAPE, "row": (SHAPE[0], 1), "one": ()}
    given_values = [rng.integers(-2, 3, shapes[kind]).astype(float) for kind in INPUTS]
    terms = Terms(INPUTS)
    pool = list(zip(terms.inputs, given_values, strict=True))
    pool += [(terms.number(n), np.float64(n)) for n in numbers]
    per_output = terms.apply("reciprocal", terms.apply("row_length"))
    pool.append((per_output, np.full((SHAPE[0], 1), 1 / SHAPE[1])))
    for name, places in plan:
        chosen = [pool[place % len(pool)] for place in places]
        if name in REDUCTIONS and chosen[0][0].kind != "full":
            continue
        inner = [value for _, value in chosen]
        value = np.float64(SHAPE[1]) if name == "row_length" else COMPUTED[name](*inner)
        if np.max(abs(value)) < 2**16 and np.all(value * 2**8 % 1 == 0):
            pool.append((terms.apply(name, *(term for term, _ in chosen)), value))
    n_results = data.draw(st.integers(1, 3))
    results = [pool[-1 - i] for i in range(n_results)]
    kinds = ["row" if term.kind == "row" else "full" for term, _ in results]
    program = assemble(INPUTS, list(zip((term for term, _ in results), kinds, strict=True)))
    for found, (_, value) in zip(run(program, given_values, SHAPE), results, strict=True):
        np.testing.assert_array_equal(*np.broadcast_arrays(found, value))


def test_the_engine_has_the_same_operations():
    assert set(_core.OPERATIONS) == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_engine_computes_every_operation(name, dtype):
    """To 4 ulp of the largest intermediate value, which is what the kernels promise."""
    rng = np.random.default_rng(1)
    domain = {"log": (0.1, 3), "pow": (0.1, 3), "sqrt": (0, 3)}.get(name, (-0.9, 0.9))
    operands = [rng.uniform(*domain, SHAPE).astype(dtype) for _ in range(OPERATIONS[name])]
    if name in ("equal", "less_equal", "select", "sign"):
        operands[0][1] = operands[-1][1] if len(operands) == 2 else 0
    terms = Terms(["full"] * len(operands))
    kind = "row" if name in REDUCTIONS or name == "row_length" else "full"
    program = assemble(["full"] * len(operands), [(terms.plain(name, *terms.inputs), kind)])
    (found,) = _core.run_program(program, operands, SHAPE, dtype == "float64")
    (want,) = run(program, [x.astype("d") for x in operands], SHAPE)
    scale = 1 + sum((np.max(abs(x), initial=0) for x in operands), start=abs(want).max())
    bound = 4 * np.finfo(dtype).eps * scale
    assert abs(found - want.reshape(found.shape)).max() <= bound


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf, 0.0, -2.0])
def test_sign_of_special_values(value):
    terms = Terms(["full"])
    program = assemble(["full"], [(terms.apply("sign", terms.inputs[0]), "full")])
    (found,) = _core.run_program(program, [np.full((1, 1), value)], (1, 1), True)
    np.testing.assert_array_equal(found, [[np.sign(value)]])


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (lambda t, x, y, r, c: t.apply("mul", x, x), ["square"]),
        (lambda t, x, y, r, c: t.apply("add", x, x), ["mul"]),
        (lambda t, x, y, r, c: t.apply("div", t.number(1), x), ["reciprocal"]),
        (lambda t, x, y, r, c: t.apply("div", x, t.number(4)), ["mul"]),
        (lambda t, x, y, r, c: t.apply("div", x, t.number(3)), ["div"]),
        (lambda t, x, y, r, c: t.apply("add", t.apply("mul", x, y), r), ["fma"]),
        (lambda t, x, y, r, c: t.apply("sub", t.apply("mul", x, y), r), ["fms"]),
        (lambda t, x, y, r, c: t.apply("sub", r, t.apply("mul", x, y)), ["fnma"]),
        (lambda t, x, y, r, c: t.apply("add", r, t.apply("neg", t.apply("mul", x, y))), ["fnma"]),
        (lambda t, x, y, r, c: t.apply("neg", t.apply("mul", x, t.number(3))), ["mul"]),
        (lambda t, x, y, r, c: t.apply("neg", t.apply("mul", x, y)), ["fnma"]),
        (lambda t, x, y, r, c: t.apply("mul", x, t.apply("reciprocal", y)), ["div"]),
        (lambda t, x, y, r, c: t.apply("sub", t.apply("neg", x), t.apply("neg", y)), ["sub"]),
        (lambda t, x, y, r, c: t.apply("mul", x, t.apply("sub", t.number(1), x)), ["fnma"]),
        (
            lambda t, x, y, r, c: t.apply("select", t.apply("less", t.number(0), x), x, y),
            ["select_positive"],
        ),
        (
            lambda t, x, y, r, c: t.apply("sub", t.apply("less", x, y), t.apply("less", y, x)),
            ["sub", "sign"],
        ),
        (
            lambda t, x, y, r, c: t.apply("mul", t.apply("mul", x, t.number(2)), t.number(3)),
            ["mul"],
        ),
        (
            lambda t, x, y, r, c: t.apply(
                "add",
                t.apply("square", t.apply("sub", x, y)),
                t.apply("abs", t.apply("sub", y, x)),
            ),
            ["sub", "abs", "fma"],
        ),
    ],
)
def test_simplified_code(result, expected):
    assert operations(compiled(result)) == expected


def test_factors_of_few_numbers_are_multiplied_first():
    """(x 2) r is x (2 r): one product per output instead of two."""
    program = compiled(
        lambda t, x, y, r, c: t.apply("mul", t.apply("mul", x, t.number(2)), r), kind="full"
    )
    kinds = [*program.inputs, "one", *program.temporaries]
    assert [kinds[out] for _, out, *_ in program.code] == ["row", "full"]


def test_a_product_that_others_need_is_computed_once():
    terms = Terms(["full"] * 3)
    x, y, z = terms.inputs
    product = terms.apply("mul", x, y)
    results = [(product, "full"), (terms.apply("add", product, z), "full")]
    assert sorted(operations(assemble(["full"] * 3, results))) == ["add", "mul"]


def test_a_result_has_the_same_form_with_other_results():
    """So J has the same roundings with and without its gradient, which needs the product too."""
    terms = Terms(["full"] * 3)
    x, y, z = terms.inputs
    product = terms.apply("mul", x, y)
    results = [(terms.apply("add", product, z), "full"), (product, "full")]
    assert operations(assemble(["full"] * 3, results[:1])) == ["fma"]
    assert sorted(operations(assemble(["full"] * 3, results))) == ["fma", "mul"]


def test_results_are_different_temporaries():
    """An input, a number and the same result twice each get a copy."""
    terms = Terms(["full", "one"])
    x, c = terms.inputs
    square = terms.apply("square", x)
    results = [(term, "full") for term in (x, c, terms.number(3), square, square)]
    program = assemble(["full", "one"], results)
    assert sorted(operations(program)) == ["copy"] * 4 + ["square"]
    found = run(program, [np.full(SHAPE, 2.0), 5.0], SHAPE)
    assert [value[0, 0] for value in found] == [2, 5, 3, 4, 4]


def test_the_first_result_is_written_last_and_once():
    """Then the engine may write it over an input."""
    terms = Terms(["full", "full"])
    x, y = terms.inputs
    first = terms.apply("mul", terms.apply("exp", x), y)
    second = terms.apply("add", x, terms.apply("tanh", y))
    program = assemble(["full", "full"], [(first, "full"), (second, "full")])
    assert program.code[-1][1] == program.outputs[0]
    assert [out for _, out, *_ in program.code].count(program.outputs[0]) == 1


def test_a_chain_takes_one_temporary_and_a_tree_few():
    terms = Terms(["full"])
    (x,) = terms.inputs
    chain = x
    for _ in range(100):
        chain = terms.apply("sin", chain)
    assert len(assemble(["full"], [(chain, "full")]).temporaries) == 2  # with the result
    level = [terms.apply("add", x, terms.number(n)) for n in range(2, 66)]
    while len(level) > 1:
        level = [terms.apply("mul", *pair) for pair in zip(level[::2], level[1::2], strict=True)]
    tree = assemble(["full"], [(level[0], "full")])
    assert len(tree.temporaries) == 8  # log2(64) + 1 and the result


def test_programs_that_are_too_large_are_refused():
    terms = Terms(["full"])
    (x,) = terms.inputs
    total = x
    for n in range(MAX_NUMBERS + 1):
        total = terms.apply("sin", terms.apply("add", total, terms.number(n + 0.5)))
    with pytest.raises(ValueError, match=f"{MAX_NUMBERS + 1} different numbers"):
        assemble(["full"], [(total, "full")])
    chain = x
    for _ in range(5000):
        chain = terms.apply("cos", chain)
    with pytest.raises(ValueError, match="5,000 instructions, and 4,096 are the most"):
        assemble(["full"], [(chain, "full")])
    wide = [x]
    for _ in range(MAX_TEMPORARIES + 1):
        wide.append(terms.apply("sin", wide[-1]))
    total = wide[-1]
    for each in wide[1:]:
        total = terms.apply("max", each, total)
    with pytest.raises(ValueError, match="intermediate values at a time"):
        assemble(["full"], [(total, "full")])


def test_numbers_must_stay_finite():
    terms = Terms(["full"])
    with pytest.raises(ValueError, match=r"div\(1.0, 0.0\) of the formula is no finite number"):
        terms.apply("div", terms.number(1), terms.number(0))
    with pytest.raises(ValueError, match="becomes inf"):
        terms.number(np.inf)


def test_a_program_as_text():
    program = compiled(lambda t, x, y, r, c: t.apply("add", t.apply("mul", x, y), t.number(0.5)))
    assert str(program) == "t0 = fma(x0, x1, 0.5)\nreturn t0"
