"""Deep Q-learning with a target network and prioritised replay, on the cart and pole.

Task: the cart and pole of cartpole.py, one episode at a time, at most 200 steps each.

Agent: a network gives Q(state, push) of both pushes, the discounted reward to come; each step pays
1 − γ. With the probability ε the push is random, otherwise it is that of the larger Q. ε falls from
1 to 0.05.

- Targets (van Hasselt et al., arXiv:1509.06461): y = r + γ Q'(next, argmax Q(next)); y = r where
  the cart fell. Q' is a copy of the network that follows it: θ' ← (1 − τ) θ' + τ θ (Lillicrap et
  al., arXiv:1509.02971).
- Replay (Schaul et al., arXiv:1511.05952): a step is drawn with P ~ priority, which is
  (|Q − y| + 0.001)^0.6 when it was last used. The weights w = (N P)^−β correct for that, divided by
  the largest of the batch.
- The cost of a step is ½ w (Q − y)² at the push that was made. Its derivative w (Q − y) is δ^L for
  `backward_from`; δ is 0 at the other push.

Expected: 195 to 200 of 200 steps, after 4,000 to 14,000 steps of the cart, in one to five seconds.

    python examples/dqn.py
"""

import numpy as np
from cartpole import MAX_STEPS, SCALE, push, score, start, upright

import fastbp

MAX_EPISODES, CAPACITY, WARM_UP = 300, 10_000, 500
BATCH, EVERY = 64, 2  # a step of learning after every second step of the cart
DISCOUNT, TAU = 0.98, 0.02
EPSILON = np.geomspace(1, 0.05, 1500)  # by step; then it stays
ALPHA, BETA = 0.6, 0.4


class Replay:
    """The last CAPACITY steps, drawn by priority."""

    def __init__(self, rng):
        self.rng, self.n, self.largest = rng, 0, 1.0
        self.priority = np.zeros(CAPACITY)
        self.state, self.after = np.zeros((2, CAPACITY, 4), np.float32)
        self.push, self.fell = np.zeros(CAPACITY, int), np.zeros(CAPACITY, bool)

    def add(self, state, pushed, after, fell):
        i = self.n % CAPACITY  # the oldest step makes room
        self.state[i], self.push[i], self.after[i], self.fell[i] = state, pushed, after, fell
        self.priority[i] = self.largest  # so that each is drawn soon
        self.n += 1

    def draw(self):
        """Return the rows (BATCH,) of steps and their weights."""
        filled = min(self.n, CAPACITY)
        total = np.cumsum(self.priority[:filled])
        rows = np.searchsorted(total, self.rng.uniform(0, total[-1], BATCH), side="right")
        P = self.priority[rows] / total[-1]
        w = (filled * P) ** -BETA
        return rows, w / w.max()

    def update(self, rows, error):
        """Set the priorities of rows by their errors."""
        self.priority[rows] = (np.abs(error) + 0.001) ** ALPHA
        self.largest = max(self.largest, self.priority[rows].max())


def improve(net, target, optimizer, replay):
    """Make one step on a batch, and let the target network follow."""
    rows, w = replay.draw()
    each = np.arange(BATCH)
    best = net.predict(replay.after[rows]).argmax(axis=1)
    to_come = target.predict(replay.after[rows])[each, best]
    y = (1 - DISCOUNT) + DISCOUNT * np.where(replay.fell[rows], 0, to_come)

    Q = net.forward(replay.state[rows])
    error = Q[each, replay.push[rows]] - y
    delta = np.zeros_like(Q)
    delta[each, replay.push[rows]] = w * error
    net.backward_from(delta)  # not sample_weight=w, which would divide by the sum of w
    net.step(optimizer)
    target.theta += TAU * (net.theta - target.theta)
    replay.update(rows, error)


def better(net):
    """Return the function that chooses the push with the larger Q."""
    return lambda state: net.predict(state * SCALE).argmax(axis=1)


def play(net, target, optimizer, replay, rng):
    """Play one episode and learn from the replay on the way."""
    state = start(1, rng)
    for _ in range(MAX_STEPS):
        epsilon = EPSILON[min(replay.n, len(EPSILON) - 1)]
        Q = net.predict(state * SCALE)
        pushed = rng.integers(2) if rng.random() < epsilon else Q[0].argmax()
        after = push(state, np.array([pushed]))
        fell = not upright(after)[0]
        replay.add(state * SCALE, pushed, after * SCALE, fell)
        if replay.n > WARM_UP and replay.n % EVERY == 0:
            improve(net, target, optimizer, replay)
        if fell:
            break
        state = after


def main(seed=1, verbose=True):
    """Train; return the mean length of 100 new episodes with the better push."""
    rng = np.random.default_rng(seed)
    net = fastbp.Network((4, 128, 2), seed=seed)
    target = net.copy()
    optimizer = fastbp.optim.Adam(0.002, clip_global_norm=1.0)
    replay, best, best_theta = Replay(rng), 0.0, net.theta.copy()
    for episode in range(1, MAX_EPISODES + 1):
        play(net, target, optimizer, replay, rng)
        if episode % 10:
            continue
        length = score(better(net), rng, 30)
        if length > best:
            best, best_theta = length, net.theta.copy()
        if verbose:
            print(f"episode {episode:3}: {length:5.1f} steps  {'=' * int(length / 4)}")
        if best > 0.99 * MAX_STEPS:
            break
    net.theta = best_theta
    length = score(better(net), rng)
    if verbose:
        print(f"after {replay.n} steps: {length:.1f} of {MAX_STEPS} steps in new episodes")
    return length


if __name__ == "__main__":
    main()
