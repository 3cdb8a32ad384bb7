"""Learning without the transposed weights: direct feedback alignment beside backpropagation.

Every hidden layer gets the error of the outputs through fixed random weights of its own, in place
of δ^{l+1} W^{l+1}ᵀ: δ^l = (δ^L B^l) ⊙ σ'(z^l) (Nøkland, "Direct feedback alignment provides
learning in deep neural networks", NeurIPS 2016). A hook puts it in the place of δ^l; all else is
the engine's.

Data: the 1,797 images of 8 × 8 pixels that come with fastbp (`fastbp.datasets.load_digits`; UCI,
Alpaydin & Kaynak 1998, CC BY 4.0), a quarter held out.

Expected: about 97 % of the 449 test images right by either rule. Under feedback alignment the
angle between its gradient and that of backpropagation falls from 90° or so to 60°, for the weights
come to agree with B; some two seconds.

    python examples/direct_feedback_alignment.py
"""

import numpy as np

import fastbp
from fastbp.datasets import digits_split

WIDTHS = (64, 200, 200, 10)


def feedback(net, rng):
    """A hook that replaces the δ of hidden layers by the output's through random weights."""
    B = {l: rng.normal(size=(WIDTHS[-1], WIDTHS[l])) / np.sqrt(WIDTHS[l]) for l in (1, 2)}
    error = {}

    def hook(l, delta):
        if l == len(net.layers):
            error["L"] = delta.copy()
            return None
        return net.pull_back(l, error["L"] @ B[l])

    return hook


def train(net, X, y, hook, rng, epochs=30, batch=50):
    """Trains in place; a hook of None is backpropagation."""
    optimizer = fastbp.optim.Adam(1e-3)
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for rows in np.split(order, range(batch, len(X), batch)):
            net.train_batch(X[rows], y[rows], optimizer, hook=hook)


def angle(net, X, y, hook):
    """Degrees between the gradients of the first layer's weights by hook and by backpropagation."""
    gradients = []
    for each in (hook, None):
        net.forward(X)
        net.backward(y, hook=each)
        gradients.append(net.layers[0].dW.ravel().copy())
    u, v = gradients
    return float(np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))))


def main():
    """Trains by both rules, prints, and returns the accuracies on the test set: (DFA, backprop)."""
    X, y, X_test, y_test = digits_split()
    X, X_test = X / 16, X_test / 16
    accuracy = {}
    for rule in ("direct feedback alignment", "backpropagation"):
        rng = np.random.default_rng(0)
        net = fastbp.Network(
            WIDTHS, activation="tanh", output="softmax", loss="cross_entropy", seed=0
        )
        hook = feedback(net, rng)
        before = angle(net, X, y, hook)
        train(net, X, y, hook if rule.startswith("direct") else None, rng)
        accuracy[rule] = float((net.predict(X_test).argmax(axis=1) == y_test).mean())
        after = angle(net, X, y, hook)
        print(
            f"{rule:26} {accuracy[rule]:.1%} right; angle {before:.0f}° before, {after:.0f}° after"
        )
    return tuple(accuracy.values())


if __name__ == "__main__":
    main()
