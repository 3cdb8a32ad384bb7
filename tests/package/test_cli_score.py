"""The score that `fastbp train` prints, beside that of the best constant prediction."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score, root_mean_squared_error

import fastbp
from fastbp._cli.main import main
from fastbp._cli.score import area_under_roc
from fastbp._training.splits import hold_out

QUICK = ["--epochs", "4", "--hidden", "4", "--dtype", "float64", "-o", "m"]
EPS = np.finfo(float).eps


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(columns):
    rows = zip(*columns.values(), strict=True)
    with open("data.csv", "w") as file:
        file.writelines(",".join(map(str, row)) + "\n" for row in [columns, *rows])


def trained(capsys, data="data.csv"):
    assert main(["train", data, *QUICK]) == 0
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("test "))


def test_the_score_of_two_classes(capsys, folder, rng):
    x = rng.normal(size=300).round(1)
    labels = np.where(x + rng.normal(size=300) > 0.7, "yes", "no")
    write({"x": x, "label": labels})
    line = trained(capsys)
    train, test = hold_out(300, 0.2, seed=0, labels=labels.astype(object))
    # the file of the test rows, as predict sees it
    write({"x": x[test]})
    assert main(["predict", "m", "data.csv", "--proba"]) == 0
    rows = [row.split(",") for row in capsys.readouterr().out.splitlines()[1:]]
    right = accuracy_score(labels[test], [row[0] for row in rows])
    area = roc_auc_score(labels[test] == "yes", [float(row[2]) for row in rows])
    share = (labels[test] == "no").mean()
    assert (labels[train] == "no").mean() > 0.5
    assert line == (
        f"test accuracy: {100 * right:.2f} % ({round(60 * right)} of 60); the most frequent class "
        f"has {100 * share:.2f} %; AUC {area:.4f}"
    )


def test_the_score_of_more_classes_has_no_auc(capsys, folder, rng):
    write({"x": rng.normal(size=90), "label": ["a", "b", "c"] * 30})
    pattern = r"test accuracy: [\d.]+ % \(\d+ of 18\); the most frequent class has 33.33 %"
    assert re.fullmatch(pattern, trained(capsys))


def test_the_most_frequent_class_is_that_of_the_training_rows(capsys, folder):
    labels = np.array(["a"] * 32 + ["b"] * 8, dtype=object)
    write({"x": np.arange(40) / 7, "label": labels})
    _, test = hold_out(40, 0.2, seed=0, labels=labels)
    share = 100 * (labels[test] == "a").mean()
    assert f"the most frequent class has {share:.2f} %" in trained(capsys)


def test_the_score_of_numbers(capsys, folder, rng):
    x = rng.normal(size=200)
    y = 10 + 3 * x + rng.normal(size=200)
    write({"x": x, "y": y})
    line = trained(capsys)
    train, test = hold_out(200, 0.2, seed=0)
    net = fastbp.load("m")
    answers = net.predict({"x": x[test]})
    mean = np.full(len(test), y[train].mean())
    assert line == (
        f"test R2: {r2_score(y[test], answers):.4f}; root mean square error: "
        f"{root_mean_squared_error(y[test], answers):.6g} (y); the mean of the training rows has "
        f"R2 {r2_score(y[test], mean):.4f} and {root_mean_squared_error(y[test], mean):.6g} (y)"
    )


def test_the_score_of_several_targets(capsys, folder, rng):
    X = rng.normal(size=(60, 2))
    np.savez("data.npz", X=X, y=np.column_stack([X.sum(axis=1), X[:, 0]]))
    line = trained(capsys, data="data.npz")
    error = r"[\d.]+ \(y1\), [\d.]+ \(y2\)"
    assert re.fullmatch(
        rf"test R2: -?[\d.]+; root mean square error: {error}; the mean of the training rows has "
        rf"R2 -[\d.]+ and {error}",
        line,
    )


def test_the_score_of_many_targets_has_them_all(capsys, folder, rng):
    np.savez("data.npz", X=rng.normal(size=(20, 2)), y=rng.normal(size=(20, 300)))
    line = trained(capsys, data="data.npz")
    assert re.findall(r"\((y\d+)\)", line) == [f"y{i}" for i in range(1, 301)] * 2


@pytest.mark.once
@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40).filter(
        lambda rows: len({positive for _, positive in rows}) == 2
    )
)
def test_the_area_under_the_roc_curve_counts_ties_half(rows):
    scores, positive = (np.array(column) for column in zip(*rows, strict=True))
    pairs = scores[positive][:, None] - scores[~positive]
    exact = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    # ranks and their sum are multiples of 1/2 and exact; one division, as in the mean
    assert abs(area_under_roc(scores, positive) - exact) <= EPS
    # scikit-learn adds up to one trapezoid for each row
    assert abs(roc_auc_score(positive, scores) - exact) <= (len(rows) + 2) * EPS


@pytest.mark.once
def test_the_area_under_the_roc_curve_needs_both_classes():
    assert np.isnan(area_under_roc(np.array([0.1, 0.2]), np.array([True, True])))


HINT = "scores better, and more training is not always better: try --patience 10"


@pytest.mark.parametrize(
    ("y", "constant"),
    [
        (np.arange(200) % 5 == 0, "the most frequent class"),
        (np.arange(200) % 7 + 0.5, "the mean of the training rows"),
    ],
)
def test_a_score_below_that_of_a_constant_ends_with_a_hint(capsys, folder, rng, y, constant):
    # a network that learns the noise of few rows by heart
    noise = {f"x{i}": rng.normal(size=200) for i in range(8)}
    write(noise | {"y": rng.permutation(y)})
    command = [
        "train",
        "data.csv",
        "--hidden",
        "64",
        "--lr",
        "0.01",
        "--hold-out",
        "0.5",
        "-o",
        "m",
    ]
    assert main([*command, "--epochs", "60"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"hint: {constant} {HINT}"
    assert main([*command, "--epochs", "60", "-q"]) == 0
    assert capsys.readouterr().out == ""
    assert main([*command, "--epochs", "60", "--patience", "5"]) == 0
    assert "hint" not in capsys.readouterr().out
    assert main([*command, "--epochs", "5", "--hold-out", "0"]) == 0
    assert "hint" not in capsys.readouterr().out
    write({"x": np.arange(200), "y": np.arange(200) > 99})
    assert main([*command, "--epochs", "60"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "model written to m"
