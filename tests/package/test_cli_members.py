"""Ensembles in the command: `fastbp train --members`, and `fastbp predict` with their files."""

import csv
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from test_cli import QUICK, write_line, write_wine

import fastbp
from fastbp import Network, Population
from fastbp._cli import members as module
from fastbp._cli.main import main
from fastbp.tabular import TableNetwork

pytestmark = pytest.mark.once
FILE = "fastbp-model.safetensors"
THREE = ["--members", "3", "--seed", "5"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(text):
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


def raw_rows(path):
    """The rows of a file by name."""
    names, rows = table(Path(path).read_text())
    return {name: column_of([row[i] for row in rows]) for i, name in enumerate(names)}


def column_of(cells):
    try:
        return np.array(cells, float)
    except ValueError:
        return cells


def predicted(capsys, *args):
    capsys.readouterr()
    assert main(["predict", *args]) == 0
    return table(capsys.readouterr().out)


# ---- training -----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--patience", "2"], ["--schedule", "cosine"]])
def test_each_member_has_the_bits_of_a_training_with_its_seed(options, capsys):
    write_wine()
    assert main(["train", "wine.csv", *THREE, *QUICK, *options]) == 0
    out, err = capsys.readouterr()
    assert "3 networks 4-4-3 (relu, softmax;" in out
    assert f"\nmodel written to {FILE}\n" in out
    assert "3/3" in err  # members that have ended
    population = fastbp.load(FILE)
    assert [net.seed for net in population] == [5, 6, 7]
    assert {type(net) for net in population} == {TableNetwork}
    for net in population:
        one = ["--seed", str(net.seed), "-o", "one", "-q"]
        assert main(["train", "wine.csv", *one, *QUICK, *options]) == 0
        alone = fastbp.load("one")
        np.testing.assert_array_equal(net.theta, alone.theta)
        assert net.preprocessing == alone.preprocessing


@pytest.mark.parametrize("data", ["wine", "line"])
def test_the_scores_are_those_of_the_file(data, capsys):
    write_wine() if data == "wine" else write_line()
    assert main(["train", f"{data}.csv", *THREE, *QUICK, "--hold-out", "0.5"]) == 0
    out = capsys.readouterr().out
    number = r"(-?[\d.]+)"
    percent = r" %" if data == "wine" else ""
    low, worst, high, best, mean = re.search(
        rf"members: test \w+ from {number}{percent} \(seed (\d)\) to {number}{percent} "
        rf"\(seed (\d)\), mean {number}",
        out,
    ).groups()
    seeds = {}
    for seed in (5, 6, 7):
        one = ["--seed", str(seed), "-o", "one", "--hold-out", "0.5"]
        assert main(["train", f"{data}.csv", *one, *QUICK]) == 0
        text = capsys.readouterr().out
        seeds[seed] = float(re.search(rf"test (?:accuracy|R2): {number}", text)[1])
    assert seeds[int(worst)] == min(seeds.values()) == float(low)
    assert seeds[int(best)] == max(seeds.values()) == float(high)
    assert float(mean) == pytest.approx(np.mean([*seeds.values()]), abs=0.01)
    assert re.search(rf"\nensemble: test (accuracy|R2): {number}", out)


def test_quiet_prints_nothing(capsys):
    write_line()
    assert main(["train", "line.csv", "-q", *THREE, *QUICK]) == 0
    assert capsys.readouterr() == ("", "")


def test_one_member_is_one_network():
    write_line()
    assert main(["train", "line.csv", "-q", "--members", "1", *QUICK, "-o", "one"]) == 0
    assert main(["train", "line.csv", "-q", *QUICK]) == 0
    assert Path("one").read_bytes() == Path(FILE).read_bytes()


def test_ctrl_c_keeps_the_members_trained_so_far(capsys, monkeypatch):
    class Interrupted(Population):
        def fit(self, *data, callbacks, epochs, **keywords):
            super().fit(*data, callbacks=callbacks, epochs=[1, 2, 2], **keywords)
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "Population", Interrupted)
    write_line()
    assert main(["train", "line.csv", *THREE, *QUICK]) == 130
    out, err = capsys.readouterr()
    assert "ensemble: test R2" in out and len(fastbp.load(FILE)) == 3
    message = (
        "interrupted after 1 to 2 complete epochs; the model trained so far is in fastbp-model"
    )
    assert message in err.splitlines()[-1]


# ---- what is refused ----------------------------------------------------------------------

WILD = ["--optimizer", "sgd", "--no-standardize", "--task", "regression"]


