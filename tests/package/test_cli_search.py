"""`fastbp search`: which trials go on, what it prints and writes, and how it ends."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

import fastbp
from fastbp._cli import search, trials
from fastbp._cli.main import main
from fastbp._cli.options import duration

pytestmark = pytest.mark.once
MODEL = "fastbp-model.safetensors"
QUICK = ["--trials", "9", "--epochs", "9"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_table(path="rings.csv", n=200, task="classification"):
    """Write a table whose target depends on the radius of two numbers, and on a text."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, n))
    kind = rng.choice(["in", "out"], n)
    radius = np.hypot(a, b) + 0.5 * (kind == "in")
    y = [f"ring {int(r)}" for r in np.minimum(radius, 2)] if task == "classification" else radius
    with open(path, "w") as file:
        file.write("a,b,kind,y\n")
        file.writelines(f"{a[i]:.4f},{b[i]:.4f},{kind[i]},{y[i]}\n" for i in range(n))
    return path


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ---- the search ---------------------------------------------------------------------------


def test_the_best_third_goes_on_and_the_best_is_written(capsys):
    assert main(["search", write_table(), *QUICK, "--table", "t.csv"]) == 0
    found = rows_of("t.csv")
    assert [int(row["rank"]) for row in found] == list(range(1, 10))
    assert sorted(int(row["trial"]) for row in found) == list(range(1, 10))
    assert [int(row["epochs"]) for row in found] == [9, 3, 3] + [1] * 6
    assert [row["stopped_by"] for row in found] == [""] + ["halving"] * 8
    for epochs in (1, 3):
        scores = [float(r["validation_accuracy"]) for r in found if int(r["epochs"]) == epochs]
        assert scores == sorted(scores, reverse=True)
    net = fastbp.load(MODEL)
    assert ",".join(map(str, net.widths[1:-1])) == found[0]["hidden"]
    assert net.l2 == float(found[0]["l2"])
    assert [layer.dropout for layer in net.dense[:-1]] == [float(found[0]["dropout"])] * (
        len(net.widths) - 2
    )
    out, err = capsys.readouterr()
    first = "rings.csv: 128 rows to train on, 32 to compare trials, 40 to test; 3 features"
    assert out.startswith(first)
    assert "test accuracy: " in out
    assert f"model written to {MODEL}; trial {found[0]['trial']}: --hidden" in out
    assert "9 trials written to t.csv" in out
    assert re.findall(r"^(\d) trials? to epoch (\d): best accuracy", err, re.MULTILINE) == [
        ("9", "1"), ("3", "3"), ("1", "9"),
    ]  # fmt: skip


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_trial_1_is_what_train_makes_with_the_same_split(task):
    write_table(task=task)
    same = ["--epochs", "5", "--validation-split", "0.25", "--seed", "3", "-q"]
    assert main(["search", "rings.csv", "--trials", "1", *same, "-o", "found"]) == 0
    assert main(["train", "rings.csv", *same, "-o", "trained"]) == 0
    found, trained = fastbp.load("found"), fastbp.load("trained")
    np.testing.assert_array_equal(found.theta, trained.theta)
    assert found.preprocessing == trained.preprocessing


def test_the_written_model_has_the_score_of_the_table():
    write_table(task="regression")
    assert main(["search", "rings.csv", *QUICK, "--table", "t.csv", "-q", "--hold-out", "0"]) == 0
    best = rows_of("t.csv")[0]
    net = fastbp.load(MODEL)
    table = fastbp.tabular.read_table("rings.csv")
    _, held_out = fastbp._training.splits.hold_out(table.n_rows, 0.2)
    part = table.take(held_out)
    assert net.score(part, part.target) == pytest.approx(float(best["validation_R2"]), abs=1e-5)


def test_one_seed_gives_the_same_files_on_any_number_of_threads():
    write_table()
    for name, threads in (("one", 1), ("two", 2)):
        before = fastbp.get_num_threads()
        fastbp.set_num_threads(threads)
        try:
            args = ["-q", "--seed", "5", "-o", f"{name}.model", "--table", f"{name}.csv"]
            assert main(["search", "rings.csv", *QUICK, *args]) == 0
        finally:
            fastbp.set_num_threads(before)
    for ending in ("model", "csv"):
        with open(f"one.{ending}", "rb") as one, open(f"two.{ending}", "rb") as two:
            assert one.read() == two.read()
    args = ["-q", "--seed", "6", "-o", "six.model", "--table", "six.csv"]
    assert main(["search", "rings.csv", *QUICK, *args]) == 0
    assert rows_of("six.csv")[0] != rows_of("one.csv")[0]


