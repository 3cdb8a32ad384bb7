"""Checkpoints of populations at SIGTERM and SIGUSR1: all members write them, then it acts."""

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from signal_cases import SendAt, handlers_restored
from thread_cases import eventually

import fastbp
from fastbp import Population
from fastbp._training.checkpoints import Checkpoints

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no SIGUSR1"),
]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 3)).astype("f4")
Y = X.sum(axis=1, keepdims=True) ** 2
K = 4
STEPS = 12  # of an epoch
NEVER = "1000000 epochs"


@pytest.fixture(autouse=True)
def handlers_as_before():
    with handlers_restored():
        yield


@pytest.fixture
def saved(monkeypatch):
    """A list of the folders whose members have written a checkpoint."""
    folders, save = [], Checkpoints.save

    def save_and_note(self, state, t):
        save(self, state, t)
        folders.append(self.folder.name)

    monkeypatch.setattr(Checkpoints, "save", save_and_note)
    return folders


def members():
    """A population of which one member trains in Python, because it has a hook."""
    made = Population.of(K, (3, 6, 1), activation="tanh", dtype=["float32"] * 3 + ["float64"])
    made[2].on_delta(lambda l, delta: None)
    return made


def train(made, source="arrays", epochs=5, **options):
    data = (X, Y) if source == "arrays" else (fastbp.stream(X, Y, block_rows=40),)
    made.fit(*data, epochs=epochs, batch_size=8, **options)
    return [net.theta.copy() for net in made]


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


NAMES = [f"member-{k:04d}" for k in range(K)]


@pytest.mark.parametrize("steps", [1, 5, STEPS, 2 * STEPS + 3])
@pytest.mark.parametrize("source", ["arrays", "stream"])
@pytest.mark.parametrize("sender", [0, 2])
def test_all_members_write_before_the_handler_is_called(sender, source, steps, tmp_path, saved):
    calls = []

    def handler(number, frame):
        calls.append(sorted(saved))

    signal.signal(signal.SIGUSR1, handler)
    callbacks = [[SendAt(steps)] if k == sender else [] for k in range(K)]
    # as all members call back after every step, none has ended when the signal arrives
    callbacks = [each or [SendAt(10**9)] for each in callbacks]
    found = train(
        members(),
        source,
        callbacks=callbacks,
        checkpoint=tmp_path,
        every=NEVER,
        on_signal=True,
    )
    assert calls == [NAMES]
    assert sorted(saved) == sorted([*NAMES, *NAMES])  # at the signal, and at the end
    assert_same(found, train(members(), source))
    assert signal.getsignal(signal.SIGUSR1) is handler


@pytest.mark.parametrize("source", ["arrays", "stream"])
def test_a_handler_that_ends_the_program_leaves_what_resumes_to_the_same_bits(
    source, tmp_path, saved
):
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
    ended = []

    class Sender(SendAt):
        def on_fit_end(self, net):
            ended.append(net)

    made = members()
    with pytest.raises(SystemExit, match="7"):
        train(
            made,
            source,
            callbacks=[[Sender(STEPS + 4 + k, "SIGTERM")] for k in range(K)],
            checkpoint=tmp_path,
            every=NEVER,
            on_signal="SIGTERM",
        )
    assert sorted(saved) == NAMES and len(ended) == K
    resumed = train(members(), source, checkpoint=tmp_path, resume=True)
    assert_same(resumed, train(members(), source))


def test_a_handler_that_interrupts_is_as_ctrl_c(tmp_path):
    signal.signal(signal.SIGUSR1, signal.default_int_handler)
    options = {"checkpoint": tmp_path, "every": NEVER}
    with pytest.raises(KeyboardInterrupt):
        train(members(), callbacks=[[SendAt(9)]] + [[]] * 3, on_signal=["SIGUSR1"], **options)
    assert_same(train(members(), resume=True, **options), train(members()))


def test_a_signal_at_the_very_end_is_not_lost(tmp_path):
    calls = []
    signal.signal(signal.SIGUSR1, lambda number, frame: calls.append(number))

    class Last:
        def on_fit_end(self, net):
            signal.raise_signal(signal.SIGUSR1)

    callbacks = [[]] * 3 + [[Last()]]
    train(members(), epochs=1, callbacks=callbacks, checkpoint=tmp_path, on_signal=True)
    assert calls == [signal.SIGUSR1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on_signal": True}, ValueError, "on_signal writes a checkpoint: name its folder"),
        ({"on_signal": "SIGINT"}, ValueError, "unknown signal 'SIGINT'"),
        ({"on_signal": 3}, TypeError, "on_signal must be True, False, or names"),
    ],
)
def test_bad_arguments_change_nothing(options, error, message):
    made = members()
    before = [net.theta.copy() for net in made]
    with pytest.raises(error, match=message):
        train(made, **options)
    assert_same([net.theta for net in made], before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_every_member_needs_a_folder(tmp_path):
    folders = [tmp_path / "0", tmp_path / "1", None, tmp_path / "3"]
    with pytest.raises(ValueError, match="name its folder") as caught:
        train(members(), checkpoint=folders, on_signal=True)
    assert caught.value.__notes__ == ["in member 2 of a population of 4"]


def test_handlers_are_restored_if_a_member_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown optimizer"):
        train(members(), optimizer=["adam"] * 3 + ["x"], checkpoint=tmp_path, on_signal=True)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_another_thread_is_refused(tmp_path):
    errors = []

    def call():
        try:
            train(members(), checkpoint=tmp_path, on_signal=True)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    (message,) = errors
    assert message.startswith("on_signal needs the main thread")


CHILD = """
import numpy as np, fastbp
X = np.random.default_rng(0).standard_normal((90, 3)).astype("f4")
started = lambda epoch, logs: None if epoch else print("started", flush=True)
started.adds_logs = {{}}
population = fastbp.Population.of(3, (3, 6, 1), activation="tanh")
population.fit(
    X, X[:, 0], epochs=10**6, checkpoint={folder!r}, every="1000000 epochs", on_signal=True,
    callbacks=[[], [], [started]],
)
"""


def test_a_process_that_gets_sigterm_can_be_resumed(tmp_path):
    code = CHILD.format(folder=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    def files_after_sigusr1():
        child.send_signal(signal.SIGUSR1)
        return len(list(tmp_path.glob("member-*/checkpoint-*"))) == 6

    try:
        assert child.stdout.readline() == "started\n"
        eventually(files_after_sigusr1)
        child.terminate()
        assert child.wait(60) == -signal.SIGTERM
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    made = Population.of(3, (3, 6, 1), activation="tanh")
    x = np.random.default_rng(0).standard_normal((90, 3)).astype("f4")
    histories = made.fit(x, x[:, 0], epochs=10**6, time_budget=1e-6, checkpoint=tmp_path)
    assert all(history.epochs >= 1 for history in histories)
    epochs = max(history.epochs for history in histories) + 2
    alone = fastbp.Network((3, 6, 1), activation="tanh", seed=0)
    alone.fit(x, x[:, 0], epochs=epochs)
    made.fit(x, x[:, 0], epochs=epochs, checkpoint=tmp_path)
    np.testing.assert_array_equal(made[0].theta, alone.theta)
