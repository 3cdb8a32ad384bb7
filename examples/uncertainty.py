"""Regression that says how sure it is: means with variances, and quantiles, by what they cover.

Data: made here by the law y = sin 2x + x/2 + σ(x) ε with ε normal and
σ(x) = 0.1 + 0.5/(1 + e^{−2x}), so that the noise on the right is six times that on the left; 4,000
points to train on, 4,000 others to test. As σ is known, what the networks say of it can be held
against the truth.

Three intervals that are to hold 90 % of the targets:

    constant   the mean by `mse`, and one σ for all x: the usual way
    gaussian   mean m and log variance s of each x by `gaussian_nll`: m ± 1.645 e^{s/2}
    quantile   the quantiles 0.05 and 0.95 of each x by `quantile`, whatever the noise's shape

Expected: all hold about 90 % on the whole, but where there is little noise the first holds nearly
everything and where there is much some 75 %, and the other two 85 to 95 % everywhere. About a
second.

    python examples/uncertainty.py
"""

import numpy as np

import fastbp

Z90 = 1.6449  # 90 % of a normal variable lie within so many σ
SLICES = np.linspace(-3, 3, 7)


def noise(x):
    """σ(x) of the law."""
    return 0.1 + 0.5 / (1 + np.exp(-2 * x))


def draw(n, rng):
    """x (n, 1) uniform in −3 … 3 and y (n, 1)."""
    x = rng.uniform(-3, 3, (n, 1))
    return x, np.sin(2 * x) + x / 2 + noise(x) * rng.normal(size=x.shape)


def fitted(x, y, loss, n_out):
    """A network for y given x."""
    net = fastbp.Network((1, 32, 32, n_out), activation="tanh", loss=loss, seed=0)
    optimizer = fastbp.optim.Adam()
    for optimizer.lr in (1e-2, 3e-3, 1e-3):
        net.fit(x, y, epochs=20, batch_size=64, optimizer=optimizer)
    return net


def intervals(x, y, x_test):
    """{name: (lower, upper) (n, 1) at x_test}, and the σ learned there (n, 1)."""
    mean = fitted(x, y, "mse", 1)
    sigma = np.std(y - mean.predict(x))
    m, s = np.hsplit(fitted(x, y, "gaussian_nll", 2).predict(x_test), 2)
    learned = np.exp(s / 2)
    bounds = {
        "constant": (mean.predict(x_test) - Z90 * sigma, mean.predict(x_test) + Z90 * sigma),
        "gaussian": (m - Z90 * learned, m + Z90 * learned),
        "quantile": np.hsplit(fitted(x, y, "quantile(0.05, 0.95)", 2).predict(x_test), 2),
    }
    return bounds, learned


def main():
    """Trains; returns {name: share of test targets inside, by slice of x}, and the error of σ."""
    rng = np.random.default_rng(0)
    (x, y), (x_test, y_test) = draw(4000, rng), draw(4000, rng)
    bounds, learned = intervals(x, y, x_test)

    where = np.digitize(x_test.ravel(), SLICES[1:-1])
    slices = range(len(SLICES) - 1)
    inside = {name: (low < y_test) & (y_test < high) for name, (low, high) in bounds.items()}
    share = {name: [rows[where == i].mean() for i in slices] for name, rows in inside.items()}
    print("share of test targets inside:" + "".join(f"{name:>10}" for name in inside))
    for i in slices:
        print(f"    x from {SLICES[i]:2.0f} to {SLICES[i + 1]:2.0f}            ", end="")
        print("".join(f"{shares[i]:10.1%}" for shares in share.values()))
    print("    on the whole             " + "".join(f"{v.mean():10.1%}" for v in inside.values()))

    error = np.sqrt(np.mean((learned / noise(x_test) - 1) ** 2))
    print(f"\nσ(x) learned by gaussian_nll is off by {error:.1%} (RMS); true against learned:")
    for i in slices:
        true, found = (values[where == i].mean() for values in (noise(x_test), learned))
        print(
            f"    x from {SLICES[i]:2.0f} to {SLICES[i + 1]:2.0f}: {true:.2f} {found:.2f}  ", end=""
        )
        print("#" * round(60 * float(found)))
    return share, float(error)


if __name__ == "__main__":
    main()
