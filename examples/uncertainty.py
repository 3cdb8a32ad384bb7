"""Regression with uncertainty: variances and quantiles, and how many targets their intervals hold.

Data: generated here by y = sin 2x + x/2 + σ(x) ε, with ε normal and σ(x) = 0.1 + 0.5/(1 + e^{−2x}).
The noise on the right is six times as large as on the left. There are 4,000 points for training
and 4,000 others for testing. As σ is known, the σ that the networks learn can be compared with it.

Three kinds of intervals should hold 90 % of the targets:

    constant   the mean by `mse`, and one σ for all x: the usual way
    gaussian   mean m and log variance s for each x by `gaussian_nll`: m ± 1.645 e^{s/2}
    quantile   the quantiles 0.05 and 0.95 for each x by `quantile`, for any shape of the noise

Expected: all intervals hold about 90 % overall. The constant ones hold nearly all targets where the
noise is small, and about 75 % where it is large. The other two hold 85 to 95 % everywhere. The
program takes about a second.

    python examples/uncertainty.py
"""

import numpy as np

import fastbp

Z90 = 1.6449  # 90 % of a normal distribution lie within this many σ
SLICES = np.linspace(-3, 3, 7)


def noise(x):
    """Return the true σ(x)."""
    return 0.1 + 0.5 / (1 + np.exp(-2 * x))


def draw(n, rng):
    """Return x (n, 1), uniform in −3 … 3, and y (n, 1)."""
    x = rng.uniform(-3, 3, (n, 1))
    return x, np.sin(2 * x) + x / 2 + noise(x) * rng.normal(size=x.shape)


def fitted(x, y, loss, n_out):
    """Return a network trained to predict y from x."""
    net = fastbp.Network((1, 32, 32, n_out), activation="tanh", loss=loss, seed=0)
    optimizer = fastbp.optim.Adam()
    for optimizer.lr in (1e-2, 3e-3, 1e-3):
        net.fit(x, y, epochs=20, batch_size=64, optimizer=optimizer)
    return net


def intervals(x, y, x_test):
    """Return {name: (lower, upper)} (n, 1) at x_test, and the learned σ (n, 1) there."""
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
    """Train; return {name: share of test targets inside, by slice of x} and the error of σ."""
    rng = np.random.default_rng(0)
    (x, y), (x_test, y_test) = draw(4000, rng), draw(4000, rng)
    bounds, learned = intervals(x, y, x_test)

    where = np.digitize(x_test.ravel(), SLICES[1:-1])
    slices = range(len(SLICES) - 1)
    inside = {name: (low < y_test) & (y_test < high) for name, (low, high) in bounds.items()}
    share = {name: [rows[where == i].mean() for i in slices] for name, rows in inside.items()}
    print("share of test targets inside:" + "".join(f"{name:>10}" for name in inside))
    for i in slices:
        print(f"    x from {SLICES[i]:2.0f} to {SLICES[i + 1]:2.0f}          ", end="")
        print("".join(f"{shares[i]:10.1%}" for shares in share.values()))
    print("    overall                  " + "".join(f"{v.mean():10.1%}" for v in inside.values()))

    error = np.sqrt(np.mean((learned / noise(x_test) - 1) ** 2))
    print(f"\nRMS error of σ(x) learned by gaussian_nll: {error:.1%}; true and learned values:")
    for i in slices:
        true, found = (values[where == i].mean() for values in (noise(x_test), learned))
        print(
            f"    x from {SLICES[i]:2.0f} to {SLICES[i + 1]:2.0f}: {true:.2f} {found:.2f}  ", end=""
        )
        print("#" * round(60 * float(found)))
    return share, float(error)


if __name__ == "__main__":
    main()
