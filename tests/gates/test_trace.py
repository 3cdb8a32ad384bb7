"""Values and gradients of formulas, gate by gate, in cases worked out by hand."""

import numpy as np
import pytest

from fastbp import gates

x, y, z = gates.inputs("x", "y", "z")


def test_a_sum_times_a_number():
    """f = (x + y) z: add distributes, multiply swaps."""
    f = (x + y) * z
    trace = f.trace(x=-2, y=5, z=-4)
    assert trace.value == -12.0 and trace.values[x + y] == 3.0
    assert trace.gradient() == {"x": -4.0, "y": -4.0, "z": 3.0}
    assert trace.gradients[x + y] == -4.0 and trace.gradients[f] == 1.0


def test_two_paths_are_added():
    """e = (a + b)(b + 1): b acts through both factors."""
    a, b = gates.inputs("a", "b")
    trace = ((a + b) * (b + 1)).trace(a=2, b=1)
    assert trace.value == 6.0
    assert trace.gradient() == {"a": 2.0, "b": 5.0}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"x": 1}, TypeError, "needs a value for y"),
        ({"x": 1, "y": 2, "t": 3}, TypeError, "no input t; its inputs are x, y"),
        ({"x": "1", "y": 2}, TypeError, "x must hold real numbers"),
        ({"x": [1, None], "y": 2}, ValueError, "missing"),
        ({"x": x, "y": 2}, TypeError, "got a gate"),
        ({"x": np.ones(3), "y": np.ones(2)}, ValueError, r"add have shapes \(3,\) and \(2,\)"),
        ({"x": np.ones((3, 0)), "y": 1}, ValueError, "rows are empty"),
    ],
)
def test_bad_values_are_refused_with_the_reason(given, error, message):
    with pytest.raises(error, match=message):
        (x + y).trace(**given)
