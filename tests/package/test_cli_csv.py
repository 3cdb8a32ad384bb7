"""The command with various .csv files: formats of numbers, headers, index columns, spaces."""

import os

import numpy as np
import pytest

import fastbp
from fastbp._cli.main import main

QUICK = ["--epochs", "3", "--hidden", "4"]
PLAIN = ["--preset", "plain"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text, name="data.csv"):
    with open(name, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    return name


def rows(n=40, columns=3, delimiter=",", seed=0):
    X = np.random.default_rng(seed).normal(size=(n, columns))
    return "".join(delimiter.join(map(repr, row)) + "\n" for row in X.tolist())


def refused(capsys, *args, lines=1):
    """The message of a command that exits with 1 and writes nothing."""
    before = sorted(os.listdir())
    assert main(args) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == lines and sorted(os.listdir()) == before
    return err


def test_decimal_commas_need_an_option(capsys):
    text = rows(delimiter=";").replace(".", ",")
    path = write("a;b;y\n" + text)
    message = refused(capsys, "train", path, "--delimiter", ";", lines=4)
    assert message.count("40 numbers in another notation") == 3
    assert message.count(": a decimal comma (--decimal ,); ") == 3
    assert "leaves out" not in message  # there would be no feature
    options = ["--delimiter", ";", "--decimal", ","]
    assert main(["train", path, "-o", "m", *options, *QUICK]) == 0
    assert "2 features, regression: y" in capsys.readouterr().out
    # predict reads rows as train did, unless an option says otherwise
    assert fastbp.load("m").preprocessing["decimal"] == ","
    assert main(["predict", "m", path, "--delimiter", ";"]) == 0
    answers = capsys.readouterr().out
    plain = write("a,b,y\n" + rows(), "plain.csv")
    assert "no number contains ','" in refused(capsys, "predict", "m", plain)
    points = write("a;b\n0.5;1", "points.csv")
    assert "'0.5'" in refused(capsys, "predict", "m", points, "--delimiter", ";", lines=1)
    assert main(["predict", "m", plain, "--decimal", "."]) == 0
    assert capsys.readouterr().out == answers


def test_the_model_keeps_the_separator_of_thousands(capsys):
    path = write('a,y\n"1,200",1.5\n"3,400",2.5\n"5,600",0.5\n' * 1 + '"7,800",1.25\n' * 9)
    assert "--thousands ," in refused(capsys, "train", path)
    assert main(["train", path, "-q", "-o", "m", "--thousands", ",", *QUICK]) == 0
    assert fastbp.load("m").preprocessing["thousands"] == ","
    assert "decimal" not in fastbp.load("m").preprocessing
    assert main(["predict", "m", path]) == 0


@pytest.mark.parametrize(
    "options, message",
    [
        (["--decimal", ";"], "argument --decimal: invalid choice"),
        (["--thousands", "x"], "argument --thousands: invalid choice"),
        (["--decimal", ",", "--thousands", ","], "decimal and thousands are both ','"),
        (
            ["--delimiter", " ", "--thousands", " "],
            "a blank cannot be both delimiter and thousands",
        ),
        (["--delimiter", "\u00a7"], "expected one character (ASCII)"),
    ],
)
def test_bad_arguments_are_refused(capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        main(["train", write("a,y\n1,2\n"), *options])
    assert caught.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_target_with_many_different_texts_needs_a_task(capsys):
    text = "".join(f"{i},name {i % 8}\n" for i in range(64))
    path = write("x,y\n" + text)
    for command in ("train", "explain"):
        message = refused(capsys, command, path)
        assert "8 distinct values in 64 rows; that is too many for classes" in message, command
    assert main(["train", path, "--task", "classification", *QUICK]) == 0
    assert "classification: 8 classes" in capsys.readouterr().out


def test_train_reports_what_it_decided_about_a_file(capsys):
    path = write("0,1,2\n" + rows())
    assert main(["train", path, "-o", "m", *QUICK]) == 0
    out = capsys.readouterr().out
    assert out.startswith("data.csv: line 1 is read as names, because it counts up from 0")
    assert main(["train", path, "-q", "-o", "m", *QUICK]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["predict", "m", path]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("fastbp: line 1 is read as the names that the model takes: 0, 1, 2")
    assert out.count("\n") == 41
    indexed = "".join(f"{i},{row}\n" for i, row in enumerate(rows().split()))
    assert main(["train", write(",a,b,y\n" + indexed), *QUICK]) == 0
    out = capsys.readouterr().out
    assert "column 1, without a name, numbers the rows and is left out" in out
    assert "2 features, regression: y" in out
    assert main(["explain", "data.csv", "--json", "--seconds", "0.01"]) == 0
    assert "column 1, without a name" in capsys.readouterr().err


def test_a_file_separated_by_spaces(capsys):
    path = write(rows(delimiter="   "))
    assert "--delimiter ' '" in refused(capsys, "train", path)
    assert main(["train", path, "--delimiter", " ", *QUICK]) == 0
    assert "2 features, regression: 3" in capsys.readouterr().out


def test_large_integer_classes_are_printed_exactly(capsys):
    labels = [2**53 + 1, 2**60 + 3]
    path = write("x,y\n" + "".join(f"{i},{labels[i % 2]}\n" for i in range(20)))
    assert main(["train", path, "-q", "-o", "m", *QUICK]) == 0
    assert main(["predict", "m", path]) == 0
    answers = set(capsys.readouterr().out.split()[1:])
    assert answers <= {str(label) for label in labels}
    assert fastbp.load("m").preprocessing["classes"] == labels
    path = write(f"x,y\n1,{2**64 + 2**20}\n2,3\n3,3\n")
    assert f"'y' is {2**64 + 2**20}" in refused(capsys, "train", path, *PLAIN)


@pytest.mark.parametrize("missing", ["NA", "?", "-", ""])
def test_a_missing_number_is_an_error(capsys, missing):
    message = refused(capsys, "train", write(f"a,y\n1.5,1\n{missing},2\n"), *PLAIN)
    assert "column 1 ('a'): 1 " in message and "(in line 3); fill in a value" in message
    assert "--categorical" not in message
