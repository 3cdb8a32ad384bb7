"""`mpiexec -n 2 fastbp train`: one model with the bits of one rank, one message, one exit code."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from rank_cases import command, environment

import fastbp
from fastbp._cli import launcher
from fastbp._cli.main import main
from fastbp._ranks.launcher import launched

pytestmark = pytest.mark.once

OPTIONS = ["--hidden", "6", "--epochs", "4"]


@pytest.fixture(autouse=True)
def in_a_folder_with_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{'red' if x + e > 0 else 'white'}" for x, e in rng.normal(size=(200, 2))]
    (tmp_path / "wine.csv").write_text("\n".join(["sugar,kind", *rows, ""]))


def on_two(*args):
    return subprocess.run(
        command(2, "-m", "fastbp", *args),
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        check=False,
    )


@pytest.mark.parametrize(
    ("options", "alone"),
    [([], ["--parts", "16"]), (["--patience", "2"], ["--parts", "16"]), (["--members", "3"], [])],
)
def test_the_model_has_the_bits_of_one_process(options, alone, tmp_path):
    done = on_two("train", "wine.csv", *OPTIONS, *options, "-o", "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model written to two") == done.stdout.count("test accuracy") - (
        "members:" in done.stdout
    )
    assert main(["train", "wine.csv", *OPTIONS, *options, *alone, "-o", "one", "-q"]) == 0
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()


def test_parts_are_those_of_fit():
    for name, parts in (("whole", []), ("one", ["--parts", "1"]), ("four", ["--parts", "4"])):
        assert main(["train", "wine.csv", *OPTIONS, *parts, "-o", name, "-q"]) == 0
    whole, one, four = (fastbp.load(name).theta for name in ("whole", "one", "four"))
    assert np.abs(whole - four).max() < 0.1 and not np.array_equal(one, four)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["train", "none.csv"], 1, "none.csv: No such file"),
        (["train", "wine.csv", "--lr", "fast"], 2, "expected a number > 0; got 'fast'"),
        (["train", "wine.csv", "--parts", "1"], 1, "2 ranks need at least as many parts"),
        (["predict", "model", "wine.csv"], 2, "started 2 processes, and this command is for one"),
    ],
)
def test_an_error_comes_once(args, code, words):
    done = on_two(*args)
    assert done.returncode == code
    assert done.stderr.count(words) == 1 and done.stdout.count("rows to train on") <= 1
    assert not os.path.exists("fastbp-model.safetensors")


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_ctrl_c_leaves_a_whole_model():
    with subprocess.Popen(
        command(2, "-m", "fastbp", "train", "wine.csv", "--epochs", "10000000", "-q"),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as program:
        time.sleep(4)
        os.killpg(program.pid, signal.SIGINT)
        _, err = program.communicate(timeout=60)
    assert program.returncode != 0
    if os.path.exists("fastbp-model.safetensors"):  # a launcher may end its ranks at once
        fastbp.load("fastbp-model.safetensors")
    else:
        assert "model trained so far" not in err


# ---- without ranks ------------------------------------------------------------------------


def test_a_launcher_without_mpi4py(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    for rank in ("1", "0"):
        monkeypatch.setenv("PMI_SIZE", "2")
        monkeypatch.setenv("PMI_RANK", rank)
        with pytest.raises(SystemExit) as ended:
            main(["train", "wine.csv"])
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert err.count("started 2 processes, but many ranks need mpi4py") == (rank == "0")
    assert not os.path.exists("fastbp-model.safetensors")


def test_a_launcher_of_another_mpi(monkeypatch, capsys):
    monkeypatch.setattr(launcher, "world", lambda: type("Comm", (), {"Get_size": lambda _: 1})())
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    with pytest.raises(SystemExit):
        main(["train", "wine.csv"])
    assert "started 4 processes, but the MPI of mpi4py sees 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, None),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}, None),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3"}, (3, 8)),
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, (2, 4)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_RANK": "1"}, (1, 2)),
    ],
)
def test_what_launchers_say(environ, expected):
    assert launched(environ) == expected


def test_members_take_no_parts(capsys):
    with pytest.raises(SystemExit):
        main(["train", "wine.csv", "--members", "2", "--parts", "4"])
    assert "leave --parts out" in capsys.readouterr().err
