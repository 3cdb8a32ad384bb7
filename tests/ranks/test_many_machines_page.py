"""The programs of docs/many_machines.md run on two ranks, and examples/many_machines.py, too."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rank_cases import command, environment

import fastbp

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/many_machines.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def output_of(arguments, folder):
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_on_two_ranks(name, tmp_path):
    if name == "estimator":
        pytest.importorskip("sklearn", reason="needs scikit-learn")
    (tmp_path / f"{name}.py").write_text(PROGRAMS[name], encoding="utf-8")
    output_of(command(2, f"{name}.py"), tmp_path)


def test_the_page_has_these_programs():
    assert set(PROGRAMS) == {"train", "memmap", "part_files", "estimator"}


def test_the_first_run_prints_the_same_digest_on_any_number_of_ranks(tmp_path):
    (tmp_path / "train.py").write_text(PROGRAMS["train"], encoding="utf-8")
    lines = [output_of(command(n, "train.py"), tmp_path) for n in (1, 2, 3)]
    told = [re.fullmatch(r"(\d) ranks: ([\d.]+)% right, (theta \w{12})\n", line) for line in lines]
    assert [found[1] for found in told] == ["1", "2", "3"]
    assert len({found[3] for found in told}) == 1 and float(told[0][2]) > 95


def test_the_example_has_the_bits_of_one_rank(tmp_path):
    shutil.copy(ROOT / "examples/many_machines.py", tmp_path)
    pytest.importorskip("mpi4py", reason='needs MPI: pip install "fastbp[mpi]"')
    one = output_of([sys.executable, "many_machines.py", "one"], tmp_path)
    two = output_of(command(2, "many_machines.py", "two"), tmp_path)
    assert one.replace("1 ranks", "2 ranks") == two
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", two)[1])
    assert accuracy > 96
    names = ("one/digits.safetensors", "two/digits.safetensors")
    networks = [fastbp.load(tmp_path / name) for name in names]
    assert networks[0].theta.tobytes() == networks[1].theta.tobytes()
    again = output_of(command(3, "many_machines.py", "two"), tmp_path)  # from the checkpoint
    assert again.replace("3 ranks", "2 ranks") == two