def test_a_trial_is_the_same_whatever_the_number_of_trials():
    write_table()
    for n in (4, 12):
        args = ["--trials", str(n), "--epochs", "1", "-q", "--table", f"{n}.csv"]
        assert main(["search", "rings.csv", *args]) == 0
    few, many = ({row["trial"]: row for row in rows_of(f"{n}.csv")} for n in (4, 12))
    for number, row in few.items():
        assert {**row, "rank": ""} == {**many[number], "rank": ""}


def test_train_makes_the_network_of_any_trial():
    """Without the comparison, on the same rows, and with what the table says."""
    write_table()
    same = ["--epochs", "4", "--validation-split", "0.25", "-q"]
    search_args = [*same, "--trials", "12", "--min-epochs", "4", "--table", "t.csv"]
    assert main(["search", "rings.csv", *search_args, "-o", "found"]) == 0
    row = rows_of("t.csv")[0]
    given = [f"--{name}={row[name]}" for name in ("hidden", "lr", "l2", "dropout")]
    assert main(["train", "rings.csv", *same, *given, "-o", "trained"]) == 0
    found, trained = fastbp.load("found"), fastbp.load("trained")
    np.testing.assert_array_equal(found.theta, trained.theta)
    assert [layer.dropout for layer in found.dense] == [layer.dropout for layer in trained.dense]


def test_options_that_are_given_are_not_searched():
    write_table()
    given = ["--hidden", "7,5", "--lr", "0.01", "--l2", "0.001", "--dropout", "0.25"]
    assert main(["search", "rings.csv", *QUICK, *given, "-q", "--table", "t.csv"]) == 0
    for row in rows_of("t.csv"):
        chosen = [row[name] for name in ("hidden", "lr", "l2", "dropout")]
        assert chosen == ["7,5", "0.01", "0.001", "0.25"]
    main(["search", "rings.csv", *QUICK, *given[2:], "-q", "--table", "t.csv"])
    assert len({row["hidden"] for row in rows_of("t.csv")}) > 2


def test_all_ranges_are_used():
    write_table()
    main(["search", "rings.csv", "--trials", "60", "--epochs", "1", "-q", "--table", "t.csv"])
    found = [row for row in rows_of("t.csv") if row["trial"] != "1"]
    hidden = [row["hidden"].split(",") for row in found]
    assert {len(each) for each in hidden} == set(trials.DEPTHS)
    assert {int(each[0]) for each in hidden} == set(trials.WIDTHS)
    for name, (low, high) in {
        "lr": (0.3e-3, 30e-3), "l2": trials.PENALTIES, "dropout": trials.DROPOUTS,
    }.items():  # fmt: skip
        values = [float(row[name]) for row in found]
        assert low <= min(values) <= max(values) <= high, name
    no_dropout = sum(float(row["dropout"]) == 0 for row in found)
    assert 15 < no_dropout < 45


def test_a_network_without_hidden_layers_has_no_dropout():
    write_table()
    assert main(["search", "rings.csv", *QUICK, "--hidden", "none", "-q", "--table", "t.csv"]) == 0
    assert {(row["hidden"], row["dropout"]) for row in rows_of("t.csv")} == {("none", "0.0")}


def test_the_cross_entropy_decides_between_equal_accuracies():
    write_table(n=60)
    main(["search", "rings.csv", "--trials", "30", "--epochs", "1", "-q", "--table", "t.csv"])
    scores = [float(row["validation_accuracy"]) for row in rows_of("t.csv")]
    assert scores == sorted(scores, reverse=True)
    numbers = [int(row["trial"]) for row in rows_of("t.csv")]
    pairs = zip(pairwise(numbers), pairwise(scores), strict=True)
    ordered = [a < b for (a, b), (s, t) in pairs if s == t]
    assert not all(ordered)


