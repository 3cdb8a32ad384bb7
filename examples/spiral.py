"""Two arms of a spiral, three turns each: why hidden layers are needed, drawn as text.

Data: the points of Lang & Witbrock, "Learning to tell two spirals apart" (1988), 97 on each arm.
The second arm is the first one rotated by half a turn. Neither one line nor a few lines can
separate the arms. The test points lie on the same arms, halfway between the training points.

Expected: all training points and all test points right, in about a second.

    python examples/spiral.py
"""

import numpy as np

import fastbp


def spiral(steps):
    """Return points (2n, 2) in the unit disc on both arms, and their arm (2n,), 0 or 1."""
    radius = (104 - steps) / 104
    angle = steps * np.pi / 16
    arm = np.column_stack([radius * np.sin(angle), radius * np.cos(angle)])
    return np.concatenate([arm, -arm]), np.repeat([0, 1], len(steps))


def draw(net, X, y, size=41):
    """Return the plane as text: `#` and blank are the predicted arms, `o` and `x` the points."""
    axis = np.linspace(-1, 1, size)
    plane = np.stack(np.meshgrid(axis, -axis), axis=-1)
    picture = np.where(net.predict(plane.reshape(-1, 2)).reshape(size, size) > 0.5, "#", " ")
    column, row = ((X * [1, -1] + 1) / 2 * (size - 1)).round().astype(int).T
    picture[row, column] = np.where(y == 1, "x", "o")
    return "\n".join(" ".join(line) for line in picture)


def main():
    """Train, draw, and return the accuracies on the training points and the test points."""
    X, y = spiral(np.arange(97.0))
    X_test, y_test = spiral(np.arange(96) + 0.5)

    net = fastbp.Network(
        (2, 64, 64, 1), output="sigmoid", loss="binary_cross_entropy", seed=0, l2=1e-5
    )
    history = net.fit(X, y, epochs=2000, batch_size=32, optimizer=fastbp.optim.Adam(3e-3))

    accuracy = ((net.predict(X).ravel() > 0.5) == y).mean()
    test = ((net.predict(X_test).ravel() > 0.5) == y_test).mean()
    print(draw(net, X, y))
    print(f"\nloss {history.loss[0]:.3f} at the start, {history.loss[-1]:.4f} at the end")
    print(f"right: {accuracy:.1%} of {len(y)} training, {test:.1%} of {len(y_test)} test points")
    return float(accuracy), float(test)


if __name__ == "__main__":
    main()
