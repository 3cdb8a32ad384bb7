"""The command: what it prints, writes and returns, for valid and invalid input."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tiny_idx import write_folder

import fastbp
from fastbp import Network
from fastbp._cli import recipe, train
from fastbp._cli.main import main

WINE = "sugar,colour,acid,kind\n"
QUICK = ["--epochs", "3", "--hidden", "4"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_wine(path="wine.csv", n=60):
    """Write a table of three kinds of wine, which colour and acid determine."""
    rng = np.random.default_rng(1)
    lines = [WINE]
    for i in range(n):
        colour, acid = ("red", "white")[i % 2], rng.uniform(0, 10)
        kind = "sweet, light" if colour == "white" and acid < 5 else colour
        lines.append(f'{rng.normal():.3f},{colour},{acid:.3f},"{kind}"\n')
    with open(path, "w") as file:
        file.writelines(lines)
    return path


def write_line(path="line.csv", n=80):
    """Write a table with y = 100 + 30 a - 20 b."""
    a, b = np.random.default_rng(2).uniform(-1, 1, (2, n))
    rows = np.column_stack([a, b, 100 + 30 * a - 20 * b])
    np.savetxt(path, rows, delimiter=",", header="a,b,y", comments="", fmt="%.17g")
    return path


def table(text):
    return list(csv.reader(io.StringIO(text)))


def accuracy(text):
    return float(re.search(r"test accuracy: ([\d.]+) %", text)[1])


# ---- train --------------------------------------------------------------------------------


def test_digits(capsys):
    assert main(["train"]) == 0
    out, err = capsys.readouterr()
    assert accuracy(out) >= 97.5
    assert "1348 rows to train on, 449 to test" in out and "64-256-10" in out
    assert out.endswith("model written to fastbp-model.safetensors\n")
    assert "samples/s" in err
    # the score is that of the model in the file
    assert main(["predict", "fastbp-model.safetensors", "digits"]) == 0
    header, *rows = table(capsys.readouterr().out)
    assert header == ["digit"]
    _, _, _, y = fastbp.datasets.digits_split()
    right = (np.array(rows, int)[:, 0] == y).sum()
    assert f"({right} of 449)" in out


def test_one_seed_gives_the_same_file():
    for name, seed in [("a", "5"), ("b", "5"), ("c", "6")]:
        assert main(["train", *QUICK, "-q", "--seed", seed, "-o", name]) == 0
    a, b, c = (Path(name).read_bytes() for name in "abc")
    assert a == b != c


def test_classification_of_a_table(capsys):
    write_wine()
    assert main(["train", "wine.csv", "--target", "kind", "-o", "wine", "--lr", "0.01"]) == 0
    out = capsys.readouterr().out
    assert "48 rows to train on, 12 to test; 3 features, classification: 3 classes" in out
    assert accuracy(out) > 90
    # the columns of another file, found by name
    with open("new.csv", "w") as file:
        file.write("acid,more,colour,sugar\n1,x,white,0\n9,y,white,0\n5,z,red,0\n")
    assert main(["predict", "wine", "new.csv"]) == 0
    assert table(capsys.readouterr().out) == [["kind"], ["sweet, light"], ["white"], ["red"]]
    assert main(["predict", "wine", "new.csv", "--proba"]) == 0
    header, *rows = table(capsys.readouterr().out)
    assert header == ["kind"] + [f"probability of {k}" for k in ("red", "sweet, light", "white")]
    for row in rows:
        # three probabilities, each rounded to float32
        assert abs(sum(map(float, row[1:])) - 1) <= 3 * np.finfo(np.float32).eps, row


def test_regression_on_a_table(capsys):
    write_line()
    options = ["--hidden", "none", "--dtype", "float64", "--epochs", "300", "--lr", "0.02"]
    assert main(["train", "line.csv", "-o", "m", *options]) == 0
    out = capsys.readouterr().out
    assert "regression: y" in out and "network 2-1 (identity; squared_error, float64)" in out
    assert float(re.search(r"test R2: ([\d.]+)", out)[1]) > 0.999
    with open("new.csv", "w") as file:
        file.write("b,a\n0,0\n0,1\n1,0\n")
    assert main(["predict", "m", "new.csv"]) == 0
    (name,), *rows = table(capsys.readouterr().out)
    assert name == "y"
    # in the unit of the target; R2 > 0.999 allows errors of about 1/30 of its deviation
    spread = 30 / np.sqrt(3) + 20 / np.sqrt(3)
    np.testing.assert_allclose(
        np.array(rows, float)[:, 0], [100, 130, 80], rtol=0, atol=3 * spread * np.sqrt(0.001)
    )


def test_task_can_be_chosen(capsys):
    with open("few.csv", "w") as file:
        file.write("a,y\n" + "".join(f"{i},{i % 3}\n" for i in range(30)))
    assert main(["train", "few.csv", *QUICK]) == 0
    assert "classification: 3 classes" in capsys.readouterr().out
    assert main(["train", "few.csv", "--task", "regression", *QUICK]) == 0
    assert "regression: y" in capsys.readouterr().out


def test_npz_and_npy(capsys):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 3))
    labels = np.where(X[:, 0] > 0, "up", "down")
    np.savez("d.npz", X=X, y=labels, both=X[:, :2] * 1.5)
    np.save("d.npy", np.column_stack([X, X[:, 0]]))
    assert main(["train", "d.npz", "-o", "a", *QUICK]) == 0
    assert main(["train", "d.npz", "--target", "both", "-o", "b", *QUICK]) == 0
    assert main(["train", "d.npy", "-o", "c", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "classification: 2 classes" in out and "both1, both2" in out
    for model, data, header in [("a", "d.npz", ["y"]), ("b", "d.npz", ["both1", "both2"]),
                                ("c", "d.npy", ["4"])]:  # fmt: skip
        assert main(["predict", model, data]) == 0, model
        got = table(capsys.readouterr().out)
        assert got[0] == header and len(got) == 41, model


def test_fashion_mnist_from_a_folder(capsys, tmp_path):
    folder = str(write_folder(tmp_path, packed=True))
    assert main(["train", "fashion-mnist", "--folder", folder, *QUICK]) == 0
    out = capsys.readouterr().out
    assert "12 rows to train on, 6 to test; 12 features, classification: 10 classes" in out
    model = "fastbp-model.safetensors"
    assert main(["predict", model, "fashion-mnist", "--folder", folder]) == 0
    assert len(table(capsys.readouterr().out)) == 7
    # pixels are divided by 255, after subtracting the mean of the training images
    kept = fastbp.load(model).preprocessing
    assert set(kept["scale"]) == {255.0} and min(kept["mean"]) > 0


def test_options_of_train_are_those_of_the_network(capsys):
    options = ["--hidden", "7,5", "--activation", "tanh,leaky_relu(0.2)", "--dtype", "float64",
               "--l1", "0.001", "--l2", "0.01", "--seed", "9", "--optimizer", "sgd", "--lr", "0.05",
               "--momentum", "0.9", "--nesterov", "--batch-size", "100", "--epochs", "2",
               "--hold-out", "0.5", "--no-standardize"]  # fmt: skip
    assert main(["train", *options]) == 0
    out = capsys.readouterr().out
    assert "SGD(lr=0.05, momentum=0.9, nesterov=True), batches of 100" in out
    assert "899 rows to train on, 898 to test" in out
    net = fastbp.load("fastbp-model.safetensors")
    assert net.widths == (64, 7, 5, 10) and net.dtype == np.float64
    assert [str(a) for a in net.activations] == ["tanh", "leaky_relu(0.2)", "softmax"]
    assert (net.l1, net.l2, net.seed) == (0.001, 0.01, 9)
    assert set(net.preprocessing["mean"]) == {0.0} and set(net.preprocessing["scale"]) == {1.0}


def test_formulas_are_activations_of_train_predict_and_explain(capsys):
    """Also with the commas that formulas have."""
    formula = "formula(z * sigmoid(beta * z), beta=1.0, per=unit)"
    options = ["--hidden", "7,5,4", "--activation", f"tanh,{formula},prelu(0.1, per=unit)"]
    assert main(["train", *options, "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert f"(tanh, {formula}, prelu(0.1, per=unit), softmax; cross_entropy, float32)" in out
    model = "fastbp-model.safetensors"
    net = fastbp.load(model)
    assert [str(a) for a in net.activations[1:3]] == [formula, "prelu(0.1, per=unit)"]
    assert (net.layers[1].constants["beta"] != 1).all()
    assert main(["predict", model, "digits"]) == 0
    assert len(table(capsys.readouterr().out)) > 300
    assert main(["explain", "--hidden", "6", "--activation", "prelu", "--seconds", "0.01"]) == 0
    assert "64-6-10 (prelu(0.25), softmax; cross_entropy)" in capsys.readouterr().out


def test_the_precision_of_products_is_in_the_model(capsys):
    assert main(["train", "--matmul-precision", "medium", *QUICK]) == 0
    assert "cross_entropy, float32, matmul_precision medium), Adam" in capsys.readouterr().out
    assert fastbp.load("fastbp-model.safetensors").matmul_precision == "medium"


def test_an_optimizer_by_name(capsys):
    assert main(["train", "--optimizer", "lion", "--lr", "0.002", *QUICK]) == 0
    assert "Lion(lr=0.002, betas=(0.9, 0.99)), batches of" in capsys.readouterr().out
    assert main(["train", "--optimizer", "rmsprop", *QUICK]) == 0
    assert "RMSprop(lr=0.01, alpha=0.99" in capsys.readouterr().out


def test_patience_keeps_the_best_epoch(capsys, monkeypatch):
    seen = []

    class Watched(Network):
        def fit(self, *data, **keywords):
            history = super().fit(*data, **keywords)
            seen.append((history, keywords))
            return history

    monkeypatch.setattr(recipe, "Network", Watched)
    quick = ["--epochs", "40", "--hidden", "4", "--lr", "0.3"]
    assert main(["train", write_wine(), *quick, "--patience", "3", "--schedule", "cosine"]) == 0
    history, keywords = seen[0]
    best = int(np.argmin(history.val_loss))
    assert keywords["validation_split"] == 0.1 and keywords["validation_data"] is None
    assert history.epochs == min(40, best + 4) and history.lr[0] == 0.3 > history.lr[1]
    assert "test accuracy" in capsys.readouterr().out
    assert main(["train", write_wine(), *quick, "--validation-split", "0.2"]) == 0
    assert seen[1][0].epochs == 40 and len(seen[1][0].val_loss) == 40


def test_no_hold_out_trains_on_everything(capsys):
    assert main(["train", "--hold-out", "0", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "1797 rows to train on;" in out and "test" not in out.split("\n", 1)[1]


def test_quiet_prints_nothing(capfd):
    assert main(["train", "--quiet", *QUICK]) == 0
    assert capfd.readouterr() == ("", "")


def test_without_tqdm_progress_is_one_line_per_epoch(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert main(["train", *QUICK]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    pattern = r"epoch 1/3  loss [\d.]+  val_loss [\d.]+  val_score [\d.]+  [\d,]+ samples/s"
    assert re.fullmatch(pattern, lines[0])


# ---- Ctrl-C and errors --------------------------------------------------------------------


def test_ctrl_c_keeps_the_model_trained_so_far(capsys, monkeypatch):
    class Interrupted(Network):
        def fit(self, *data, callbacks, epochs, **keywords):
            super().fit(*data, callbacks=callbacks, epochs=2, **keywords)
            self.theta[0] = 42
            raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "Network", Interrupted)
    assert main(["train", "--hidden", "4"]) == 130
    out, err = capsys.readouterr()
    assert "test accuracy" in out
    message = "interrupted after 2 complete epochs; the model trained so far is in fastbp-model"
    assert message in err.splitlines()[-1]
    assert fastbp.load("fastbp-model.safetensors").theta[0] == 42


def test_ctrl_c_before_training_writes_nothing(capsys, monkeypatch):
    def interrupt(*args, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "open_source", interrupt)
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "fastbp: error: interrupted\n"
    assert os.listdir() == []


def test_a_diverging_run_keeps_the_old_model(capsys):
    write_line()
    assert main(["train", "line.csv", "-q", *QUICK]) == 0
    old = Path("fastbp-model.safetensors").read_bytes()
    args = ["--optimizer", "sgd", "--lr", "1e30", "--no-standardize", "--task", "regression"]
    assert main(["train", "line.csv", "-q", *args, *QUICK]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fastbp: error: the loss is") and err.count("\n") == 1
    assert Path("fastbp-model.safetensors").read_bytes() == old
    assert len(os.listdir()) == 2


USAGE = {
    "unknown command": (
        ["fly"],
        "unknown command 'fly'; the commands are train, search, predict, inspect, explain, bench",
    ),
    "misspelt command": (
        ["Trian"],
        "predict, inspect, explain, bench, info; did you mean 'train'?",
    ),
    "unknown option": (["train", "--zzz", "1"], "fastbp train: error: unknown option --zzz; fastb"),
    "misspelt option": (
        ["predict", "m", "x.csv", "--porba"],
        "unknown option --porba; fastbp predict --help lists the options; did you mean '--proba'?",
    ),
    "option with a value": (
        ["train", "--epoch_s=3"],
        "option --epoch_s; fastbp train --help lists the options; did you mean '--epochs'?",
    ),
    "another argument": (["train", "a.csv", "b.csv"], "unexpected argument 'b.csv'"),
    "hidden": (["train", "--hidden", "4,0"], "expected a whole number >= 1; got '0'"),
    "hidden text": (["train", "--hidden", "wide"], "expected a whole number >= 1; got 'wide'"),
    "activation": (["train", "--activation", "magic"], "unknown activation 'magic'; known: ident"),
    "softmax": (["train", "--activation", "softmax"], "softmax is for the output layer only"),
    "formula": (["train", "--activation", "formula(z * q)"], "q"),
    "unbalanced": (["train", "--activation", "formula(z, tanh"], "formula"),
    "activations": (["train", "--activation", "relu,tanh"], "lists 2 names for 1 hidden layer"),
    "epochs": (["train", "--epochs", "0"], "argument --epochs: expected a whole number >= 1"),
    "lr": (["train", "--lr", "nan"], "argument --lr: expected a number > 0; got 'nan'"),
    "l2": (["train", "--l2", "-1"], "argument --l2: expected a number >= 0"),
    "hold-out": (["train", "--hold-out", "1"], "--hold-out: expected at least 0 and below 1"),
    "seed": (["train", "--seed", "-1"], "argument --seed: expected a whole number, 0 to 2**64"),
    "dtype": (["train", "--dtype", "float16"], "invalid choice: 'float16'"),
    "precision": (["train", "--matmul-precision", "bf16"], "invalid choice: 'bf16'"),
    "precision of float64": (
        ["train", "--matmul-precision", "high", "--dtype", "float64"],
        "--matmul-precision high needs --dtype float32",
    ),
    "precision to predict": (
        ["predict", "model", "x.csv", "--matmul-precision", "low"],
        "invalid choice: 'low'",
    ),
    "delimiter": (["train", "--delimiter", ";;"], "expected one character"),
    "momentum": (["train", "--momentum", "0.9"], "need --optimizer sgd"),
    "nesterov": (["train", "--optimizer", "sgd", "--nesterov"], "--nesterov needs --momentum"),
    "patience": (
        ["train", "--patience", "3", "--validation-split", "0"],
        "--patience needs a --validation-split above 0",
    ),
    "schedule": (["train", "--schedule", "sine"], "invalid choice: 'sine'"),
    "target": (
        ["train", "--target", "x"],
        "--target applies to data files only; digits has its own",
    ),
    "keep": (["predict", "m", "digits", "--keep", "1"], "--keep applies to data files only"),
    "folder": (["train", "--folder", "x"], "--folder applies to fashion-mnist only"),
    "fashion": (["train", "fashion-mnist", "--hold-out", "0.1"], "which has test images"),
    "predict": (["predict", "model"], "required: DATA"),
}


@pytest.mark.parametrize("name", USAGE)
def test_bad_arguments_are_refused(capsys, name):
    args, message = USAGE[name]
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    command = args[0] if args[0] in ("train", "predict") else "COMMAND"
    assert out == "" and err.startswith(f"usage: fastbp {command} ")
    assert err.split("\n")[1].startswith("fastbp")  # the usage is one line, then comes the error
    assert message in " ".join(err.split())
    assert os.listdir() == []


BAD = {
    "no file": (["train", "none.csv"], "none.csv: No such file or directory"),
    "no ending": (["train", "iris"], "iris: expected a file ending in .csv, .tsv"),
    "misspelt data set": (
        ["train", "digit"],
        "or one of digits, fashion-mnist; did you mean 'digi",
    ),
    "bad cell": (
        ["train", "bad.csv"],
        "bad.csv, column 1 ('a'): 1 text in a column of numbers, 'x' (in line 3)",
    ),
    "no column": (["train", "wine.csv", "--target", "price"], "no column 'price'; there are 4"),
    "columns as target": (
        ["train", "wine.csv", "--target", "colour, acid"],
        "the target (--target) is one column; got 2, 'colour, acid': for several targets, all",
    ),
    "no folder for the model": (["train", "-o", "none/m"], "none: no such folder"),
    "a folder as model": (["train", "-o", "."], ".: Is a directory"),
    "fashion": (["train", "fashion-mnist", "--folder", "."], "apt-get install dataset-fashion-mn"),
    "hold-out": (["train", "wine.csv", "--hold-out", "0.001"], "--hold-out 0.001 splits 60 rows"),
    "no model": (["predict", "none", "wine.csv"], "none: No such file or directory"),
    "not a model": (
        ["predict", "wine.csv", "wine.csv"],
        "wine.csv: this is no safetensors file, such as net.save",
    ),
    "swapped": (
        ["predict", "wine.csv", "model"],
        "the arguments look swapped; write fastbp predict model wine.csv",
    ),
    "swapped images": (
        ["predict", "digits", "model"],
        "digits is no model, and model is one: the arguments look swapped; write",
    ),
    "not our model": (["predict", "theirs", "wine.csv"], "theirs: expected the metadata of a fas"),
    "no data": (["predict", "model", "none.csv"], "none.csv: No such file or directory"),
    "other columns": (["predict", "model", "bad.csv"], "bad.csv: the model takes 3 columns"),
    "category": (
        ["predict", "model", "blue.csv"],
        "(in line 2): 'blue'; the model knows red, white; --unknown ignore sets all inputs of",
    ),
    "images": (["predict", "model", "digits"], "digits: the model takes 3 columns, 1 of them text"),
    "proba": (
        ["predict", "line", "line.csv", "--proba"],
        "--proba needs a model for classification",
    ),
    "forged": (["predict", "forged", "wine.csv"], "forged: invalid preprocessing: expec"),
    "misfit": (
        ["predict", "misfit", "wine.csv"],
        "4 inputs and 3 outputs; the network has 4 and 2",
    ),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with two models and files with various faults."""
    folder, old = tmp_path_factory.mktemp("models"), os.getcwd()
    os.chdir(folder)
    try:
        write_wine(), write_line()
        assert main(["train", "wine.csv", "-q", "-o", "model", *QUICK]) == 0
        assert main(["train", "line.csv", "-q", "-o", "line", *QUICK]) == 0
        with open("bad.csv", "w") as file:
            file.write("a,b\n1,2\nx,3\n")
        with open("blue.csv", "w") as file:
            file.write(WINE + "1,blue,2,red\n")
        fastbp.io.write_safetensors("theirs", {"a": np.zeros(1)})
        kept = fastbp.load("model").preprocessing
        fastbp.io.save(Network((4, 3)), "forged", preprocessing={"task": "classification"})
        fastbp.io.save(Network((4, 2)), "misfit", preprocessing=kept)
    finally:
        os.chdir(old)
    return folder


