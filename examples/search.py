"""Search for hyper-parameters: 81 networks begin on the digits, and few of them reach the end.

Data: the 1,797 images of 8 × 8 pixels that come with fastbp (`fastbp.datasets.load_digits`; UCI,
Alpaydin & Kaynak 1998, CC BY 4.0). A quarter is held out as the test set, and a fifth of the rest
for the comparison of networks.

The networks differ in the number and the width of their hidden layers, in the dropout, the penalty
and the learning rate, which are drawn at random. `Population.halve` trains all of them for two
epochs, the best third for six, and so on (successive halving; Jamieson & Talwalkar, AISTATS 2016).
The survivors go on with their training, so the last ones have 54 epochs like any other network. For
comparison, the program also trains the median network of the first comparison to the end.

Expected: the best network classifies about 97 % of the test images, the median one far fewer. The
search takes a ninth of the epochs that all networks would need, and the program about two seconds.

    python examples/search.py
"""

import numpy as np

import fastbp
from fastbp import Dense, Network, Population
from fastbp.optim import Adam

N, EPOCHS, BATCH = 81, 54, 32


def drawn(rng):
    """Return the hyper-parameters of one network."""
    return {
        "width": int(rng.choice([16, 32, 64, 128])),
        "depth": int(rng.integers(1, 4)),
        "dropout": float(rng.choice([0.0, 0.1, 0.3])),
        "l2": float(10 ** rng.uniform(-6, -2)),
        "lr": float(10 ** rng.uniform(-4, -1)),
    }


def made(choice):
    """Return a network with these hyper-parameters."""
    layers = [Dense(choice["width"], "relu", dropout=choice["dropout"])] * choice["depth"]
    return Network.from_layers(
        64, [*layers, Dense(10, "softmax")], loss="cross_entropy", l2=choice["l2"], seed=0
    )


def described(choice):
    """Return the hyper-parameters in words."""
    widths = "-".join([str(choice["width"])] * choice["depth"])
    return (
        f"{widths:12} dropout {choice['dropout']:.1f}  l2 {choice['l2']:.0e}  lr {choice['lr']:.4f}"
    )


def show(found, choices):
    """Print the best networks of each comparison."""
    for epochs, scores in zip(found.rungs, found.scores, strict=True):
        left = np.flatnonzero(~np.isnan(scores))
        print(f"\nafter {epochs} epochs, {len(left)} networks; the best of them:")
        for k in left[np.argsort(-scores[left], kind="stable")][:3]:
            print(f"  {scores[k]:.3f}  {described(choices[k])}")


def main():
    """Search; return the test accuracy of the best and the median network, and the cost."""
    X, y, X_test, y_test = fastbp.datasets.digits_split()
    X, X_test = X / 16, X_test / 16
    held_out = np.arange(len(X)) % 5 == 0
    rng = np.random.default_rng(1)
    choices = [drawn(rng) for _ in range(N)]
    population = Population([made(choice) for choice in choices])
    found = population.halve(
        X,
        y,
        rows=[~held_out] * N,
        validation_data=(X[held_out], y[held_out]),
        epochs=EPOCHS,
        batch_size=BATCH,
        optimizer=[Adam(choice["lr"]) for choice in choices],
    )
    show(found, choices)
    cost = sum(history.epochs for history in found.histories) / (N * EPOCHS)
    print(f"\n{100 * cost:.0f} % of the epochs that all {N} networks would need")

    middle = int(np.argsort(found.scores[0])[N // 2])
    median = made(choices[middle])
    median.fit(X[~held_out], y[~held_out], epochs=EPOCHS, batch_size=BATCH,
               optimizer=Adam(choices[middle]["lr"]))  # fmt: skip
    accuracy = [
        fastbp.metrics.accuracy(net.predict(X_test), y_test)
        for net in (population[found.best], median)
    ]
    for name, share in zip(("best", "median"), accuracy, strict=True):
        print(f"test accuracy of the {name} network: {100 * share:.1f} %")
    return accuracy, cost


if __name__ == "__main__":
    main()
