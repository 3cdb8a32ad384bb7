"""What a program means, in NumPy: one instruction after another on whole arrays."""

import numpy as np

from fastbp.gates._program import OPERATIONS, REDUCTIONS


def cubic(x):
    return np.sqrt(2 / np.pi) * x * (1 + 0.044715 * x * x)


def sigmoid(x):
    return np.where(x >= 0, 1, np.exp(-abs(x))) / (1 + np.exp(-abs(x)))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


def silu_slope(x):
    return sigmoid(x) + x * sigmoid(x) * sigmoid(-x)


def mish_slope(x):
    t = np.tanh(softplus(x))
    return t + x * (1 - t * t) * sigmoid(x)


def gelu_tanh_slope(x):
    dv = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x * x)
    return sigmoid(2 * cubic(x)) + 2 * x * sigmoid(2 * cubic(x)) * sigmoid(-2 * cubic(x)) * dv


COMPUTED = {
    "copy": lambda x: x,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "fma": lambda x, y, z: x * y + z,
    "fms": lambda x, y, z: x * y - z,
    "fnma": lambda x, y, z: z - x * y,
    "min": np.minimum,
    "max": np.maximum,
    "pow": np.power,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "square": np.square,
    "reciprocal": lambda x: 1 / x,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "gelu_tanh": lambda x: x * sigmoid(2 * cubic(x)),
    "silu_slope": silu_slope,
    "mish_slope": mish_slope,
    "gelu_tanh_slope": gelu_tanh_slope,
    "less": lambda x, y: (x < y) * 1.0,
    "less_equal": lambda x, y: (x <= y) * 1.0,
    "equal": lambda x, y: (x == y) * 1.0,
    "select": lambda c, x, y: np.where(c != 0, x, y),
    "select_positive": lambda c, x, y: np.where(c > 0, x, y),
    "row_sum": lambda x: x.sum(axis=1, keepdims=True),
    "row_max": lambda x: x.max(axis=1, keepdims=True),
}


def run(program, inputs, shape):
    """The outputs of a program, after a check of every rule that programs have to follow.

    Parameters
    ----------
    program : Program
        The program.
    inputs : sequence of array_like
        The inputs: full ones broadcast to `shape`, row ones to (n, 1), single ones to ().
    shape : (int, int)
        Rows and outputs.
    """
    shapes = {"full": shape, "row": (shape[0], 1), "one": ()}
    kinds = [*program.inputs, *("one" for _ in program.constants), *program.temporaries]
    assert len(inputs) == len(program.inputs) and np.isfinite(program.constants).all()
    first = len(inputs) + len(program.constants)
    slots = [np.broadcast_to(x, shapes[kind]) for x, kind in zip(inputs, kinds, strict=False)]
    slots += map(np.asarray, program.constants)
    slots += [None] * len(program.temporaries)
    for operation, out, *operands in program.code:
        used = operands[: OPERATIONS[operation]]
        assert operands[len(used) :] == [-1] * (3 - len(used))
        assert out >= first and all(slots[x] is not None for x in used)
        check_kinds(operation, kinds[out], [kinds[x] for x in used])
        if operation == "row_length":
            value = np.asarray(float(shape[1]))
        else:
            with np.errstate(all="ignore"):
                value = COMPUTED[operation](*(slots[x] for x in used))
        slots[out] = np.array(np.broadcast_to(value, shapes[kinds[out]]))
    assert len(set(program.outputs)) == len(program.outputs) and min(program.outputs) >= first
    return [slots[x] for x in program.outputs]


def check_kinds(operation, result, operands):
    if operation in REDUCTIONS:
        assert operands == ["full"] and result == "row"
    elif operation == "row_length":
        assert result == "row"
    elif operation == "copy":
        assert result in ("full", "row") and (result == "full" or operands != ["full"])
    else:
        assert set(operands) != {"one"}
        assert result == ("full" if "full" in operands else "row")