def test_a_run_of_which_all_members_diverge_keeps_the_old_file(capsys):
    write_line()
    assert main(["train", "line.csv", "-q", *THREE, *QUICK]) == 0
    old = Path(FILE).read_bytes()
    assert main(["train", "line.csv", "-q", *THREE, *WILD, "--lr", "1e30", *QUICK]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fastbp: error: the loss is") and err.count("\n") == 1
    assert Path(FILE).read_bytes() == old


def test_members_that_diverge_are_left_out(capsys, monkeypatch):
    class Rising(Network):
        """Only the member with the seed 6 has weights from which the loss is not finite."""

        @classmethod
        def from_layers(cls, *args, seed, **options):
            net = super().from_layers(*args, seed=seed, **options)
            if seed == 6:
                net.layers[0].W[:] = 1e30
            return net

    monkeypatch.setattr("fastbp._cli.recipe.Network", Rising)
    write_line()
    assert main(["train", "line.csv", "-q", *THREE, *QUICK]) == 0
    err = capsys.readouterr().err
    assert err.startswith(
        "fastbp: 1 of 3 members diverged and are left out (--seed 6); with --seed 6, the loss is"
    )
    assert [net.seed for net in fastbp.load(FILE)] == [5, 7]


USAGE = {
    "none": (["--members", "0"], "argument --members: expected a whole number >= 1; got '0'"),
    "too many": (
        ["--members", "10001"],
        "--members must be at most 10000, as many as a file takes",
    ),
    "seeds": (
        ["--members", "3", "--seed", str(2**64 - 2)],
        "--members 3 takes the seeds from --seed on, which must be at most 2**64 - 3; got",
    ),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage(case, capsys):
    options, message = USAGE[case]
    with pytest.raises(SystemExit) as end:
        main(["train", *options])
    assert end.value.code == 2 and message in capsys.readouterr().err
    assert os.listdir() == []


def test_a_file_that_cannot_hold_them_is_refused_before_the_training(capsys, monkeypatch):
    monkeypatch.setattr("fastbp.population._file.MAX_TENSORS", 11)
    write_line()
    assert main(["train", "line.csv", *THREE, *QUICK]) == 1
    assert "at most 11 arrays of parameters; the population has 12" in capsys.readouterr().err


# ---- predictions --------------------------------------------------------------------------


def test_probabilities_are_the_mean_over_the_members(capsys):
    write_wine()
    assert main(["train", "wine.csv", "-q", *THREE, *QUICK]) == 0
    header, rows = predicted(capsys, FILE, "wine.csv", "--proba", "--keep", "acid")
    population = fastbp.load(FILE)
    names = ["red", "sweet, light", "white"]
    assert header == ["acid", "kind", *(f"probability of {name}" for name in names)]
    given = raw_rows("wine.csv")
    p = np.array([row[2:] for row in rows], np.float32)
    each = np.stack([net.predict_proba(given) for net in population])
    np.testing.assert_array_equal(p, each.mean(axis=0, dtype=np.float64).astype(np.float32))
    assert [row[1] for row in rows] == [names[k] for k in p.argmax(axis=1)]
    assert population.predict(given).shape == (3, 60)
    for mean in (population.predict_mean, population.predict_spread):
        with pytest.raises(TypeError, match="with classes, which have no mean; that of their prob"):
            mean(given)


def test_numbers_and_standard_deviations_have_the_units_of_the_target(capsys):
    write_line()
    assert main(["train", "line.csv", "-q", *THREE, *QUICK]) == 0
    header, rows = predicted(capsys, FILE, "line.csv", "--std")
    assert header == ["y", "std of y"]
    population = fastbp.load(FILE)
    given = raw_rows("line.csv")
    found = np.array(rows, np.float64)
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(found[:, 0], population.predict_mean(given), rtol=4 * eps)
    spread = population.predict_spread(given)  # of numbers that are rounded to float32
    np.testing.assert_allclose(found[:, 1], spread, atol=4 * eps * abs(found[:, 0]).max())
    assert predicted(capsys, FILE, "line.csv") == (["y"], [row[:1] for row in rows])
    medium = predicted(capsys, FILE, "line.csv", "--matmul-precision", "medium")[1]
    assert medium != [row[:1] for row in rows]


def test_members_of_a_program_without_a_table(capsys):
    options = {"output": "softmax", "loss": "cross_entropy"}
    population = Population.of(3, (2, 4, 3), dtype=["float32", "float32", "float64"], **options)
    population.save("population")
    X = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    np.save("X.npy", X)
    header, rows = predicted(capsys, "population", "X.npy", "--proba")
    assert header[0] == "class"
    found = np.array(rows, np.float64)[:, 1:]
    np.testing.assert_allclose(found, population.predict_mean(X), rtol=1e-12)


REFUSED = {
    "losses": ({"loss": ["mse", "huber"]}, "differ in their losses or their output activations"),
    "outputs": ({"output": ["identity", "tanh"]}, "differ in their losses or their output activat"),
    "variances": (
        {"loss": "gaussian_nll"},
        "with the loss gaussian_nll, whose outputs have no mean",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_members_whose_mean_is_no_prediction(case, capsys):
    options, message = REFUSED[case]
    Population.of(2, (2, 4), **options).save("population")
    np.save("X.npy", np.ones((1, 2)))
    assert main(["predict", "population", "X.npy"]) == 1
    err = capsys.readouterr().err
    assert message in err and "fastbp.load(path)[0].save(...)" in err


@pytest.mark.parametrize("options", [[], ["--members", "2"]])
def test_std_needs_members_and_numbers(options, capsys):
    write_wine() if options else write_line()
    data = "wine.csv" if options else "line.csv"
    assert main(["train", data, "-q", *options, *QUICK]) == 0
    assert main(["predict", FILE, data, "--std"]) == 1
    assert "--std needs a model for regression with several members, as" in capsys.readouterr().err
