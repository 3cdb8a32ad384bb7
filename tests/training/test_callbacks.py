"""Calls of callbacks, and the output of the progress report."""

import sys

import pytest
from fit_cases import case

from fastbp._training import runner
from fastbp.callbacks import CallbackRunner, EarlyStopping, Progress

LOGS = {"loss": 0.5, "val_loss": 0.25, "val_score": 0.875, "samples_per_second": 1234567.8}


class Recorder:
    def __init__(self):
        self.calls = []

    def on_fit_begin(self, net):
        self.calls.append(("begin", net))

    def on_epoch_end(self, epoch, logs):
        self.calls.append((epoch, logs))
        return epoch == 2

    def on_fit_end(self, net):
        self.calls.append(("end", net))


def test_order_and_arguments():
    recorder = Recorder()
    with CallbackRunner([recorder], "net") as run:
        assert [run.epoch_end(epoch, LOGS) for epoch in range(3)] == [False, False, True]
    assert recorder.calls == [("begin", "net"), (0, LOGS), (1, LOGS), (2, LOGS), ("end", "net")]


def test_all_callbacks_are_called_even_if_one_stops_the_fit():
    recorder = Recorder()
    with CallbackRunner([lambda epoch, logs: "stop", recorder], None) as run:
        assert run.epoch_end(0, LOGS) is True
    assert (0, LOGS) in recorder.calls


def test_an_object_with_methods_is_not_called():
    class Both:
        def on_epoch_end(self, epoch, logs):
            return False

        def __call__(self, epoch, logs):
            raise AssertionError("an object with methods is not called")

    with CallbackRunner([Both()], None) as run:
        assert run.epoch_end(0, LOGS) is False


def test_on_fit_end_is_called_after_an_error():
    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt), CallbackRunner([recorder], None):
        raise KeyboardInterrupt
    assert recorder.calls[-1][0] == "end"


def test_objects_that_are_not_callbacks_are_refused():
    with pytest.raises(TypeError, match="on_fit_begin, on_epoch_end, .*on_fit_end"):
        CallbackRunner(["print"], None)
    with pytest.raises(TypeError, match="callbacks must be a sequence"):
        CallbackRunner(len, None)


def run_progress():
    with CallbackRunner([], None, Progress(2)) as run:
        for epoch in range(2):
            assert run.epoch_end(epoch, LOGS) is False


def test_without_tqdm_progress_is_one_line_per_epoch(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    run_progress()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"epoch {k}/2  loss 0.5000  val_loss 0.2500  val_score 0.8750  1,234,568 samples/s"
        for k in (1, 2)
    ]


def test_with_tqdm_progress_is_a_bar(capsys):
    pytest.importorskip("tqdm", reason="tqdm is optional")
    run_progress()
    err = capsys.readouterr().err
    assert "2/2" in err and "val_score=0.8750" in err and "samples/s=1,234,568" in err


def test_a_fit_that_ends_without_memory_does_not_keep_its_callbacks(monkeypatch):
    class Entries(dict):
        fails = True

        def __delitem__(self, key):
            if self.fails:
                self.fails = False
                raise MemoryError
            super().__delitem__(key)

    monkeypatch.setattr(runner, "_fits", Entries())
    net, X, y = case()
    stop = EarlyStopping("loss")
    with pytest.raises(MemoryError):
        net.fit(X, y, epochs=1, callbacks=[stop])
    assert net.fit(X, y, epochs=1, callbacks=[stop]).epochs == 1
    assert runner._fits == {}
