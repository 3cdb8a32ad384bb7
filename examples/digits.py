"""Handwritten digits: a classifier with a validation set, its accuracy and its mistakes.

Data: the 1,797 images of 8 × 8 pixels that come with fastbp (`fastbp.datasets.load_digits`; UCI,
Alpaydin & Kaynak 1998, CC BY 4.0). A quarter is held out as the test set, and a sixth of the rest
as the validation set. The fit ends when the validation score has not risen for 15 epochs, and
restores the best weights. The test images are used only once, at the end.

Expected: about 97 % of the 449 test images right, in half a second.

    python examples/digits.py
"""

import numpy as np

import fastbp
from fastbp.callbacks import EarlyStopping
from fastbp.datasets import digits_split


def confusion(y, predicted, n_classes=10):
    """Return counts (n_classes, n_classes); counts[i, j] images of digit i were read as j."""
    counts = np.zeros((n_classes, n_classes), int)
    np.add.at(counts, (y, predicted), 1)
    return counts


def draw(pixels):
    """Return the pixels (64,), from 0 to 1, as eight lines of text."""
    shades = np.array(list(" .:-=+*#%@"))
    rows = shades[np.minimum(pixels * 10, 9).astype(int)].reshape(8, 8)
    return "\n".join("".join(shade * 2 for shade in row) for row in rows)


def main():
    """Train, print, and return the accuracy on the test images."""
    X, y, X_test, y_test = digits_split()
    X, X_test = X / 16, X_test / 16

    net = fastbp.Network((64, 100, 10), output="softmax", loss="cross_entropy", seed=0, l2=1e-4)
    stop = EarlyStopping("val_score", patience=15)
    history = net.fit(
        X,
        y,
        epochs=200,
        batch_size=32,
        optimizer=fastbp.optim.Adam(2e-3),
        validation_split=1 / 6,
        callbacks=[stop],
    )
    best = history.val_score[stop.best_epoch]
    print(f"{history.epochs} epochs; best validation accuracy {best:.1%}")

    p = net.predict(X_test)
    predicted = p.argmax(axis=1)
    accuracy = float((predicted == y_test).mean())
    print(f"test accuracy {accuracy:.1%}\n\nrows: true digit; columns: predicted digit")
    print("     " + " ".join(f"{digit:3}" for digit in range(10)))
    for digit, row in enumerate(confusion(y_test, predicted)):
        print(f"{digit:3}  " + " ".join(f"{count:3}" if count else "  ." for count in row))

    wrong = np.flatnonzero(predicted != y_test)
    worst = wrong[p[wrong].max(axis=1).argmax()]
    print(f"\nmost confident mistake: a {y_test[worst]}, read as {predicted[worst]}", end=" ")
    print(f"with probability {p[worst].max():.2f}\n{draw(X_test[worst])}")
    return accuracy


if __name__ == "__main__":
    main()
