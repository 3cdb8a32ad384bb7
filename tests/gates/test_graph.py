"""Formulas as graphs: operators and functions, equal subgraphs, lifetime, copies, bad input."""

import copy
import gc
import pickle
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from thread_cases import isolated, needs_fork, result_of, start_forked

from fastbp import gates
from fastbp.gates import _graph
from fastbp.gates._operations import OPERATIONS

pytestmark = pytest.mark.once

x, y, z = gates.inputs("x", "y", "z")


def number(value):
    return _graph.as_gate(value)


# ---- building -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("built", "operation", "operands"),
    [
        (x + y, "add", (x, y)),
        (x - y, "sub", (x, y)),
        (x * y, "mul", (x, y)),
        (x / y, "div", (x, y)),
        (x**y, "pow", (x, y)),
        (2 + x, "add", (number(2), x)),
        (2 - x, "sub", (number(2), x)),
        (2 * x, "mul", (number(2), x)),
        (2 / x, "div", (number(2), x)),
        (2**x, "pow", (number(2), x)),
        (x - np.float32(2), "sub", (x, number(2))),
        (np.float64(2) - x, "sub", (number(2), x)),
        (np.int8(2) / x, "div", (number(2), x)),
        (-x, "neg", (x,)),
        (abs(x), "abs", (x,)),
        (x < y, "less", (x, y)),
        (x > y, "less", (y, x)),
        (x <= y, "less_equal", (x, y)),
        (x >= y, "less_equal", (y, x)),
        (x > 0, "less", (number(0), x)),
        (0 > x, "less", (x, number(0))),
        (gates.where(x > 0, x, 1), "where", (x > 0, x, number(1))),
        (gates.log(x, 10), "div", (gates.log(x), gates.log(10))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_operator_gives_a_gate_with_its_operands_in_order(built, operation, operands):
    assert built.operation == operation
    assert built.operands == operands
    assert built.data is None


@pytest.mark.parametrize("given", [np.array([1.0, 2.0]), np.array([1, 2]), [1, 2], (1.0, 2.0)])
def test_arrays_on_either_side_become_constants(given):
    left, right = given - x, x - given
    assert left.operands[0] is right.operands[1]
    constant = left.operands[0]
    assert constant.operation == "array"
    assert constant.data.dtype == np.float64 and not constant.data.flags.writeable
    assert constant.data.tolist() == [1.0, 2.0]


def test_columns_of_pandas_become_constants():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    column = pandas.Series([1.0, 2.0], index=["a", "b"])
    assert column * x is np.array([1.0, 2.0]) * x
    assert x - column.to_frame() is x - np.array([[1.0], [2.0]])


def test_a_constant_array_is_a_copy():
    given = np.array([1.0, 2.0])
    f = x + given
    given[0] = 5.0
    assert f.operands[1].data.tolist() == [1.0, 2.0]


def test_a_number_may_stand_as_an_array_without_axes():
    assert x + np.array(2.0) is x + 2


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) & set(gates.__all__)))
def test_every_function_makes_the_operation_of_its_name(name):
    operands = (x, y, z)[: OPERATIONS[name].arity]
    built = getattr(gates, name)(*operands)
    assert built.operation == name and built.operands == operands


def test_the_functions_are_all_operations_that_people_write():
    internal = {"silu_slope", "mish_slope", "gelu_tanh_slope", "sum_like", "broadcast_like"}
    written = {"add", "sub", "mul", "div", "pow", "neg", "less", "less_equal", "equal"}
    assert set(OPERATIONS) - set(gates.__all__) == internal | written


def test_inputs_come_in_the_order_of_their_first_use():
    assert (z * x + y * z).inputs == ("z", "x", "y")
    assert (2 * gates.exp(number(1))).inputs == ()


def test_gates_come_after_their_operands():
    f = (x + y) * gates.sin(x + y) + 1
    order = f.gates()
    assert order[-1] is f and len(set(order)) == len(order)
    for i, gate in enumerate(order):
        assert set(gate.operands) <= set(order[:i])
    assert f.count() == 4


# ---- equal subgraphs ----------------------------------------------------------------------


def test_equal_formulas_are_one_gate():
    assert (x + y) * z is (x + y) * z
    assert gates.inputs("x") == (x,)
    assert (x * y + x * y).operands[0] is (x * y + x * y).operands[1]
    assert x * np.arange(3) is x * np.arange(3.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (x + y, y + x),
        (x + 0.0, x + -0.0),
        (x + 1.0, x + np.nextafter(1.0, 2.0)),
        (x * np.zeros(3), x * np.zeros((1, 3))),
        (x * np.zeros(3), x * -np.zeros(3)),
        (x - y, x + -y),
    ],
    ids=lambda value: "",
)
def test_formulas_that_differ_are_different_gates(one, other):
    assert one is not other and one != other


def test_nan_constants_are_one_gate():
    assert x + float("nan") is x + float("nan")


def test_a_gate_that_nobody_refers_to_is_freed():
    gc.collect()
    before = len(_graph._table)
    f = gates.exp(x * 17.25) + np.arange(5.0)
    dead = weakref.ref(f)
    assert len(_graph._table) == before + 5
    del f
    gc.collect()
    assert dead() is None and len(_graph._table) == before


def test_a_long_chain_is_freed_without_recursion():
    gc.collect()
    before = len(_graph._table)
    f = x
    for _ in range(50_000):
        f = f + 1
    del f
    gc.collect()
    assert len(_graph._table) <= before + 1


def test_a_trace_keeps_no_gate_after_it():
    gc.collect()
    before = len(_graph._table)
    trace = (gates.tanh(x * 3.125) + 1).trace(x=2.0)
    trace.gradient()
    del trace
    gc.collect()
    assert len(_graph._table) <= before


