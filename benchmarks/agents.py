"""Processor time of the calls that agents make, compared with PyTorch where it is installed.

    python benchmarks/agents.py [--rounds 9]

The network is 4-64-3 with tanh, in float32, on one thread, as in `examples/actor_critic.py`:
outputs of 1 and of 32 states, a step of Adam from a given δ of 64 states, a soft update of a target
network. The libraries alternate. The output is a Markdown table with the lowest time of the rounds
in microseconds, which a busy machine changes least, and their quotient.
"""

import argparse
import time

import numpy as np

import fastbp

CALLS = 400  # in each round
rng = np.random.default_rng(0)
ONE, SOME, BATCH = (rng.normal(size=(n, 4)).astype(np.float32) for n in (1, 32, 64))
DELTA = rng.normal(size=(64, 3)).astype(np.float32)


def of_fastbp():
    """Return {what: function} for fastbp."""
    net = fastbp.Network((4, 64, 3), activation="tanh", seed=0)
    target, adam = net.copy(), fastbp.optim.Adam(0.001)

    def step():
        net.forward(BATCH)
        net.backward_from(DELTA)
        net.step(adam)

    def follow():
        target.theta += 0.01 * (net.theta - target.theta)

    return {
        "outputs of 1 state": lambda: net.predict(ONE),
        "outputs of 32 states": lambda: net.predict(SOME),
        "step on 64 states": step,
        "soft update": follow,
    }


def of_torch():
    """Return {what: function} for PyTorch; it is empty if PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)

    def new():
        layers = torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 3)
        return torch.nn.Sequential(*layers)

    net, target = new(), new()
    adam = torch.optim.Adam(net.parameters(), 0.001)
    one, some, batch, delta = map(torch.from_numpy, (ONE, SOME, BATCH, DELTA))

    def outputs(X):
        with torch.no_grad():
            return net(X).numpy()

    def step():
        adam.zero_grad()
        net(batch).backward(delta / 64)
        adam.step()

    def follow():
        with torch.no_grad():
            for q, p in zip(target.parameters(), net.parameters(), strict=True):
                q.lerp_(p, 0.01)

    return {
        "outputs of 1 state": lambda: outputs(one),
        "outputs of 32 states": lambda: outputs(some),
        "step on 64 states": step,
        "soft update": follow,
    }


def microseconds(call):
    """Return the mean processor time of a call."""
    begin = time.process_time()
    for _ in range(CALLS):
        call()
    return 1e6 * (time.process_time() - begin) / CALLS


def main():
    """Measure the libraries in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    fastbp.set_num_threads(1)
    ours, theirs = of_fastbp(), of_torch()
    print("| call | fastbp, µs | PyTorch, µs | ratio |\n|---|---|---|---|")
    for what, call in ours.items():
        times = [
            [microseconds(each) for each in (call, theirs.get(what)) if each] for _ in range(rounds)
        ]
        lowest = [min(column) for column in zip(*times, strict=True)]
        other = f"{lowest[1]:.1f} | {lowest[1] / lowest[0]:.1f}" if theirs else "– | –"
        print(f"| {what} | {lowest[0]:.1f} | {other} |")


if __name__ == "__main__":
    main()
