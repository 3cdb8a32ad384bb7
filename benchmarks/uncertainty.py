"""How many targets the intervals of networks and ensembles contain, on a real regression.

    python benchmarks/uncertainty.py --plot docs/uncertainty.png
    python benchmarks/uncertainty.py [--splits 20] [--members 8] [--epochs N] [--alpha A]

The data are the 442 patients of scikit-learn's diabetes data (Efron et al., 2004): ten measurements
of each, and how far the disease had progressed a year later. Each split trains on 80 % of them and
tests on the others. Three models predict a mean m and a standard deviation s for each patient:

    one network            gaussian_nll: the network has learned m and s
    spread of members      squared_error: m and s are the mean and the spread of the members
    ensemble with variance gaussian_nll: m and s are those of the mixture of the members

An interval m ± z s should contain a share p of the targets if P(|ε| < z) = p for a normal ε. The
program prints the shares that were counted, the mean distance from p for p = 5, 10 … 95 %, the
negative log-likelihood of the test targets in units of the standard deviation of the training
targets, and the root mean square error in units of the target, all of them means over the splits.
With --plot it draws the shares. Trainings stop early, by a tenth of the rows, unless --epochs says
how long they are. The program needs scikit-learn, and matplotlib for the picture.
"""

import argparse
import os
import warnings
from statistics import NormalDist

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ShuffleSplit
from sklearn.preprocessing import StandardScaler

from fastbp.sklearn import MLPRegressor

LEVELS = np.arange(5, 100, 5) / 100
Z = np.array([NormalDist().inv_cdf((1 + p) / 2) for p in LEVELS])
OPTIONS = {"hidden_layer_sizes": 50, "batch_size": 32, "learning_rate_init": 0.01}
# Colours for colour-blind people, after Okabe & Ito.
STYLES = {
    "one network": ("#E69F00", "s"),
    "spread of members": ("#0072B2", "v"),
    "ensemble with variance": ("#AA3377", "o"),
}


def predictions(X, y, X_test, options):
    """Return {name of a model: (mean, standard deviation)} (n,) at X_test."""
    ensemble = MLPRegressor("gaussian_nll", **options).fit(X, y)
    plain = MLPRegressor("squared_error", **options).fit(X, y)
    models = (ensemble.estimators_[0], plain, ensemble)
    return {
        name: model.predict(X_test, return_std=True)
        for name, model in zip(STYLES, models, strict=True)
    }


def figures(y, mean, std):
    """Return the shares (n_levels,) in the intervals, the negative log-likelihood, and the RMSE."""
    errors = y - mean
    shares = (abs(errors)[:, None] < std[:, None] * Z).mean(axis=0)
    likelihood = np.mean(np.log(2 * np.pi * std**2) + (errors / std) ** 2) / 2
    return shares, likelihood, np.sqrt(np.mean(errors**2))


def measure(n_splits, options):
    """Return {name: (shares, negative log-likelihood, RMSE)}, the means over random splits."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    found = {name: [] for name in STYLES}
    splits = ShuffleSplit(n_splits, test_size=0.2, random_state=0).split(X)
    for seed, (train, test) in enumerate(splits):
        inputs, targets = StandardScaler().fit(X[train]), StandardScaler().fit(y[train, None])
        rows, rows_test = inputs.transform(X[train]), inputs.transform(X[test])
        scaled, scaled_test = (targets.transform(y[part, None])[:, 0] for part in (train, test))
        for name, pair in predictions(
            rows, scaled, rows_test, options | {"random_state": seed}
        ).items():
            shares, likelihood, error = figures(scaled_test, *pair)
            found[name].append((shares, likelihood, error * targets.scale_[0]))
    return {
        name: [np.mean(column, axis=0) for column in zip(*rows, strict=True)]
        for name, rows in found.items()
    }


def table(found):
    """Return the figures as a Markdown table."""
    lines = ["| | in 50 % | in 90 % | mean distance | −log p | RMSE |", "|---|---|---|---|---|---|"]
    for name, (shares, likelihood, error) in found.items():
        half, ninety = (shares[np.searchsorted(LEVELS, p)] for p in (0.5, 0.9))
        distance = abs(shares - LEVELS).mean()
        lines.append(
            f"| {name} | {half:.1%} | {ninety:.1%} | {distance:.1%} | {likelihood:.2f} | "
            f"{error:.1f} |"
        )
    return "\n".join(lines)


def draw(found, path, n_splits, n_members):
    """Draw the shares against those that were predicted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.subplots()
    percent = 100 * LEVELS
    axes.plot([0, 100], [0, 100], color="#999999", linewidth=1, label="calibrated")
    for name, (shares, *_) in found.items():
        colour, marker = STYLES[name]
        axes.plot(percent, 100 * shares, color=colour, marker=marker, markersize=4, label=name)
    axes.set(xlabel="predicted share of targets in the interval, %", xlim=(0, 100))
    axes.set(ylabel="share that was counted, %", ylim=(0, 100), aspect="equal")
    axes.set_title(f"diabetes, {n_splits} splits, {n_members} members", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--plot", metavar="PNG", help="draw the shares")
    parser.add_argument("--epochs", type=int, help="train so long, without early stopping")
    parser.add_argument("--alpha", type=float, default=1e-4, help="penalty")
    args = parser.parse_args(arguments)
    stopping = {"early_stopping": True} if args.epochs is None else {"max_iter": args.epochs}
    warnings.simplefilter("ignore", ConvergenceWarning)
    found = measure(
        args.splits, {**OPTIONS, **stopping, "n_members": args.members, "alpha": args.alpha}
    )
    print(table(found))
    if args.plot is not None:
        draw(found, args.plot, args.splits, args.members)
        print(f"{args.plot}: {os.path.getsize(args.plot) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
