"""Formulas compared with the built-in activations and losses that they describe.

    python benchmarks/formulas.py [--rounds 15] [--dtype float32] [--only step,phase,array,graph]

step    A whole training step with Adam, with the formula and with the built-in function, on three
        networks. PReLU, a formula with a trained constant, is compared with leaky_relu.
phase   The activation alone, forward and backward, or the loss alone: the time of the step, minus
        that of the same step with the identity or with the squared error.
array   A formula of 20 gates over 10⁶ numbers, compared with NumPy, and with numexpr if it is
        installed, on one thread.
graph   Values and gradients of a graph of 10⁵ gates.

All times are processor times of the calling thread. The programs of a row run in turn, and each row
shows the fastest times and their ratio.
"""

import argparse
import math
import time

import numpy as np

import fastbp
from fastbp import _core, gates

# widths, rows of a batch, and steps per fit: enough that making its buffers does not matter
NETWORKS = {
    "mnist-m": ((784, 512, 512, 10), 128, 10),
    "surr": ((6, 50, 50, 50, 3), 1000, 40),
    "chains": ((4, 32, 16, 4), 10_000, 20),
}
ACTIVATIONS = {
    "silu": lambda z: z / (1 + gates.exp(-z)),
    "gelu_tanh": lambda z: (
        0.5 * z * (1 + gates.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    ),
    "mish": lambda z: z * gates.tanh(gates.log(1 + gates.exp(z))),
    "leaky_relu": lambda z: gates.where(z > 0, z, 0.01 * z),
}


def huber(a, y):
    e = abs(a - y)
    return gates.mean(gates.where(e < 1, 0.5 * e**2, e - 0.5))


def softmax_cross_entropy(z, y):
    return -gates.sum(y * gates.log(gates.exp(z) / gates.sum(gates.exp(z))))


def fits(networks, batch, steps, dtype):
    """Return the fastest microseconds per step of networks that train in turn."""
    n_in, n_out = networks[0].widths[0], networks[0].widths[-1]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(batch * steps, n_in)).astype(dtype)
    numbers = rng.normal(size=(batch * steps, n_out)).astype(dtype)
    labels = rng.integers(n_out, size=batch * steps).astype(np.int32)
    trainings = []
    for net in networks:
        y = labels if net.criterion.labels else numbers
        trainings.append((net, y, fastbp.optim.Adam(1e-4)))

    def run(k):
        net, y, optimizer = trainings[k]
        net.fit(X, y, epochs=1, batch_size=batch, optimizer=optimizer, n_threads=1)

    return [1e6 * best / steps for best in in_turn(run, len(networks), fits.rounds)]


def in_turn(run, n, rounds):
    """Return the fastest seconds of run(0) … run(n − 1), which run in turn."""
    best = [math.inf] * n
    for turn in range(rounds):
        for k in range(n)[:: 1 if turn % 2 == 0 else -1]:
            began = time.thread_time()
            run(k)
            best[k] = min(best[k], time.thread_time() - began)
    return best


def pairs(widths):
    """Yield (name, built-in network, network of formulas, network without it) as keywords."""
    mse = {"loss": "mse"}
    for name, function in ACTIVATIONS.items():
        own = gates.activation(function)
        yield name, mse | {"activation": name}, mse | {"activation": own}, mse
    yield (
        "prelu, leaky_relu",
        mse | {"activation": "leaky_relu"},
        mse | {"activation": "prelu"},
        mse,
    )
    relu = {"activation": "relu"}
    yield "huber", relu | {"loss": "huber"}, relu | {"loss": gates.loss(huber)}, relu
    yield (
        "softmax + cross_entropy",
        relu | {"output": "softmax", "loss": "cross_entropy"},
        relu | {"loss": gates.loss(softmax_cross_entropy, targets="classes")},
        relu,
    )


def measure_steps(dtype, phases):
    """Print the ratio of whole steps, or of what the function adds to a step."""
    for name, (widths, batch, steps) in NETWORKS.items():
        for what, built_in, own, without in pairs(widths):
            plain = {"activation": "identity"} | without
            nets = [
                fastbp.Network(widths, seed=0, dtype=dtype, **keywords)
                for keywords in ((built_in, own, plain) if phases else (built_in, own))
            ]
            times = fits(nets, batch, steps, dtype)
            if phases:
                times = [times[0] - times[2], times[1] - times[2]]
            line = f"built-in {times[0]:8.1f} µs, formula {times[1]:8.1f} µs"
            print(f"{name:8} {what:24} {line}, ratio {times[1] / times[0]:5.2f}")


def measure_array(dtype):
    """Print the times of a formula of 20 gates over 10⁶ numbers."""

    def formula(x, f):
        u = f.exp(-(x * x)) + 0.5 * x
        v = f.sin(u) * f.cos(x) + f.sqrt(abs(u) + 1)
        w = (v * v + u) / (1 + f.exp(-v))
        return f.log(w * w + 1) - 0.25 * w

    x = np.random.default_rng(0).normal(size=(1000, 1000)).astype(dtype)
    own = gates.activation(lambda z: formula(z, gates))
    program, out = own.programs()[0], np.empty_like(x)
    runs = {
        "engine": lambda: _core.run_program(program, (x,), x.shape, dtype == "float64", out=[out]),
        "NumPy": lambda: formula(x, np),
    }
    try:
        import numexpr
    except ImportError:
        print("numexpr is not installed")
    else:
        numexpr.set_num_threads(1)
        text = (
            "log(w * w + 1) - 0.25 * w".replace("w", "((v * v + u) / (1 + exp(-v)))")
            .replace("v", "(sin(u) * cos(x) + sqrt(abs(u) + 1))")
            .replace("u", "(exp(-(x * x)) + 0.5 * x)")
        )
        runs["numexpr"] = lambda: numexpr.evaluate(text, {"x": x})
    calls = list(runs.values())
    best = in_turn(lambda k: calls[k](), len(calls), fits.rounds)
    for name, seconds in zip(runs, best, strict=True):
        print(
            f"{own.gate.count()} gates, {name:8} {1e3 * seconds:8.2f} ms, {seconds / best[0]:5.2f}"
        )


def measure_graph():
    """Print the time of a trace and a walk of 10⁵ gates."""
    (x,) = gates.inputs("x")
    gate = x
    for _ in range(50_000):
        gate = gates.sin(gate) + x

    def run(_):
        gate.trace(x=0.3).gradient()

    (seconds,) = in_turn(run, 1, 5)
    print(f"{gate.count()} gates: values and gradients in {seconds:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dtype", default="float32", help="float32 or float64")
    parser.add_argument("--only", default="step,phase,array,graph", help="parts, with commas")
    args = parser.parse_args()
    fits.rounds = args.rounds
    print(f"{fastbp.isa()}, {args.dtype}, 1 thread")
    parts = {
        "step": lambda: measure_steps(args.dtype, phases=False),
        "phase": lambda: measure_steps(args.dtype, phases=True),
        "array": lambda: measure_array(args.dtype),
        "graph": measure_graph,
    }
    for part in args.only.split(","):
        print(f"\n{part}")
        parts[part]()


if __name__ == "__main__":
    main()
