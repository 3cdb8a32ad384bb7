"""Time of a training step while gradients vanish and moments decay towards 0.

    python benchmarks/dying_gradients.py [--steps 10000] [--parts 10] [--dtype float32]

The network is 784-128-10 with relu and cross-entropy. There are two tasks. The first trains on the
same sample again and again, with batch size 1, by every rule. The second trains by Adam and by SGD
with momentum on batches of 64, in which most inputs are 0 except in a few rows of the data; their
moments decay between these rows. One `train_batch` or one epoch is timed at a time.

For each tenth of the steps, the program prints the fastest time, in processor time of the calling
thread. It also prints the ratio of the slowest of these parts to the first one. The ratio is near 1
if the time does not depend on how small the moments are.
"""

import argparse
import time

import numpy as np

import fastbp
from fastbp.optim import SGD, Adam
from fastbp.optim._names import BY_NAME

WIDTHS, RARE_ROWS, BATCH = (784, 128, 10), 2048, 64


def one_sample(dtype, optimizer):
    """Return a function that makes one step on the same sample, and its number of steps."""
    net = fastbp.Network(WIDTHS, output="softmax", loss="cross_entropy", dtype=dtype, seed=0)
    rng = np.random.default_rng(0)
    X, y = rng.random((1, WIDTHS[0])).astype(dtype), np.array([3], np.int32)
    return lambda: net.train_batch(X, y, optimizer), 1


def rare_features(dtype, optimizer):
    """Return a function that makes an epoch over data with rare inputs, and its number of steps.

    The first 50 inputs are dense. Each of the others is nonzero in a single row.
    """
    net = fastbp.Network(WIDTHS, output="softmax", loss="cross_entropy", dtype=dtype, seed=0)
    rng = np.random.default_rng(0)
    X = np.zeros((RARE_ROWS, WIDTHS[0]), dtype)
    X[:, :50] = rng.random((RARE_ROWS, 50))
    X[np.arange(WIDTHS[0] - 50), 50 + np.arange(WIDTHS[0] - 50)] = 1
    y = rng.integers(WIDTHS[-1], size=RARE_ROWS).astype(np.int32)

    def epoch():
        net.fit(X, y, epochs=1, batch_size=BATCH, optimizer=optimizer, n_threads=1)

    return epoch, RARE_ROWS // BATCH


def parts_of(make, steps, parts):
    """Return microseconds per step for each part of the training, from its fastest call."""
    call, per_call = make
    calls = max(1, steps // parts // per_call)
    best = []
    for _ in range(parts):
        seconds = []
        for _ in range(calls):
            began = time.thread_time()
            call()
            seconds.append(time.thread_time() - began)
        best.append(1e6 * min(seconds) / per_call)
    return np.array(best)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--steps", type=int, default=10_000, help="steps of each training (default: 10000)"
    )
    parser.add_argument(
        "--parts", type=int, default=10, help="number of parts of each training (default: 10)"
    )
    parser.add_argument("--dtype", default="float32", help="float32 or float64 (default: float32)")
    args = parser.parse_args()
    momentum = {"momentum": lambda: SGD(1e-3, momentum=0.9)}
    nesterov = {"nesterov": lambda: SGD(1e-3, momentum=0.9, nesterov=True)}
    rules = {
        one_sample: BY_NAME | momentum | nesterov,
        rare_features: {"adam": Adam} | momentum,
    }
    for task, by_name in rules.items():
        for name, rule in by_name.items():
            us = parts_of(task(args.dtype, rule()), args.steps, args.parts)
            shown = " ".join(f"{part:8.1f}" for part in us)
            title = f"{task.__name__.replace('_', ' ')}, {name}"
            print(f"{title:26}{shown} µs per step; slowest/first {us.max() / us[0]:.2f}")


if __name__ == "__main__":
    main()
