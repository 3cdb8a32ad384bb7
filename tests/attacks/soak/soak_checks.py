"""What must hold for a random training; a check raises AssertionError, or returns what it did."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from soak_cases import BY_SIGN, draw

import fastbp
from fastbp import reference
from fastbp.callbacks import LambdaCallback
from fastbp.errors import DivergenceError

RUNS = 4  # disturbed runs of the reference, which show how far rounding moves a result
EPOCHS_OF_CHILD, PAUSE = 12, 0.03  # seconds after each epoch, so that kills arrive between them
SHORTEST = 0.8  # seconds that the first child has at most; starting Python takes half of it
LIMIT = 120  # seconds for one run of a child


def check_reference(case):
    """The engine moves theta as the reference does, up to the effect of rounding errors.

    The result of the engine is exact for numbers that differ by the rounding of a few sums. Runs of
    the reference with such numbers show how far that moves theta; 8 times the largest of four is
    allowed. Where rounding alone moves theta by more than 5 %, the check decides nothing.
    """
    dtype = case.network["dtype"]
    if case.rule in BY_SIGN or (dtype == "float32" and not case.smooth):
        return "left out"
    layout = case.layout if case.layout in ("sparse", "blocks") else "own"
    try:
        exact = trained(case, reference.Network, layout=layout)
    except DivergenceError:
        return check_divergence(case, layout)
    found = trained(case, dtype=dtype, layout=layout)
    size = (max(exact.widths) + case.n) * float(np.finfo(dtype).eps)
    drift = 0.0
    for run in range(RUNS):
        other = trained(case, reference.Network, layout=layout, disturbed_by=(size, run))
        drift = max(drift, np.abs(other.theta - exact.theta).max())
    largest = np.abs(exact.theta).max()
    allowed = 8 * drift + size * largest
    if not allowed <= 0.05 * largest:
        return "undecided"
    error = np.abs(found.theta.astype(np.float64) - exact.theta).max()
    assert error <= allowed, f"theta differs from the reference by {error}; allowed are {allowed}"
    return "agrees"


def check_divergence(case, layout):
    """The engine stops as the reference of its dtype does, and keeps a finite theta.

    In float64, which has other limits, a training may diverge some steps later.
    """
    wanted, _ = ending(case, reference.Network, layout)
    found, theta = ending(case, fastbp.Network, layout)
    assert found == wanted, f"the reference says: {wanted}; the engine: {found}"
    assert np.isfinite(theta).all(), "theta is not finite after a DivergenceError"
    return "diverges" if wanted else "undecided"


def ending(case, kind, layout):
    """What a training says when it diverges, or nothing, and theta after it."""
    net = case.net(kind, dtype=case.network["dtype"])
    try:
        case.train(net, layout=layout)
    except DivergenceError as error:
        return str(error).replace("nan", "inf"), net.theta
    return "", net.theta


def check_threads(case):
    """Any number of threads and any layout of the same numbers in X give the same bits."""
    net = case.net()
    history = case.train(net, n_threads=1)
    for n_threads in (2, 3):
        assert_same(case, net, history, n_threads=n_threads)
    if case.layout in ("other dtype", "reversed", "wide rows"):
        assert_same(case, net, history, layout="own")
    return "same bits"


def assert_same(case, net, history, **options):
    other = case.net()
    again = case.train(other, **options)
    assert np.array_equal(net.theta, other.theta), f"theta has other bits with {options}"
    assert history.loss == again.loss, f"the losses have other bits with {options}"


def check_copies(case, folder):
    """A file, a pickle and a copy have the bits of the network, and train on to the same bits."""
    net = trained(case)
    X = case.data()[0].astype(net.dtype)
    path = Path(folder, "copy.safetensors")
    net.save(path)
    copies = {
        "fastbp.load": fastbp.load(path),
        "pickle": pickle.loads(pickle.dumps(net)),
        "copy": net.copy(),
    }
    expected = net.predict(X)
    case.train(net)
    for name, other in copies.items():
        assert np.array_equal(other.predict(X), expected), f"{name} predicts other bits"
        case.train(other)
        assert np.array_equal(net.theta, other.theta), f"{name} trains on to other bits"
    return "equal"


def check_kills(case, folder, rng):
    """A training in another process, killed again and again, ends with the bits of a whole one.

    Each child gets more time than the last, so one of them ends. Returns the number of kills by
    name of the signal.
    """
    folder, kills = Path(folder), {}
    whole = case.net()
    case.train(whole, epochs=EPOCHS_OF_CHILD)
    result = folder / "trained.safetensors"
    result.unlink(missing_ok=True)
    command = [sys.executable, __file__, str(case.seed), str(folder)]
    seconds = SHORTEST
    while not result.exists():
        ended = killed_at_random(command, seconds * rng.uniform(), rng)
        if ended is not None:
            kills[ended] = kills.get(ended, 0) + 1
        seconds *= 1.25
    assert np.array_equal(fastbp.load(result).theta, whole.theta), "resumed to other bits"
    left = [path.name for path in folder.rglob(".fastbp-*")]
    assert not left, f"temporary files are left: {left}"
    return kills


def killed_at_random(command, seconds, rng):
    """Start a child and send it a signal after so many seconds; its name, or None if too late."""
    sent = rng.choice([signal.SIGKILL] * 3 + [signal.SIGTERM, signal.SIGINT])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    before = signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a child would inherit that it is ignored
    try:
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(sent)
    try:
        _, errors = child.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise AssertionError(f"hung for {LIMIT} s after {signal.Signals(sent).name}") from None
    if child.returncode == 0:
        return None
    # Within an import, NumPy and CPython turn the interrupt into an ImportError.
    told = "KeyboardInterrupt" in errors or "ImportError" in errors
    interrupted = sent == signal.SIGINT and told
    assert child.returncode == -sent or interrupted, f"ended with {child.returncode}: {errors}"
    return signal.Signals(sent).name


def train_in_child(seed, folder):
    """The program of a child: continue the training from its checkpoint, and save the network."""
    case, folder = draw(seed), Path(folder)
    net = case.net()
    slow = LambdaCallback(on_epoch_end=lambda epoch, logs: time.sleep(PAUSE))
    callbacks = [*case.options(net.dtype).get("callbacks", ()), slow]
    case.train(
        net,
        epochs=EPOCHS_OF_CHILD,
        checkpoint=folder / "run",
        every="1 epoch" if seed % 2 else "2 steps",
        on_signal="SIGTERM" if seed % 3 else False,
        callbacks=callbacks,
    )
    net.save(folder / "trained.safetensors")


def trained(case, kind=fastbp.Network, dtype="float64", **options):
    """A network of this case after its fit."""
    net = case.net(kind, dtype=case.network["dtype"] if kind is fastbp.Network else dtype)
    case.train(net, **options)
    return net


if __name__ == "__main__":
    train_in_child(int(sys.argv[1]), sys.argv[2])