def test_options_of_training_are_those_of_train():
    write_table()
    args = ["--optimizer", "sgd", "--momentum", "0.5", "--dtype", "float64", "--l1", "0.001"]
    args += ["--activation", "tanh", "--batch-size", "8", "--schedule", "cosine"]
    assert main(["search", "rings.csv", *QUICK, *args, "-q"]) == 0
    net = fastbp.load(MODEL)
    assert (net.dtype, net.l1, str(net.activations[0])) == (np.float64, 0.001, "tanh")


def test_fewer_epochs_at_first_need_more_comparisons(capsys):
    write_table()
    args = ["--trials", "27", "--epochs", "30", "--min-epochs", "3"]
    assert main(["search", "rings.csv", *args]) == 0
    err = capsys.readouterr().err
    assert re.findall(r"^(\d+) trials? to epoch (\d+):", err, re.MULTILINE) == [
        ("27", "3"), ("9", "9"), ("3", "30"),
    ]  # fmt: skip


def test_quiet_prints_nothing(capfd):
    assert main(["search", write_table(), *QUICK, "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self):
        return True


def test_a_terminal_has_a_live_table_that_is_gone_at_the_end(capsys, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("fastbp._cli.board._BETWEEN", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["search", write_table(), *QUICK]) == 0
    text = terminal.getvalue()
    assert "3 trials to epoch 3; " in text
    assert "accuracy" in text
    assert re.search(r"\x1b\[\d+F\x1b\[J$", text)
    # every table is erased as high as it was drawn, and no line wraps
    drawings = re.split(r"\x1b\[(\d+)F\x1b\[J", text)
    for drawn, height in zip(drawings[:-1:2], drawings[1::2], strict=True):
        assert drawn.count("\n") == int(height)
        assert max(map(len, drawn.split("\n"))) < 60
    assert "\x1b" not in capsys.readouterr().out


def test_a_dumb_terminal_has_lines(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    assert main(["search", write_table(), *QUICK]) == 0
    assert "\x1b" not in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 3


# ---- how it ends --------------------------------------------------------------------------


def test_the_time_ends_the_search_and_the_best_is_written(capsys):
    write_table()
    args = ["--trials", "4", "--epochs", "10000000", "--min-epochs", "1", "--time", "0.5s"]
    assert main(["search", "rings.csv", *args, "--table", "t.csv"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"--time ended the training at epoch \d+ of 10000000", out)
    assert re.findall(r"^(\d) trials? to epoch (\d+):", err, re.MULTILINE) == [("4", "1")]
    found = rows_of("t.csv")
    assert found[0]["stopped_by"] == "time_budget"
    assert int(found[0]["epochs"]) > 1
    assert fastbp.load(MODEL).score(fastbp.tabular.read_table("rings.csv")) > 0


@pytest.mark.parametrize("comparison", [1, 2])
def test_ctrl_c_keeps_the_best_of_those_left(capsys, monkeypatch, comparison):
    calls = []
    judge = search._Search.judge

    def interrupted(self, ended):
        calls.append(ended)
        if len(calls) == comparison:
            raise KeyboardInterrupt
        return judge(self, ended)

    monkeypatch.setattr(search._Search, "judge", interrupted)
    assert main(["search", write_table(), *QUICK, "--table", "t.csv"]) == 130
    out, err = capsys.readouterr()
    assert "test accuracy" in out
    epochs, n_left = {1: (1, 9), 2: (3, 3)}[comparison]
    assert err.splitlines()[-1] == (
        f"fastbp: interrupted at {epochs} of 9 epochs; the best model so far is in {MODEL}"
    )
    found = rows_of("t.csv")
    ended = [row["stopped_by"] for row in found]
    assert ended == ["interrupt"] * n_left + ["halving"] * (9 - n_left)
    assert [int(row["epochs"]) for row in found] == [epochs] * n_left + [1] * (9 - n_left)
    net = fastbp.load(MODEL)
    assert ",".join(map(str, net.widths[1:-1])) == found[0]["hidden"]


def test_ctrl_c_before_training_writes_nothing(capsys, monkeypatch):
    def interrupt(*args, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "open_source", interrupt)
    assert main(["search", "--table", "t.csv"]) == 130
    assert capsys.readouterr().err == "fastbp: error: interrupted\n"
    assert os.listdir() == []


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_sigint_keeps_the_best_so_far(keyboard):
    program = [sys.executable, "-P", "-m", "fastbp", "search", "--trials", "5", "--table", "t.csv"]
    args = ["--epochs", "100000000", "--min-epochs", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*program, *args], **pipes) as process:
        try:
            assert b"trials to epoch 1:" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert b"the best model so far is in" in err
    assert b"Traceback" not in err
    assert b"test accuracy" in out
    assert np.isfinite(fastbp.load(MODEL).theta).all()
    assert len(rows_of("t.csv")) == 5


def test_a_trial_that_diverges_is_the_last(capsys, monkeypatch):
    monkeypatch.setattr(trials, "RATES", (1e28, 1e30))
    write_table(task="regression")
    args = ["--trials", "3", "--epochs", "3", "--optimizer", "sgd", "--table", "t.csv"]
    assert main(["search", "rings.csv", *args]) == 0
    found = rows_of("t.csv")
    assert found[0]["trial"] == "1"
    assert [row["stopped_by"] for row in found[1:]] == ["divergence"] * 2
    assert [row["validation_R2"] for row in found[1:]] == ["nan"] * 2


def test_where_all_trials_diverge_nothing_is_written(capsys):
    write_table(task="regression")
    args = ["--optimizer", "sgd", "--lr", "1e30", "--no-standardize"]
    assert main(["search", "rings.csv", *QUICK, *args, "--table", "t.csv"]) == 1
    err = capsys.readouterr().err
    assert "fastbp: error: all 9 trials diverged: give a smaller --lr" in err
    assert os.listdir() == ["rings.csv"]


# ---- errors -------------------------------------------------------------------------------

USAGE = {
    "trials": (["--trials", "0"], "argument --trials: expected a whole number >= 1"),
    "no time": (["--time", "0s"], "argument --time: expected a time greater than 0, such as 60s"),
    "no unit": (["--time", "5 days"], "argument --time: expected a time greater than 0"),
    "no number": (["--time", "soon"], "argument --time: expected a time greater than 0"),
    "no end": (["--time", "inf"], "argument --time: expected a time greater than 0"),
    "epochs at first": (["--min-epochs", "0"], "argument --min-epochs: expected a whole number"),
    "more epochs at first": (
        ["--min-epochs", "9", "--epochs", "8"],
        "--min-epochs 9 is more than --epochs 8",
    ),
    "no rows to compare on": (
        ["--validation-split", "0"],
        "--validation-split must be above 0: trials are compared on these rows",
    ),
    "all rows to compare on": (["--validation-split", "1"], "at least 0 and below 1"),
    "activations": (
        ["--activation", "relu,tanh"],
        "--activation lists 2 names, and the number of hidden layers is searched: give one",
    ),
    "dropout": (["--dropout", "1"], "argument --dropout: expected at least 0 and below 1"),
    "l2": (["--l2", "-1"], "argument --l2: expected a number >= 0"),
    "one file": (["-o", "x", "--table", "./x"], "--table and --output name the same file, ./x"),
    "no hidden units": (
        ["--dropout", "0.1", "--hidden", "none"],
        "--dropout leaves out hidden units",
    ),
    "momentum": (["--momentum", "0.9"], "need --optimizer sgd"),
    "target": (["--target", "x"], "--target applies to data files only"),
    "an option of train": (["--patience", "3"], "unknown option --patience"),
}


@pytest.mark.parametrize("name", USAGE)
def test_bad_arguments_are_refused(capsys, name):
    args, message = USAGE[name]
    with pytest.raises(SystemExit) as caught:
        main(["search", *args])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: fastbp search [OPTIONS] [DATA]\n")
    assert message in " ".join(err.split())
    assert os.listdir() == []


BAD = {
    "no file": (["none.csv"], "none.csv: No such file or directory"),
    "no folder for the model": (["-o", "none/m"], "none: no such folder"),
    "no folder for the table": (["--table", "none/t.csv"], "none: no such folder"),
    "no column": (["rings.csv", "--target", "price"], "no column 'price'; there are 4"),
    "too few rows to compare on": (
        ["rings.csv", "--validation-split", "0.001"],
        "--validation-split 0.001 splits 160 rows into 160 to train on and 0 to score",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_refused(capsys, name):
    args, message = BAD[name]
    write_table()
    assert main(["search", *args]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fastbp: error: ")
    assert message in err
    assert os.listdir() == ["rings.csv"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("2", 2), ("1.5 min", 90), ("10m", 600), ("2h", 7200)]
)
def test_units_of_time(text, seconds):
    assert duration(text) == seconds
