"""Checkpoints at SIGTERM and SIGUSR1: when they are written, and what happens then."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from signal_cases import SendAt, handlers_restored
from test_checkpoints import KINDS, STEPS, Run, assert_same
from thread_cases import eventually

from fastbp._files.safetensors import read_safetensors
from fastbp._training.checkpoints import Checkpoints
from fastbp._training.signals import check_signals
from fastbp.callbacks import LambdaCallback
from fastbp.errors import DivergenceError
from fastbp.optim import SGD

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no SIGUSR1")
NEVER = "1000000 epochs"


@pytest.fixture(autouse=True)
def handlers_as_before():
    with handlers_restored():
        yield


def state_of(path):
    return json.loads(read_safetensors(path)[1]["state"])


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """A list that gets a copy of the folder tmp_path / "run" after every checkpoint."""
    copies, save = [], Checkpoints.save

    def save_and_copy(self, state, t):
        save(self, state, t)
        copies.append(tmp_path / f"copy{len(copies)}")
        shutil.copytree(self.folder, copies[-1])

    monkeypatch.setattr(Checkpoints, "save", save_and_copy)
    return copies


# ---- SIGUSR1 ------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 4, STEPS, 2 * STEPS + 3])
@pytest.mark.parametrize("source", ["arrays", "stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_training_continues_after_sigusr1(kind, source, steps, tmp_path, saved):
    expected = Run(kind, source).fit()
    run = Run(kind, source).fit(
        SendAt(steps, "SIGUSR1"), checkpoint=tmp_path / "run", every=NEVER, on_signal=True
    )
    assert_same(run, expected)
    assert len(saved) == 2  # at the signal, and at the end
    resumed = Run(kind, source, seed=99).fit(checkpoint=saved[0], resume=True)
    assert_same(resumed, expected)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_signal_during_the_calls_after_an_epoch_leads_to_the_same_bits(tmp_path, saved):
    def send(epoch, logs):
        if epoch == 1:
            signal.raise_signal(signal.SIGUSR1)

    expected = Run().fit()
    options = {"checkpoint": tmp_path / "run", "every": NEVER, "on_signal": "sigusr1"}
    assert_same(Run().fit(send, **options), expected)
    assert len(saved) == 2
    (path,) = saved[0].glob("*.safetensors")
    assert state_of(path)["place"][:2] == [2, 0]
    assert_same(Run(seed=99).fit(checkpoint=saved[0]), expected)


def test_every_keeps_its_meaning(tmp_path, saved):
    options = {"checkpoint": tmp_path / "run", "every": "2 epochs", "on_signal": ["SIGUSR1"]}
    Run(patience=9).fit(SendAt(STEPS + 2, "SIGUSR1"), **options)
    assert len(saved) == 1 + 3


def test_a_handler_of_the_program_is_called_after_the_checkpoint(tmp_path, saved):
    calls = []
    signal.signal(signal.SIGUSR1, lambda number, frame: calls.append((number, len(saved), frame)))
    before = signal.getsignal(signal.SIGUSR1)
    run = Run().fit(
        SendAt(3, "SIGUSR1"), checkpoint=tmp_path / "run", every=NEVER, on_signal=signal.SIGUSR1
    )
    ((number, n_saved, frame),) = calls
    assert (number, n_saved) == (signal.SIGUSR1, 1) and frame.f_code.co_name == "on_batch_end"
    assert_same(run, Run().fit())
    assert signal.getsignal(signal.SIGUSR1) is before


# ---- SIGTERM ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["arrays", "blocks"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_of_sigterm_may_end_the_fit(kind, source, tmp_path, saved):
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
    ended = LambdaCallback(on_fit_end=lambda net: saved.append("end"))
    run = Run(kind, source)
    with pytest.raises(SystemExit, match="7"):
        run.fit(
            SendAt(STEPS + 4, "SIGTERM"),
            ended,
            checkpoint=tmp_path / "run",
            every=NEVER,
            on_signal=True,
        )
    assert len(saved) == 2 and saved[-1] == "end" and run.optimizer.t == STEPS + 4
    resumed = Run(kind, source, seed=99).fit(checkpoint=tmp_path / "run", resume=True)
    assert_same(resumed, Run(kind, source).fit())


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_training_continues_if_sigterm_does_not_end_the_program(handler, tmp_path, saved):
    signal.signal(signal.SIGTERM, handler)
    run = Run().fit(
        SendAt(4, "SIGTERM"), checkpoint=tmp_path / "run", every=NEVER, on_signal=["SIGTERM"]
    )
    assert_same(run, Run().fit())
    assert len(saved) == 2


def test_a_handler_that_interrupts_is_as_ctrl_c(tmp_path):
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        Run().fit(SendAt(4, "SIGTERM"), checkpoint=tmp_path, every=NEVER, on_signal=True)
    assert_same(Run(seed=99).fit(checkpoint=tmp_path, resume=True), Run().fit())


@pytest.mark.parametrize("call", [2, STEPS])  # within the first epoch, and at its end
def test_a_signal_beside_the_decision_to_save_waits_for_a_checkpoint(
    call, tmp_path, saved, monkeypatch
):
    """One that arrives after the fit has looked for signals, and before it lets them act."""
    calls, due, left = [], Checkpoints.due, [call]

    def due_and_send(self, *args):
        found = due(self, *args)
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGUSR1)
        return found

    monkeypatch.setattr(Checkpoints, "due", due_and_send)
    signal.signal(signal.SIGUSR1, lambda number, frame: calls.append(len(saved)))
    options = {"checkpoint": tmp_path / "run", "every": NEVER, "on_signal": "SIGUSR1"}
    assert_same(Run().fit(SendAt(10**9, "SIGUSR1"), **options), Run().fit())
    assert calls == [1] and len(saved) == 2


def test_signals_at_the_very_end_are_not_lost(tmp_path):
    calls = []
    signal.signal(signal.SIGUSR1, lambda number, frame: calls.append(number))
    last = LambdaCallback(on_fit_end=lambda net: signal.raise_signal(signal.SIGUSR1))
    Run(epochs=1).fit(last, checkpoint=tmp_path / "a", on_signal=True)
    assert calls == [signal.SIGUSR1]
    run = Run(epochs=50, patience=50)
    run.optimizer = SGD(1e30)
    run.schedule = None
    with pytest.raises(DivergenceError):
        run.fit(SendAt(1, "SIGUSR1"), last, checkpoint=tmp_path / "b", on_signal=True)
    assert calls == [signal.SIGUSR1] * 3


def test_a_handler_that_the_program_sets_during_the_fit_stays(tmp_path):
    def other(number, frame):
        pass

    def change(epoch, logs):
        signal.signal(signal.SIGUSR1, other)

    Run(epochs=1).fit(change, checkpoint=tmp_path, on_signal=True)
    assert signal.getsignal(signal.SIGUSR1) is other


def test_without_on_signal_no_handler_changes(tmp_path):
    found = []

    def look(epoch, logs):
        found.append([signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)])

    Run(epochs=1).fit(look, checkpoint=tmp_path)
    assert found == [[signal.SIG_DFL] * 2]


def test_handlers_are_restored_if_a_fit_cannot_begin(tmp_path):
    def refuse(net):
        raise RuntimeError("not today")

    with pytest.raises(RuntimeError, match="not today"):
        Run().fit(LambdaCallback(on_fit_begin=refuse), checkpoint=tmp_path, on_signal=True)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


# ---- another process ----------------------------------------------------------------------

CHILD = """
import sys
sys.path[:0] = {folders!r}
from test_checkpoints import Run
started = lambda epoch, logs: None if epoch else print("started", flush=True)
started.adds_logs = {{}}
Run({kind!r}, epochs=10**6, patience=10**6).fit(
    started, checkpoint={folder!r}, every="1000000 epochs", on_signal=True
)
"""


@pytest.mark.parametrize("n_files", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_gets_signals_can_be_resumed(kind, n_files, tmp_path):
    """After SIGUSR1 it writes a checkpoint and continues; by SIGTERM it ends."""
    folders = [str(folder) for folder in Path(__file__).parents[:2]]
    code = CHILD.format(folders=folders, folder=str(tmp_path), kind=kind)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    def files_after_sigusr1():
        child.send_signal(signal.SIGUSR1)  # again and again: two at one step write one checkpoint
        return len(list(tmp_path.glob("checkpoint-*"))) >= n_files

    try:
        assert child.stdout.readline() == "started\n"
        if n_files:
            eventually(files_after_sigusr1)
        child.terminate()
        assert child.wait(60) == -signal.SIGTERM
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    epochs = max(state_of(path)["place"][0] for path in tmp_path.glob("checkpoint-*")) + 2
    resumed = Run(kind, epochs=epochs, patience=10**6).fit(checkpoint=tmp_path, resume=True)
    assert_same(resumed, Run(kind, epochs=epochs, patience=10**6).fit())


# ---- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("SIGKILL", ValueError, "unknown signal 'SIGKILL'; known: SIGTERM, SIGUSR1"),
        (["SIGTERM", "usr1"], ValueError, "unknown signal 'usr1'; .* did you mean 'SIGUSR1'"),
        (15, TypeError, r"True, False, or names such as \('SIGTERM', 'SIGUSR1'\); got 15"),
        ([15], TypeError, "names of signals such as 'SIGTERM'; got 15"),
        (None, TypeError, "True, False, or names"),
    ],
)
def test_other_values_are_refused(given, error, message, tmp_path):
    with pytest.raises(error, match=message):
        Run().fit(checkpoint=tmp_path / "new", on_signal=given)
    assert not (tmp_path / "new").exists()


def test_signals_without_a_folder_are_refused():
    with pytest.raises(ValueError, match="on_signal writes a checkpoint: name its folder"):
        Run().fit(on_signal=True)
    Run(epochs=1).fit(on_signal=())


def test_a_fit_in_another_thread_is_refused(tmp_path):
    errors = []

    def train():
        try:
            Run(epochs=1).fit(checkpoint=tmp_path, on_signal=True)
        except RuntimeError as error:
            errors.append(str(error))
        Run(epochs=1).fit(checkpoint=tmp_path)

    thread = threading.Thread(target=train, name="side")
    thread.start()
    thread.join()
    (message,) = errors
    assert "main thread" in message and "in the thread side: leave on_signal out" in message


def test_systems_without_sigusr1(monkeypatch):
    monkeypatch.delattr(signal, "SIGUSR1")
    assert check_signals(True) == ("SIGTERM",)
    with pytest.raises(ValueError, match="this system has no SIGUSR1, which on_signal names"):
        check_signals(["SIGTERM", "SIGUSR1"])


def test_handlers_that_python_does_not_know_are_refused(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    with pytest.raises(RuntimeError, match="SIGTERM has a handler that was not installed from Py"):
        check_signals(True)