@pytest.mark.parametrize("name", BAD)
def test_bad_data_and_models_are_refused(capsys, monkeypatch, models, name):
    monkeypatch.chdir(models)
    before = sorted(os.listdir())
    args, message = BAD[name]
    assert main(args) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("fastbp: error: ") and err.count("\n") == 1
    assert message in err
    assert sorted(os.listdir()) == before


# ---- predict ------------------------------------------------------------------------------


def test_predict_writes_to_a_file_or_a_device(capsys, models, monkeypatch):
    monkeypatch.chdir(models)
    assert main(["predict", "model", "wine.csv"]) == 0
    expected = capsys.readouterr().out
    assert main(["predict", "model", "wine.csv", "-o", "out.csv"]) == 0
    assert main(["predict", "model", "wine.csv", "-o", os.devnull]) == 0
    assert capsys.readouterr().out == ""
    assert Path("out.csv").read_bytes().decode() == expected
    os.remove("out.csv")


def test_predict_with_a_network_without_preprocessing(capsys):
    net = Network((2, 3), dtype="float64", seed=1)
    net.save("net")
    Network((2, 3), output="softmax", loss="cross_entropy", seed=1).save("classes")
    X = np.random.default_rng(0).normal(size=(5, 2))
    np.savetxt("x.csv", X, delimiter=",", header="any,names", comments="", fmt="%.17g")
    assert main(["predict", "net", "x.csv"]) == 0
    header, *rows = table(capsys.readouterr().out)
    assert header == ["output1", "output2", "output3"]
    assert np.array(rows, float).tobytes() == net.predict(X).tobytes()
    assert main(["predict", "classes", "x.csv"]) == 0
    header, *rows = table(capsys.readouterr().out)
    assert header == ["class"]
    assert (
        np.array(rows, int)[:, 0].tolist() == fastbp.load("classes").predict(X).argmax(1).tolist()
    )
    np.save("x.npy", np.ones((2, 3)))
    assert main(["predict", "net", "x.npy"]) == 1
    assert "x.npy: the model takes 2 columns" in capsys.readouterr().err