def test_threads_find_the_same_gates():
    n_threads, n_rounds = 8, 300
    start = threading.Barrier(n_threads)
    found = [[] for _ in range(n_threads)]

    def build(mine):
        start.wait()
        for i in range(n_rounds):
            f = x
            for k in range(5):
                f = gates.sin(f * (i + 0.5)) + k
            mine.append(f)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=build, args=(mine,)) for mine in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    for same in zip(*found, strict=True):
        assert len(set(map(id, same))) == 1


def count_of_sum(i):
    return (x + 0.5 * (y + i)).count()


def fork_while_gates_are_made():
    """Children are forked while another thread is in the table of gates most of the time."""
    stop = threading.Event()

    def build():
        while not stop.is_set():
            for i in range(100):
                gates.sin(x * i)

    thread = threading.Thread(target=build)
    thread.start()
    try:
        for i in range(30):
            assert result_of(start_forked(count_of_sum, i)) == 3
    finally:
        stop.set()
        thread.join()


@needs_fork
def test_a_forked_child_makes_gates():
    isolated(fork_while_gates_are_made)


# ---- copies -------------------------------------------------------------------------------

F = gates.where(x > 0, gates.sum(x * np.arange(3.0)), -0.0) / gates.maximum(y, 2)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_unpickled_gate_is_the_same_gate(protocol):
    assert pickle.loads(pickle.dumps(F, protocol)) is F


def test_copies_are_the_gate_itself():
    assert copy.copy(F) is F
    assert copy.deepcopy({"f": [F]})["f"][0] is F


def test_a_pickle_has_every_shared_gate_once():
    f = x
    for _ in range(60):
        f = f * f + 1  # 2⁶⁰ paths
    assert pickle.loads(pickle.dumps(f)) is f


def test_a_pickled_gate_is_read_in_another_process(tmp_path):
    file = tmp_path / "gate.pickle"
    file.write_bytes(pickle.dumps(F))
    code = (
        "import pickle, pathlib, sys\n"
        "f = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(f.inputs, f.count(), f.trace(x=[1, 2, 3], y=0.0).value.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, file], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "('x', 'y') 6 [4.0, 4.0, 4.0]"


def test_deep_graphs_are_pickled_without_recursion():
    f = x
    for k in range(20_000):
        f = gates.sin(f) + k
    assert pickle.loads(pickle.dumps(f)) is f


# ---- bad input ----------------------------------------------------------------------------


def test_a_gate_never_changes():
    f = x + y
    with pytest.raises(AttributeError, match="never changes"):
        f.operation = "mul"
    with pytest.raises(AttributeError, match="never changes"):
        del f.operands
    with pytest.raises(ValueError, match="read-only"):
        (x + np.ones(2)).operands[1].data[0] = 3


def test_a_gate_is_not_made_by_its_class():
    with pytest.raises(TypeError, match="gates.inputs"):
        gates.Gate()


def test_a_gate_has_no_truth():
    with pytest.raises(TypeError, match=r"gates\.where"):
        if x > 0:
            pass
    with pytest.raises(TypeError, match=r"gates\.maximum"):
        max(x, 0)
    with pytest.raises(TypeError, match=r"gates\.where"):
        0 < x < 1  # noqa: B015


@pytest.mark.parametrize("function", [np.exp, np.mean, np.sum, np.asarray, np.max])
def test_functions_of_numpy_refuse_a_gate(function):
    with pytest.raises(TypeError):
        function(x)


@pytest.mark.parametrize("other", ["2", None, 1j, {1: 2}, b"2"], ids=repr)
def test_operators_refuse_what_is_not_a_number(other):
    with pytest.raises(TypeError, match="unsupported operand"):
        x + other
    with pytest.raises(TypeError, match="unsupported operand"):
        other - x
    with pytest.raises(TypeError, match="exp takes gates, numbers and arrays"):
        gates.exp(other)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: gates.where(x == y, x, y), TypeError, "same formula"),
        (lambda: x + True, TypeError, "got True"),
        (lambda: x + ["a", "b"], TypeError, "must hold real numbers"),
        (lambda: x + [1, None], ValueError, "missing"),
        (lambda: x + [[1, 2], [3]], ValueError, "different lengths"),
        (lambda: x + [x, 1], TypeError, "not an array"),
        (lambda: x + np.array([1j]), TypeError, "must hold real numbers"),
        (lambda: x + np.ones((3, 0)), ValueError, "rows are empty"),
        (lambda: x + np.ma.masked_equal([1, 2], 2), ValueError, "masked"),
        (lambda: x + 10**400, ValueError, "beyond float64"),
        (lambda: gates.log(x, 1), ValueError, "base"),
        (lambda: gates.log(x, -2), ValueError, "base"),
        (lambda: gates.log(x, float("nan")), ValueError, "base"),
        (lambda: gates.inputs(), ValueError, "at least one name"),
        (lambda: gates.inputs("x y"), ValueError, "identifier"),
        (lambda: gates.inputs("x,y"), ValueError, "one name per argument"),
        (lambda: gates.inputs("lambda"), ValueError, "identifier"),
        (lambda: gates.inputs(""), ValueError, "identifier"),
        (lambda: gates.inputs("x", "x"), ValueError, "of its own"),
        (lambda: gates.inputs(3), TypeError, "string"),
        (lambda: gates.inputs(["x", "y"]), TypeError, "string"),
        (lambda: _graph.gate_of("erf", (x,)), ValueError, "unknown operation 'erf'"),
        (lambda: _graph.gate_of("add", (x,)), ValueError, "add takes 2 operands; got 1"),
    ],
)
def test_bad_input_is_refused_with_the_reason(build, error, message):
    with pytest.raises(error, match=message):
        build()
