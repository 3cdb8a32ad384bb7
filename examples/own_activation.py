"""An activation of your own, with a trained constant: its graph, its derivative, and a training.

The activation is z s(beta z), where s is the sigmoid (Swish: Ramachandran, Zoph & Le 2017,
arXiv:1710.05941). Each unit of the hidden layer trains its own beta, which starts at
1. With beta = 0 it is z/2, a straight line; with a large beta it is close to ReLU.

Data: the 1,797 images of 8 × 8 pixels that come with fastbp (`fastbp.datasets.load_digits`; UCI,
Alpaydin & Kaynak 1998, CC BY 4.0). A quarter is held out as the test set.

Expected: about 97 % of the 449 test images right, and values of beta between 0.9 and 1.7, in less
than a second.

    python examples/own_activation.py
"""

import numpy as np

import fastbp
from fastbp import gates
from fastbp.datasets import digits_split
from fastbp.testing import gradcheck


def swish(z, beta):
    """Return z s(beta z), for gates."""
    return z * gates.sigmoid(beta * z)


def show_the_graph():
    """Print the formula at one point, gate by gate, and a derivative, which is a formula too."""
    z, beta = gates.inputs("z", "beta")
    f = swish(z, beta)
    print(f"a = {f} at z = 2, beta = 1.5\n{f.trace(z=2, beta=1.5).table()}\n")
    print(f"for beta = 1: da/dz = {swish(z, 1).derivative('z')}\n")


def main():
    """Train, print, and return the accuracy on the test images and the trained constants."""
    show_the_graph()
    X, y, X_test, y_test = digits_split()
    X, X_test = X / 16, X_test / 16

    activation = gates.activation(swish, beta=1.0, per="unit")
    net = fastbp.Network(
        (64, 100, 10),
        activation=activation,
        output="softmax",
        loss="cross_entropy",
        seed=0,
        l2=1e-4,
    )
    print(f"the gradient, compared with differences:\n{gradcheck(net, X[:5], y[:5])}\n")

    net.fit(X, y, epochs=40, batch_size=32, optimizer=fastbp.optim.Adam(2e-3))
    accuracy = float((net.predict(X_test).argmax(axis=1) == y_test).mean())
    beta = np.sort(net.layers[0].constants["beta"])
    print(f"test accuracy {accuracy:.1%}; beta from {beta[0]:.2f} to {beta[-1]:.2f}")
    return accuracy, beta


if __name__ == "__main__":
    main()