def test_predict_with_another_precision_of_products(capsys):
    net = Network((2, 3), seed=1, matmul_precision="medium")
    net.save("net")
    X = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.savetxt("x.csv", X, delimiter=",", header="any,names", comments="", fmt="%.9g")
    for options in ([], ["--matmul-precision", "highest"]):
        assert main(["predict", "net", "x.csv", *options]) == 0
        rows = np.array(table(capsys.readouterr().out)[1:], np.float32)
        assert rows.tobytes() == net.predict(X).tobytes()
        net.matmul_precision = "highest"
    Network((2, 3), dtype="float64").save("wide")
    with pytest.raises(SystemExit):
        main(["predict", "wide", "x.csv", "--matmul-precision", "high"])
    message = " ".join(capsys.readouterr().err.split())
    assert message.endswith(
        "error: the model is float64, which takes --matmul-precision highest only; got high: "
        "leave --matmul-precision out"
    )
    assert main(["predict", "wide", "x.csv", "--matmul-precision", "highest"]) == 0


def test_predict_keeps_columns_of_the_data(capsys, models, monkeypatch):
    monkeypatch.chdir(models)
    with open("named.csv", "w") as file:
        file.write('id,kind,acid,"first, name",colour,sugar\n')
        file.write('007,red,1,"Ann ""A""",white,0\n 1_0 ,,9,"B, C",red,0\n')
    assert main(["predict", "model", "named.csv"]) == 0
    (_, *answers) = table(capsys.readouterr().out)
    options = ["--keep", "id,kind", "--keep", "first, name", "--keep", "1,3"]
    assert main(["predict", "model", "named.csv", *options, "--proba"]) == 0
    header, *rows = table(capsys.readouterr().out)
    assert header[:5] == ["id", "kind", "first, name", "acid", "predicted kind"]
    assert header[5:] == [f"probability of {k}" for k in ("red", "sweet, light", "white")]
    assert [row[:4] for row in rows] == [
        ["007", "red", 'Ann "A"', "1"],
        ["1_0", "", "B, C", "9"],
    ]
    assert [row[4:5] for row in rows] == answers
    # a file without names
    with open("rows.csv", "w") as file:
        file.write("0.5,0.25\n1.5,0.75\n")
    assert main(["predict", "line", "rows.csv", "--keep", "-1"]) == 0
    header, *rows = table(capsys.readouterr().out)
    assert header == ["2", "y"] and [row[0] for row in rows] == ["0.25", "0.75"]
    assert main(["predict", "model", "named.csv", "--keep", "Id,nmae"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "no column 'Id'; there are 6" in err and "did you mean 'id'?" in err


def test_dropped_columns_are_not_in_the_model(capsys):
    rows = [line.split(",", 1) for line in Path(write_wine()).read_text().splitlines()]
    lines = [
        f"{'id' if i == 0 else f'c{i}'},{sugar},{rest}" for i, (sugar, rest) in enumerate(rows)
    ]
    Path("wine.csv").write_text("\n".join(lines) + "\n")
    assert main(["train", "wine.csv", "-q", "--drop", "1,sugar", *QUICK]) == 0
    model = "fastbp-model.safetensors"
    assert fastbp.load(model).preprocessing["features"] == ["colour", "acid"]
    assert main(["predict", model, "wine.csv", "--keep", "id"]) == 0
    header, *answers = table(capsys.readouterr().out)
    assert header == ["id", "kind"] and [row[0] for row in answers] == [
        f"c{i + 1}" for i in range(60)
    ]
    Path("two.csv").write_text("acid,colour\n1,red\n")
    assert main(["predict", model, "two.csv"]) == 0
    args = ["--json", "--seconds", "0.01", "--hidden", "4"]
    assert main(["explain", "wine.csv", "--drop", "id", "--drop", "sugar", *args]) == 0


def test_unknown_categories_are_ignored_on_request(capsys, models, monkeypatch):
    monkeypatch.chdir(models)
    assert main(["predict", "model", "blue.csv", "--unknown", "ignore"]) == 0
    out, err = capsys.readouterr()
    assert table(out)[0] == ["kind"] and len(table(out)) == 2
    assert err == (
        "fastbp: column 'colour': 1 cell with an unknown category (in line 2): 'blue'; ignored\n"
    )
    assert main(["predict", "model", "wine.csv", "--unknown", "ignore"]) == 0
    assert capsys.readouterr().err == ""


def test_all_problems_of_a_table_are_in_one_message(capsys, models, tmp_path, monkeypatch):
    monkeypatch.chdir(models)
    odd = tmp_path / "odd.csv"
    odd.write_text("colour,acid,sugar\nred,much,1\nblue,2,3\n,2,3\nblack,2,\n")
    assert main(["predict", "model", str(odd)]) == 1
    first, *problems = capsys.readouterr().err.splitlines()
    assert first.endswith("odd.csv: problems in 3 columns")
    assert problems == [
        "  column 1 ('colour'): 1 empty cell (in line 4); fill in a value or leave out the row",
        (
            "  column 1 ('colour'): 2 cells with an unknown category (first in line 3): 'blue', "
            "'black'; the model knows red, white"
        ),
        (
            "  column 2 ('acid'): 1 text in a column of numbers, 'much' (in line 2); the model was "
            "trained on numbers in this column"
        ),
        "  column 3 ('sugar'): 1 empty cell (in line 5); fill in a value or leave out the row",
        "  --unknown ignore sets all inputs of the column to 0 in such rows",
    ]
    assert main(["predict", "model", str(odd), "--unknown", "ignore"]) == 1
    assert "unknown" not in capsys.readouterr().err


# ---- info, help and the process -----------------------------------------------------------


def test_info(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert fastbp.__version__ in out and fastbp.isa() in out and np.__version__ in out
    assert out.splitlines()[-1].split()[:2] in (["mpi", "mpi4py"], ["mpi", "not"])


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--version"], f"fastbp {fastbp.__version__}\n"),
        (["-h"], "usage: fastbp"),
        (["train", "-h"], "examples:"),
        (["train", "-h"], "usage: fastbp train [OPTIONS] [DATA]\n"),
    ],
)
def test_version_and_help(capsys, args, text):
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 0 and text in capsys.readouterr().out


def test_without_arguments_the_command_prints_its_help(capsys):
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: fastbp COMMAND [OPTIONS]\n") and err == ""
    for name in ("train", "search", "predict", "explain", "bench", "info"):
        assert f"\n    {name} " in out, name


@contextmanager
def command(*args, **keywords):
    """The command in its own process, as `python -m fastbp`, which ends with the test.

    With the fixture `keyboard`, it receives SIGINT as a program started in a terminal does.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    program = [sys.executable, "-P", "-m", "fastbp", *args]
    with subprocess.Popen(program, **pipes, **keywords) as process:
        try:
            yield process
        finally:
            process.kill()  # has no effect if the test has waited for the end


def test_the_command_as_a_process():
    with command("train", *QUICK) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"test accuracy" in out and b"samples/s" in err
    with command("predict", "fastbp-model.safetensors", "none.npy") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, b"")
    assert err == b"fastbp: error: none.npy: No such file or directory\n"


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_sigint_keeps_the_model_trained_so_far(keyboard):
    with command("train", "--epochs", "100000000") as process:
        seen = b""
        while b"epoch" not in seen.split(b"samples/s")[0] or b"samples/s" not in seen:
            byte = process.stderr.read(1)
            assert byte, seen
            seen += byte
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"the model trained so far is in fastbp-model.safetensors" in err
    assert b"Traceback" not in err
    assert accuracy(out.decode()) > 0
    assert np.isfinite(fastbp.load("fastbp-model.safetensors").theta).all()


def test_a_closed_pipe_ends_predict_without_an_error():
    Network((1, 4), dtype="float64").save("net")
    np.save("x.npy", np.random.default_rng(0).normal(size=(20_000, 1)))
    # more than a megabyte, which is more than a pipe can hold
    with command("predict", "net", "x.npy") as process:
        assert process.stdout.readline() == b"output1,output2,output3,output4\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def closed(stream, *args):
    """Run the command with a standard stream closed, as by `>&-` in a shell."""
    number = {"stdout": 1, "stderr": 2}[stream]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: None}
    return subprocess.run(
        [sys.executable, "-P", "-m", "fastbp", *args],
        check=False,
        timeout=120,
        text=True,
        preexec_fn=lambda: os.close(number),
        **pipes,
    )


@pytest.mark.skipif(os.name != "posix", reason="closes a descriptor in the new process")
@pytest.mark.parametrize("args", [("info",), ("train", *QUICK), ("explain",), ("--help",)])
def test_a_closed_stdout_loses_only_what_is_printed(args):
    done = closed("stdout", *args)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.skipif(os.name != "posix", reason="closes a descriptor in the new process")
def test_predictions_for_a_closed_stdout_are_an_error():
    Network((1, 1), seed=0).save("net")
    np.save("x.npy", np.ones((3, 1)))
    done = closed("stdout", "predict", "net", "x.npy")
    assert (done.returncode, done.stderr) == (
        1,
        "fastbp: error: standard output: Bad file descriptor\n",
    )


@pytest.mark.skipif(os.name != "posix", reason="closes a descriptor in the new process")
def test_messages_for_a_closed_stderr_do_not_go_to_stdout():
    Network((1, 1), seed=0).save("net")
    done = closed("stderr", "predict", "net", "none.npy")
    assert (done.returncode, done.stdout) == (1, "")
    done = closed("stderr", "train", *QUICK)
    assert done.returncode == 0 and "samples/s" not in done.stdout
