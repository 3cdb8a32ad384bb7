"""A fit that is resumed from a checkpoint has the same bits as an uninterrupted fit."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fit_cases import StopAt
from thread_cases import eventually

import fastbp
from fastbp import reference
from fastbp._files.safetensors import read_safetensors, write_safetensors
from fastbp._training.checkpoints import Checkpoints
from fastbp.callbacks import EarlyStopping
from fastbp.optim import LBFGS, SGD, Adam, NAdam, RAdam
from fastbp.schedules import CosineAnnealingLR, ExponentialLR, OneCycleLR, ReduceLROnPlateau

N, WIDTHS = 50, (4, 9, 3)
KINDS = {"engine": fastbp.Network, "reference": reference.Network}
STEPS = 10  # per epoch, in blocks of 20 rows and batches of 6


def data(seed=5):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, WIDTHS[0]))
    return X.astype(np.float32), rng.integers(3, size=N), rng.uniform(0.2, 2, size=N)


class Every:
    """Does nothing, but makes the fit stop after every step to call it."""

    def on_batch_end(self, step, logs):
        pass


SOURCES = {
    "arrays": lambda X, y, s: ((X, y), {"sample_weight": s}),
    "split": lambda X, y, s: ((X, y), {"sample_weight": s, "validation_split": 0.2}),
    "stream": lambda X, y, s: ((fastbp.stream(X, y, s, block_rows=20),), {}),
    "blocks": lambda X, y, s: (
        (fastbp.stream(lambda: ((X[i : i + 20], y[i : i + 20]) for i in (0, 20, 40))),),
        {},
    ),
}


class Run:
    """A fit in which everything has a state: Adam, a schedule, early stopping, a source of data."""

    def __init__(self, kind="engine", source="arrays", seed=3, epochs=6, patience=2, **options):
        self.net = KINDS[kind](
            WIDTHS, output="softmax", loss="cross_entropy", dtype="float32", seed=seed
        )
        X, y, s = data()
        self.source, given = SOURCES[source](X, y, s)
        self.optimizer = Adam(0.05)
        self.schedule = ReduceLROnPlateau(patience=0, factor=0.5)
        self.stop = EarlyStopping("loss", patience=patience, min_delta=0.05)
        self.options = given | {"epochs": epochs, "batch_size": 6} | options
        if "validation_split" not in given:
            self.options["validation_data"] = data(6)[:2]

    def fit(self, *callbacks, **options):
        self.history = self.net.fit(
            *self.source,
            optimizer=self.optimizer,
            schedule=self.schedule,
            callbacks=[self.stop, *callbacks],
            **self.options | options,
        )
        return self


def assert_same(run, expected):
    np.testing.assert_array_equal(run.net.theta, expected.net.theta)
    np.testing.assert_array_equal(run.optimizer.moments, expected.optimizer.moments)
    assert run.optimizer.t == expected.optimizer.t
    assert run.schedule.state_dict() == expected.schedule.state_dict()
    assert run.stop.best == expected.stop.best
    assert run.stop.best_epoch == expected.stop.best_epoch
    assert run.history.stopped_by == expected.history.stopped_by
    for name, values in expected.history.series().items():
        if name != "samples_per_second":
            assert run.history[name] == values, name


# ---- the same bits ------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 4, STEPS, 2 * STEPS + 3])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_fit_is_bit_identical(kind, source, steps, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        Run(kind, source).fit(StopAt(steps), checkpoint=tmp_path)
    resumed = Run(kind, source, seed=99).fit(checkpoint=tmp_path, resume=True)
    assert_same(resumed, Run(kind, source).fit())
    assert resumed.net.seed == 3


@pytest.mark.parametrize("steps", [4, STEPS, 3 * STEPS + 1, 5 * STEPS])
def test_patience_continues_to_count_after_a_resume(steps, tmp_path):
    def run(seed=3):
        made = Run(epochs=30, seed=seed)
        made.stop = EarlyStopping(
            "val_loss", patience=4, min_delta=0.01, baseline=0.5, start_from_epoch=2
        )
        return made

    expected = run().fit()
    with pytest.raises(KeyboardInterrupt):
        run().fit(StopAt(steps), checkpoint=tmp_path)
    assert_same(run(seed=99).fit(checkpoint=tmp_path, resume=True), expected)
    assert expected.history.stopped_by == "callback" and expected.history.epochs > 5


def test_a_fit_may_be_interrupted_repeatedly(tmp_path):
    expected = Run(source="stream").fit()
    for turn in range(100):
        run = Run(source="stream", seed=None if turn else 3)
        try:
            run.fit(StopAt(7), checkpoint=tmp_path)
            break
        except KeyboardInterrupt:
            pass
    assert_same(run, expected)


@pytest.mark.parametrize("every", ["1 step", "7 steps", "2 epochs", "0.000001 s"])
def test_every_checkpoint_leads_to_the_same_result(every, tmp_path, monkeypatch):
    """As after a power cut: the folder has the files that it had at some earlier time."""
    expected = Run(source="stream").fit()
    kept = []
    save = Checkpoints.save

    def save_and_keep(self, state, t):
        save(self, state, t)
        kept.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_keep)
        Run(source="stream").fit(Every(), checkpoint=tmp_path, every=every)
    epochs = expected.history.epochs
    assert len(kept) >= {"7": STEPS * epochs // 7, "2": epochs // 2}.get(every[0], STEPS * epochs)
    for files in kept[:: max(1, len(kept) // 6)]:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        assert_same(Run(source="stream").fit(checkpoint=tmp_path, resume=True), expected)


def test_a_fit_that_ends_by_its_time_budget_can_be_resumed(tmp_path):
    expected = Run(epochs=3).fit()
    for _ in range(100):
        run = Run(epochs=3).fit(Every(), checkpoint=tmp_path, time_budget=1e-6)
        if run.history.stopped_by is None and run.history.epochs == 3:
            break
    assert_same(run, expected)


OPTIMIZERS = {
    "nesterov, clipped": lambda: SGD(0.1, momentum=0.9, nesterov=True, clip_global_norm=0.1),
    "averaged": lambda: Adam(0.05, ema=0.9),
    "nadam": lambda: NAdam(0.05),
    "radam, by value": lambda: RAdam(0.05, clip_value=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_kind_of_state(name, tmp_path):
    make = OPTIMIZERS[name]
    runs = [Run(accumulate=2) for _ in range(3)]
    for run in runs:
        run.optimizer, run.schedule = make(), OneCycleLR(0.1, per="step")
    expected = runs[0].fit()
    with pytest.raises(KeyboardInterrupt):
        runs[1].fit(StopAt(7), checkpoint=tmp_path)
    assert_same(runs[2].fit(checkpoint=tmp_path), expected)
    if expected.optimizer.average is not None:
        np.testing.assert_array_equal(runs[2].optimizer.average, expected.optimizer.average)


def test_resuming_a_finished_fit_returns_its_result(tmp_path):
    first = Run(epochs=3, patience=9).fit(checkpoint=tmp_path)
    theta = first.net.theta.copy()
    again = Run(epochs=3, patience=9).fit(checkpoint=tmp_path)
    assert_same(again, first)
    np.testing.assert_array_equal(again.net.theta, theta)
    assert_same(Run(epochs=5, patience=9).fit(checkpoint=tmp_path), Run(epochs=5, patience=9).fit())


def test_resuming_a_stopped_fit_does_not_train_further(tmp_path):
    first = Run(patience=1, epochs=50).fit(checkpoint=tmp_path)
    assert first.history.stopped_by == "callback"
    assert_same(Run(patience=1, epochs=50).fit(checkpoint=tmp_path), first)


CHILD = """
import sys
sys.path[:0] = {folders!r}
from test_checkpoints import Every, Run
Run(source="stream", epochs=10**6, patience=10**6).fit(
    Every(), checkpoint={folder!r}, every="3 steps"
)
"""


def test_a_killed_process_can_be_resumed(tmp_path):
    folders = [str(folder) for folder in Path(__file__).parents[:2]]
    code = CHILD.format(folders=folders, folder=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        eventually(lambda: len(list(tmp_path.glob("checkpoint-*"))) == 2)
        time.sleep(0.1)
    finally:
        child.kill()
        child.wait()
    states = [
        json.loads(read_safetensors(path)[1]["state"]) for path in tmp_path.glob("checkpoint-*")
    ]
    epochs = max(state["place"][0] for state in states) + 2
    resumed = Run(source="stream", epochs=epochs, patience=10**6).fit(checkpoint=tmp_path)
    assert_same(resumed, Run(source="stream", epochs=epochs, patience=10**6).fit())


# ---- two generations ----------------------------------------------------------------------


def damage(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("spoil", "reason"), [(damage, "the checksum does not hold"), (truncate, "data")]
)
def test_a_damaged_file_falls_back_to_the_previous_one(spoil, reason, tmp_path):
    expected = Run(epochs=4, patience=9).fit()
    Run(epochs=3, patience=9).fit(checkpoint=tmp_path)
    files = Checkpoints(tmp_path, "1 epoch", "auto")
    spoil(files.path(3))
    with pytest.warns(UserWarning, match=f"{reason}.*; going on from the other one") as caught:
        resumed = Run(epochs=4, patience=9).fit(checkpoint=tmp_path)
    assert caught[0].filename == __file__
    assert_same(resumed, expected)


def test_two_damaged_files_are_an_error(tmp_path):
    Run(epochs=3).fit(checkpoint=tmp_path)
    for path in tmp_path.iterdir():
        damage(path)
    with (
        pytest.warns(UserWarning, match="there is no other one"),
        pytest.raises(FileNotFoundError, match="no checkpoint to resume from in"),
    ):
        Run(epochs=3).fit(checkpoint=tmp_path, resume=True)
    with pytest.warns(UserWarning, match="there is no other one"):
        assert_same(Run(epochs=3).fit(checkpoint=tmp_path), Run(epochs=3).fit())


def test_a_folder_holds_two_files_written_alternately(tmp_path):
    Run(epochs=5, patience=9).fit(checkpoint=tmp_path / "a" / "b")
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["checkpoint-0.safetensors", "checkpoint-1.safetensors"]
    files = Checkpoints(tmp_path / "a" / "b", "1 epoch", "auto")
    generations = [read_safetensors(files.path(i))[1]["generation"] for i in (4, 5)]
    assert generations == ["4", "5"]


def test_a_new_fit_ignores_the_checkpoint_of_another_fit(tmp_path):
    Run(epochs=4, patience=9).fit(checkpoint=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        Run(epochs=4, seed=8).fit(StopAt(3), checkpoint=tmp_path, resume=False)
    assert len(list(tmp_path.iterdir())) == 1
    resumed = Run(epochs=4, seed=8, patience=9).fit(checkpoint=tmp_path, resume=True)
    assert_same(resumed, Run(epochs=4, seed=8, patience=9).fit())


def test_a_failed_write_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    Run(epochs=2).fit(checkpoint=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space left"):
        Run(epochs=4).fit(checkpoint=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# ---- checkpoints of other fits, and bad arguments -----------------------------------------


def other_network(run):
    run.net = fastbp.Network((4, 8, 3), output="softmax", loss="cross_entropy", seed=3)


def other_rows(run):
    X, y = run.source
    run.source = X + np.float32(1), y


def other_optimizer(run):
    run.optimizer = SGD(0.1)


def other_settings(run):
    run.optimizer = Adam(0.05, eps=1e-3)


def other_schedule(run):
    run.schedule = CosineAnnealingLR(4)


def other_callbacks(run):
    run.stop = Every()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (other_network, {}, r"another fit: its network's widths is 4, 9, 3, here it is 4, 8, 3"),
        (other_rows, {}, "its data is 50 rows with checksum"),
        (other_optimizer, {}, "its optimizer is Adam, here it is SGD; give another folder, or"),
        (other_settings, {}, "its optimizer's settings is"),
        (other_schedule, {}, "its schedule is ReduceLROnPlateau, here it is CosineAnnealingLR"),
        (other_callbacks, {}, r"\['EarlyStopping'\]: pass the same, in the same order"),
        (None, {"accumulate": 2}, "its accumulate is 1, here it is 2"),
        (None, {"class_weight": "balanced"}, "its class_weight is None, here it is 'balanced'"),
        (None, {"batch_size": 7}, "its batch_size is 6, here it is 7"),
        (None, {"shuffle": False}, "its shuffle is True, here it is False"),
        (None, {"validation_split": 0.5, "validation_data": None}, "its validation_split is 0.0"),
    ],
)
def test_checkpoints_of_other_fits_are_refused(change, options, message, tmp_path):
    Run(epochs=2).fit(checkpoint=tmp_path)
    run = Run(epochs=3, seed=9)
    if change is not None:
        change(run)
    assert_refused(run, ValueError, message, checkpoint=tmp_path, **options)
    other = Run(epochs=2, seed=4)
    if change is not None:
        change(other)
    other.fit(checkpoint=tmp_path, resume=False, **options)


def assert_refused(run, error, message, *callbacks, **options):
    """The call is refused, and changes nothing, although there is a checkpoint to resume from."""
    theta, seed = run.net.theta.copy(), run.net.seed
    with pytest.raises(error, match=message):
        run.fit(*callbacks, **options)
    np.testing.assert_array_equal(run.net.theta, theta)
    assert run.net.seed == seed and run.optimizer.t == run.schedule.t == 0


def test_arguments_that_cannot_be_combined_with_a_checkpoint(tmp_path):
    first = Run(source="blocks", epochs=2)
    first.schedule = ExponentialLR(0.5)
    first.fit(checkpoint=tmp_path)
    run = Run(source="blocks", epochs=3, seed=9)
    run.schedule = ExponentialLR(0.5, per="step")
    for message, callbacks, options in (
        ("a schedule by step needs a stream of arrays", (), {}),
        ("callback 'x' is neither callable", ("x",), {}),
        (r"validation_data must be \(X, y\)", (), {"validation_data": 3}),
    ):
        options["checkpoint"] = tmp_path
        assert_refused(run, (TypeError, ValueError), message, *callbacks, **options)
    assert "fastbp reader" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": "often"}, ValueError, "every must be a text such as '1 epoch', '500 steps'"),
        ({"every": "0 steps"}, ValueError, "every must be a text"),
        ({"every": "1.5 epochs"}, ValueError, "every must be a text"),
        ({"every": "nan s"}, ValueError, "every must be a text"),
        ({"every": 5}, TypeError, "every must be a text"),
        ({"resume": "yes"}, ValueError, "resume must be 'auto', True or False; got 'yes'"),
        ({"resume": True}, FileNotFoundError, "no checkpoint to resume from in"),
        ({"optimizer": LBFGS()}, TypeError, "LBFGS makes no checkpoints: omit checkpoint"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a folder; got int"),
    ],
)
def test_bad_arguments_are_refused(options, error, message, tmp_path):
    run = Run()
    run.optimizer = options.pop("optimizer", run.optimizer)
    with pytest.raises(error, match=message):
        run.fit(**{"checkpoint": tmp_path / "new"} | options)


def test_other_files_in_the_folder_are_ignored(tmp_path):
    write_safetensors(tmp_path / "checkpoint-0.safetensors", {}, {"format": "fastbp"})
    with pytest.warns(UserWarning, match="not a checkpoint of format 'fastbp-checkpoint'"):
        Run(epochs=1).fit(checkpoint=tmp_path)


def test_a_state_that_json_cannot_hold_is_refused(tmp_path):
    class Odd:
        def on_epoch_end(self, epoch, logs):
            pass

        def state_dict(self):
            return {"it": object()}

    with pytest.raises(TypeError, match=r"cannot hold state\.callbacks\.1\.1\.it, of object"):
        Run(epochs=1).fit(Odd(), checkpoint=tmp_path)
