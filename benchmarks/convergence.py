"""What `matmul_precision` does to the result of a training.

    python benchmarks/convergence.py [--tasks NAMES] [--seeds 5] [--epochs N] [--folder DIR]

Each task is trained with every precision from the same initial weights and in the same order of
rows, once per seed. The data are the same for all seeds. The program prints a table for
docs/numerics.md: the final J on the training rows and the score on test rows, as mean ± standard
deviation over the seeds; then how far both are from those of "highest" with the same seed, as mean
± standard error in units of that standard deviation. A score is the share of right answers in %,
or for the surrogate the root mean square error in % of the standard deviation of the targets.

The task fashion-mnist needs the files of Debian's package dataset-fashion-mnist, or others of the
same layout in --folder, and is left out without them.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

import fastbp
from fastbp._config import config
from fastbp.optim import Adam

PRECISIONS = ("highest", "high", "medium")


def digits(folder):
    """The digits of the package, 8×8 pixels from 0 to 1."""
    X, y, X_test, y_test = fastbp.datasets.digits_split()
    return X / 16, y, X_test / 16, y_test


def fashion_mnist(folder):
    """60,000 and 10,000 pictures of 784 pixels from 0 to 1."""
    X, y, X_test, y_test = fastbp.datasets.load_fashion_mnist(folder)
    return X / 255, y, X_test / 255, y_test


def teacher(n_inputs, n_latent, rows, test_rows, noise):
    """Inputs from 0 to 1 that are functions of fewer hidden numbers, which also give the class.

    It is the largest output of a random network of two layers, with noise in its outputs.
    """
    rng = np.random.default_rng(12)
    hidden = rng.normal(size=(rows + test_rows, n_latent))
    shown = hidden @ rng.normal(size=(n_latent, n_inputs)) / np.sqrt(n_latent)
    X = 1 / (1 + np.exp(-2 * shown - 0.5 * rng.normal(size=shown.shape)))
    inner = np.tanh(hidden @ rng.normal(size=(n_latent, 40)) / np.sqrt(n_latent) * 1.5)
    outputs = inner @ rng.normal(size=(40, 10))
    y = (outputs + noise * rng.normal(size=outputs.shape)).argmax(axis=1)
    X = X.astype(np.float32)
    return X[:rows], y[:rows], X[rows:], y[rows:]


def fashion_shape(folder):
    """20,000 and 5,000 rows of the shape of Fashion-MNIST."""
    return teacher(784, 30, 20_000, 5_000, noise=0.5)


def deep(folder):
    """10,000 and 5,000 rows of 256 inputs."""
    return teacher(256, 30, 10_000, 5_000, noise=0.5)


def surrogate(folder):
    """20,000 and 5,000 rows of three smooth functions of six numbers, without noise."""
    x = np.random.default_rng(34).uniform(-1, 1, (25_000, 6))
    y = np.stack(
        [
            np.sin(np.pi * x[:, 0] * x[:, 1]) + 2 * (x[:, 2] - 0.5) ** 2 + x[:, 3],
            np.exp(-(x**2).sum(axis=1) / 2) * np.cos(3 * x[:, 4]),
            np.tanh(3 * x[:, 5]) * x[:, 3] + x[:, 0] * x[:, 2],
        ],
        axis=1,
    )
    X, y = x.astype(np.float32), ((y - y.mean(axis=0)) / y.std(axis=0)).astype(np.float32)
    return X[:20_000], y[:20_000], X[20_000:], y[20_000:]


@dataclass(frozen=True)
class Task:
    """Data, network and training. The last layer has classes, unless the loss is of numbers."""

    make: Callable
    widths: tuple
    batch_size: int
    epochs: int
    lr: float
    activation: str = "relu"
    loss: str = "cross_entropy"
    schedule: str | None = None

    def describe(self, epochs):
        """The network and its training, in words."""
        runs = [(n, len(list(run))) for n, run in groupby(self.widths)]
        widths = "-".join(f"{n}×{count}" if count > 1 else str(n) for n, count in runs)
        schedule = f", schedule {self.schedule}" if self.schedule else ""
        count = "1 epoch" if epochs == 1 else f"{epochs} epochs"
        training = f"batch {self.batch_size}, {count}, Adam({self.lr}){schedule}"
        return f"{widths}, {self.activation}, {training}"


TASKS = {
    "digits": Task(digits, (64, 128, 64, 10), 32, 30, 1e-3),
    "fashion-mnist": Task(fashion_mnist, (784, 256, 128, 100, 10), 128, 8, 1e-3),
    "fashion shape": Task(fashion_shape, (784, 256, 128, 100, 10), 128, 8, 1e-3),
    "deep": Task(deep, (*[256] * 9, 10), 256, 10, 3e-4),
    "surrogate": Task(
        surrogate, (6, 50, 50, 50, 3), 200, 60, 3e-3, "tanh", "squared_error", "cosine"
    ),
}


def train(task, data, seed, precision, epochs):
    """The final J on the training rows, and the score on the test rows, in %."""
    X, y, X_test, y_test = data
    classes = task.loss == "cross_entropy"
    net = fastbp.Network(
        task.widths,
        activation=task.activation,
        output="softmax" if classes else "identity",
        loss=task.loss,
        seed=seed,
        matmul_precision=precision,
    )
    net.fit(
        X,
        y,
        epochs=epochs,
        batch_size=task.batch_size,
        optimizer=Adam(task.lr),
        schedule=task.schedule,
    )
    outputs = net.predict(X_test)
    if classes:
        score = (outputs.argmax(axis=1) == y_test).mean()
    else:
        score = np.sqrt(((outputs - y_test) ** 2).mean())
    return net.loss(X, y), 100 * score


def shown(mean, error, digits=2, sign=""):
    """Mean ± error, with so many significant digits of the error."""
    places = max(0, digits - 1 - int(np.floor(np.log10(error)))) if error > 0 else digits
    return f"{mean:{sign}.{places}f} ± {error:.{places}f}"


def rows(name, results):
    """The lines of a task in the table, from {precision: (seeds, 2) J and score}."""
    highest = results["highest"]
    unit = highest.std(axis=0, ddof=1)
    for precision, found in results.items():
        cells = [name, f'`"{precision}"`']
        cells += map(shown, found.mean(axis=0), found.std(axis=0, ddof=1))
        gaps = (found - highest) / unit
        errors = gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps))
        for gap, error in zip(gaps.mean(axis=0), errors, strict=True):
            cells.append("" if precision == "highest" else shown(gap, max(error, 0.01), 1, "+"))
        yield f"| {' | '.join(cells)} |"
        name = ""


def parse():
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", default=",".join(TASKS), help="names, separated by commas")
    parser.add_argument("--seeds", type=int, default=5, help="at least 2 (default: 5)")
    parser.add_argument("--folder", help="where the files of Fashion-MNIST are")
    parser.add_argument("--epochs", type=int, help="epochs of every task (default: its own)")
    args = parser.parse_args()
    args.tasks = [name.strip() for name in args.tasks.split(",")]
    for name in args.tasks:
        if name not in TASKS:
            parser.error(f"--tasks: unknown {name!r}; known: {', '.join(TASKS)}")
    if args.seeds < 2:
        parser.error(f"--seeds must be at least 2, for a deviation; got {args.seeds}")
    if args.epochs is not None and args.epochs < 1:
        parser.error(f"--epochs must be at least 1; got {args.epochs}")
    return args


def main():
    args = parse()
    machine = config()
    print(f"{machine['cpu']}, {machine['isa']}, {machine['threads']} threads\n")
    print("| task | `matmul_precision` | J, training rows | score, test rows | ΔJ/sd | Δscore/sd |")
    print("|---|---|---|---|---|---|")
    notes = []
    for name in args.tasks:
        task, began = TASKS[name], time.perf_counter()
        epochs = args.epochs or task.epochs
        try:
            data = task.make(args.folder)
        except FileNotFoundError as error:
            notes.append(f"{name} is left out: {error}")
            continue
        results = {
            precision: np.array(
                [train(task, data, seed, precision, epochs) for seed in range(args.seeds)]
            )
            for precision in PRECISIONS
        }
        print("\n".join(rows(name, results)), flush=True)
        notes.append(f"{name}: {task.describe(epochs)}; {time.perf_counter() - began:.0f} s")
    print("", *notes, sep="\n")


if __name__ == "__main__":
    main()
