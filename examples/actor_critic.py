"""Advantage actor-critic: one network with two heads, a policy and a value, on the cart and pole.

Task: the cart and pole of cartpole.py. 32 carts run side by side. A cart that falls, or that
has run for 200 steps, starts again.

Agent: a network with three outputs. Two are the logits of the pushes, the third is the value V of
the state. Both heads share the hidden layer. After every 16 steps of all carts, the return G of
each step is summed up backwards; V continues it where the data end. The cost of a step is

    −A log p(push) + ½ VALUE (V − G)² − ENTROPY H(p),        A = G − V, taken as a number

and its derivatives with respect to the outputs are δ^L for `backward_from`: A (p − e_push) +
ENTROPY p (log p + H) for the logits, VALUE (V − G) for the value. For the logits, A is shifted and
scaled to mean 0 and standard deviation 1. Method: Mnih et al., arXiv:1602.01783, with all carts in
one batch. The value continues the return also where the limit
of 200 steps cuts an episode: Pardo et al., arXiv:1712.00378.

Expected: 200 of 200 steps with the more probable push, after 50,000 to 100,000 steps of the carts,
500 to 1,100 episodes, in about a second.

    python examples/actor_critic.py
"""

import numpy as np
from cartpole import MAX_STEPS, SCALE, push, score, start, upright

import fastbp

CARTS, STEPS, MAX_UPDATES = 32, 16, 300
DISCOUNT, VALUE, ENTROPY = 0.98, 1.0, 0.02
REWARD = 1 - DISCOUNT  # per step, so that returns are between 0 and 1


def heads(outputs):
    """Return p (n, 2) and V (n,) of the outputs (n, 3)."""
    e = np.exp(outputs[:, :2] - outputs[:, :2].max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True), outputs[:, 2]


class Carts:
    """Carts side by side, each of which starts again when its episode ends."""

    def __init__(self, n, rng):
        self.rng, self.state, self.age, self.lengths = rng, start(n, rng), np.zeros(n, int), []

    def step(self, pushes):
        """Push; return the next states, which of them fell, and which episodes end here."""
        after = push(self.state, pushes)
        self.age += 1
        fell = ~upright(after)
        ended = fell | (self.age >= MAX_STEPS)
        self.lengths += self.age[ended].tolist()
        self.state = np.where(ended[:, None], start(len(after), self.rng), after)
        self.age[ended] = 0
        return after, fell, ended


def collect(net, carts, rng):
    """Run all carts for STEPS steps; return states, pushes, next states, fell and ended."""
    rows = []
    for _ in range(STEPS):
        state = carts.state
        p, _ = heads(net.predict(state * SCALE))
        pushes = (rng.random(len(p)) < p[:, 1]).astype(int)
        rows.append((state, pushes, *carts.step(pushes)))
    return [np.array(column) for column in zip(*rows, strict=True)]


def returns(net, after, fell, ended):
    """Return G (STEPS, n): the rewards to come, continued by V where an episode is cut."""
    V = heads(net.predict(after.reshape(-1, 4) * SCALE))[1].reshape(fell.shape)
    G = np.empty(fell.shape)
    for t in reversed(range(len(G))):
        last = ended[t] | (t == len(G) - 1)
        to_come = np.where(last, V[t], G[min(t + 1, len(G) - 1)])
        G[t] = REWARD + DISCOUNT * np.where(fell[t], 0, to_come)
    return G


def improve(net, optimizer, states, pushes, G):
    """Make one step with the δ of both heads."""
    p, V = heads(net.forward(states * SCALE))
    A = G - V
    scaled = ((A - A.mean()) / (A.std() + 1e-8))[:, None]
    log_p = np.log(p + 1e-12)
    H = -(p * log_p).sum(axis=1, keepdims=True)
    policy = scaled * (p - np.eye(2)[pushes]) + ENTROPY * p * (log_p + H)
    value = VALUE * (V - G)
    net.backward_from(np.column_stack([policy, value]))
    net.step(optimizer)


def main(seed=0, verbose=True):
    """Train; return the mean length of 100 new episodes with the more probable push."""
    rng = np.random.default_rng(seed)
    net = fastbp.Network((4, 64, 3), activation="tanh", seed=seed)
    optimizer = fastbp.optim.Adam(0.002, clip_global_norm=0.5)
    carts = Carts(CARTS, rng)
    for update in range(1, MAX_UPDATES + 1):
        states, pushes, after, fell, ended = collect(net, carts, rng)
        G = returns(net, after, fell, ended)
        improve(net, optimizer, states.reshape(-1, 4), pushes.ravel(), G.ravel())
        recent = np.mean(carts.lengths[-50:] or [0])
        if verbose and update % 20 == 0:
            bar = "=" * int(recent / 4)
            print(f"update {update:3}: the last 50 episodes {recent:5.1f} steps  {bar}")
        if recent > 0.99 * MAX_STEPS:
            break
    length = score(lambda state: heads(net.predict(state * SCALE))[0][:, 1] > 0.5, rng)
    if verbose:
        print(f"after {len(carts.lengths)} episodes: {length:.1f} of {MAX_STEPS} steps in new ones")
    return length


if __name__ == "__main__":
    main()
