"""A surrogate of an ODE: a network learns the motion of a pendulum and its sensitivities.

Task: the damped pendulum θ'' = −sin θ − c θ'. The network learns the map (θ₀, ω₀, c, t) → (θ, ω),
the state at time t, for |θ₀| ≤ 1.5, |ω₀| ≤ 1, 0.05 ≤ c ≤ 0.5, 0 ≤ t ≤ 6. Data: 20,000 random points
of this box, integrated in NumPy by the classical Runge-Kutta method of order 4.

Result: one forward pass gives the state for any t, where the integrator needs many steps. One
backward pass gives the dependence of an output on the initial state, on the damping and on time:
`backward_from` with δ = 1 at this output, and then `input_gradient`. The program compares both
with the integrator.

Expected: an error of about 0.01 in θ and ω, and of 5 to 20 % in the sensitivities. The network is
at least ten times as fast as the integrator, but hardly faster than an integrator with so few steps
that it has the same error. The program takes one to two seconds.

    python examples/surrogate_ode.py
"""

from time import perf_counter

import numpy as np

import fastbp

LOW = np.array([-1.5, -1.0, 0.05, 0.0])  # θ₀, ω₀, c, t
HIGH = np.array([1.5, 1.0, 0.5, 6.0])
STEPS = 60  # of Runge-Kutta, for any t: the error is below 1e-5


def slope(state, c):
    """Return d/dt of the states (2, n): θ and ω."""
    angle, speed = state
    return np.array([speed, -np.sin(angle) - c * speed])


def integrate(points, steps=STEPS):
    """Return (θ, ω) (n, 2) at time t, from points (n, 4) of (θ₀, ω₀, c, t)."""
    *state, c, t = points.T
    state, h = np.array(state), t / steps
    for _ in range(steps):
        k1 = slope(state, c)
        k2 = slope(state + h / 2 * k1, c)
        k3 = slope(state + h / 2 * k2, c)
        k4 = slope(state + h * k3, c)
        state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return state.T


def scaled(points):
    """Scale points of the box LOW … HIGH to the cube −1 … 1, for the network."""
    return (2 * points - LOW - HIGH) / (HIGH - LOW)


def sensitivity(net, points, output):
    """Return ∂(θ or ω)/∂(θ₀, ω₀, c, t) (n, 4) of the network; output 0 is θ, 1 is ω."""
    a = net.forward(scaled(points))
    delta = np.zeros_like(a)
    delta[:, output] = 1
    net.backward_from(delta)
    return net.input_gradient() * 2 / (HIGH - LOW)  # the chain rule through `scaled`


def differences(points, output, h=1e-4):
    """Return the same from central differences of the integrator."""
    columns = []
    for shift in h * np.eye(4):
        high, low = integrate(points + shift), integrate(points - shift)
        columns.append((high - low)[:, output] / (2 * h))
    return np.column_stack(columns)


def rms(values):
    """Return the root mean square over the first axis."""
    return np.sqrt(np.mean(values**2, axis=0))


def seconds(function, *args):
    """Return the shortest time of five runs."""
    times = []
    for _ in range(5):
        start = perf_counter()
        function(*args)
        times.append(perf_counter() - start)
    return min(times)


def main():
    """Train and compare; return the RMS errors of the state and of the sensitivities."""
    rng = np.random.default_rng(0)
    points, test = (rng.uniform(LOW, HIGH, (n, 4)) for n in (20_000, 2_000))
    X, y = scaled(points), integrate(points)

    net = fastbp.Network((4, 48, 48, 2), activation="tanh", loss="mse", seed=0)
    optimizer = fastbp.optim.Adam()
    for optimizer.lr in (5e-3, 2e-3, 5e-4, 1e-4):  # Adam keeps its moments between the stages
        history = net.fit(X, y, epochs=20, batch_size=32, optimizer=optimizer)
        print(f"lr {optimizer.lr:<6}  RMS error {history.loss[-1] ** 0.5:.4f}")

    truth = integrate(test)
    error = rms(net.predict(scaled(test)) - truth)
    print(
        f"\non {len(test):,} other points: RMS error {error[0]:.4f} in θ, {error[1]:.4f} in ω",
        end="",
    )
    print(f"; their standard deviations are {truth[:, 0].std():.2f} and {truth[:, 1].std():.2f}")

    found = np.stack([sensitivity(net, test, output) for output in (0, 1)], axis=1)
    exact = np.stack([differences(test, output) for output in (0, 1)], axis=1)
    slope_error, size = rms(found - exact), rms(exact)
    print("\nRMS error of the sensitivities, and RMS of their true values")
    print("   " + "".join(f"{name:^16}" for name in ("θ₀", "ω₀", "c", "t")))
    for name, *rows in zip("θω", slope_error, size, strict=True):
        print(f"  {name}" + "".join(f"{e:7.3f} of {s:.2f} " for e, s in zip(*rows, strict=True)))

    network, fine = seconds(lambda: net.predict(scaled(test))), seconds(integrate, test)
    alike = next(n for n in range(1, STEPS) if rms(integrate(test, n) - truth).max() < error.max())
    coarse = seconds(integrate, test, alike)
    print(f"\n{len(test):,} states: the network takes {network * 1e6:.0f} µs", end="; ")
    print(f"{STEPS} steps of Runge-Kutta take {fine / network:.1f} times as long", end="; ")
    print(f"{alike} steps, with about the same error, {coarse / network:.1f} times")
    return float(error.max()), float((slope_error / size).max())


if __name__ == "__main__":
    main()
