"""A policy gradient on the cart and pole, with the error signal of REINFORCE supplied as δ.

Task: a pole stands on a cart. At each step of 0.02 s, the cart is pushed left or right by 10 N. An
episode ends when the pole leans by more than 12°, when the cart is more than 2.4 m from the
centre, or after 200 steps. Physics and constants are those of Barto, Sutton & Anderson (1983),
integrated by Euler's method.

Agent: a network maps the state to the probabilities of both pushes. There is no target y to compare
with. What is known is how much better than usual an episode continued after a push. REINFORCE
(Williams 1992) maximises E[A log p(push)]. The gradient of −A log p(push) with respect to the
logits of a softmax is A (p − e_push), so this is the δ for `backward_from`. A is the return from
this step on minus a baseline, the mean return over the episodes that got as far.

Expected: 200 of 200 steps, after about 15 to 40 updates of 64 episodes, in less than a second.

    python examples/cartpole.py
"""

import numpy as np

import fastbp

GRAVITY, CART, POLE, HALF_LENGTH = 9.8, 1.0, 0.1, 0.5  # m/s², kg, kg, m
FORCE, TAU = 10.0, 0.02  # N, s
X_LIMIT, ANGLE_LIMIT = 2.4, np.deg2rad(12)
MAX_STEPS = 200

SCALE = np.array([1.0, 1.0, 5.0, 1.0], np.float32)  # brings all inputs to the order of 1
EPISODES, DISCOUNT, MAX_UPDATES = 64, 0.98, 200


def push(state, right):
    """Return the states (n, 4) one step later: position, speed, angle, angular speed."""
    _, v, angle, spin = state.T
    force = np.where(right, FORCE, -FORCE)
    sin, cos = np.sin(angle), np.cos(angle)
    shared = (force + POLE * HALF_LENGTH * spin**2 * sin) / (CART + POLE)
    turn = (GRAVITY * sin - cos * shared) / (HALF_LENGTH * (4 / 3 - POLE * cos**2 / (CART + POLE)))
    move = shared - POLE * HALF_LENGTH * turn * cos / (CART + POLE)
    return state + TAU * np.column_stack([v, move, spin, turn])


def upright(state):
    """Return which of the states (n, 4) are within the limits."""
    return (np.abs(state[:, 0]) <= X_LIMIT) & (np.abs(state[:, 2]) <= ANGLE_LIMIT)


def start(n, rng):
    """Return n states (n, 4) near the balance."""
    return rng.uniform(-0.05, 0.05, (n, 4))


def score(choose, rng, n=100):
    """Return the mean length of n episodes with the pushes choose(states)."""
    state, alive, length = start(n, rng), np.ones(n, bool), 0.0
    for _ in range(MAX_STEPS):
        length += alive.mean()
        state = push(state, choose(state))
        alive = alive & upright(state)
    return float(length)


def play(net, n, rng):
    """Play n episodes; return states (T, n, 4), pushes (T, n) and who was alive (T, n)."""
    state, alive = start(n, rng), np.ones(n, bool)
    states, pushes, lives = [], [], []
    while alive.any() and len(states) < MAX_STEPS:
        right = net.predict(state * SCALE)[:, 1] > rng.random(n)
        states.append(state)
        pushes.append(right)
        lives.append(alive)
        state = push(state, right)
        alive = alive & upright(state)
    return np.array(states), np.array(pushes).astype(int), np.array(lives)


def advantages(alive):
    """Return A (T, n): discounted number of steps to come, minus its mean, divided by its std."""
    returns = np.zeros(alive.shape)
    after = np.zeros(alive.shape[1])
    for t in reversed(range(len(alive))):
        after = returns[t] = alive[t] * (1 + DISCOUNT * after)
    baseline = returns.sum(axis=1) / np.maximum(alive.sum(axis=1), 1)
    A = (returns - baseline[:, None]) * alive
    return A / (A[alive].std() + 1e-8)


def improve(net, optimizer, states, pushes, alive):
    """Make one step along the policy gradient, for every push made while alive."""
    A = advantages(alive)[alive, None]
    p = net.forward(states[alive] * SCALE)
    net.backward_from(A * (p - np.eye(2)[pushes[alive]]))
    net.step(optimizer)


def main(seed=0, verbose=True):
    """Train; return the mean length of 100 new episodes with the more probable push."""
    rng = np.random.default_rng(seed)
    net = fastbp.Network(
        (4, 32, 2), activation="tanh", output="softmax", loss="cross_entropy", seed=seed
    )
    optimizer = fastbp.optim.Adam(0.01)
    for update in range(MAX_UPDATES):
        states, pushes, alive = play(net, EPISODES, rng)
        length = alive.sum(axis=0).mean()
        if verbose and update % 5 == 0:
            print(f"update {update:3}: {length:6.1f} steps  {'=' * int(length / 4)}")
        if length > 0.99 * MAX_STEPS:
            break
        improve(net, optimizer, states, pushes, alive)
    length = score(lambda state: net.predict(state * SCALE)[:, 1] > 0.5, rng)
    if verbose:
        print(f"after {update} updates, always the better push: {length:.1f} of {MAX_STEPS} steps")
    return length


if __name__ == "__main__":
    main()
