"""The MPI that is installed, and what messages say where there is none."""

import re
import subprocess
import sys

import pytest

from fastbp._ranks import mpi

pytestmark = pytest.mark.once


def test_the_installed_mpi_is_described_without_being_loaded():
    pytest.importorskip("mpi4py", reason='needs MPI: pip install "fastbp[mpi]"')
    script = "import sys; from fastbp._ranks import mpi; print(mpi.describe()); "
    script += "assert 'mpi4py.MPI' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert re.fullmatch(r"mpi4py \d+\.\S+, \w.*\n", done.stdout)


def test_mpi4py_is_not_installed(monkeypatch):
    monkeypatch.setattr(mpi, "find_spec", lambda name: None)
    assert mpi.describe() == 'not installed (pip install "fastbp[mpi]")'


@pytest.mark.parametrize(
    "script, expected",
    [
        ("raise RuntimeError('cannot load MPI library')", "cannot load a library of MPI: Runtime"),
        ("import os; os.kill(os.getpid(), 11)", "cannot load a library of MPI: .* died with"),
        ("print('4.1')", "mpi4py 4.1, $"),
        ("pass", "does not answer: not enough values"),
    ],
)
def test_an_mpi_that_does_not_work_is_no_failure(monkeypatch, script, expected):
    pytest.importorskip("mpi4py", reason='needs MPI: pip install "fastbp[mpi]"')
    monkeypatch.setattr(mpi, "_ASK", script)
    assert re.search(expected, mpi.describe())


def test_an_mpi_that_hangs_is_no_failure(monkeypatch):
    def hang(command, timeout, **others):
        raise subprocess.TimeoutExpired(command[:1], timeout)

    monkeypatch.setattr(mpi, "find_spec", lambda name: name)
    monkeypatch.setattr(mpi.subprocess, "run", hang)
    assert "does not answer" in mpi.describe() and "10 seconds" in mpi.describe()


@pytest.mark.parametrize(
    "error", [ImportError("no module"), RuntimeError("cannot load MPI library")]
)
def test_the_error_without_mpi_says_how_to_install_it(monkeypatch, error):
    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("mpi4py"):
                raise error

    for name in [name for name in sys.modules if name.startswith("mpi4py")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Refuse(), *sys.meta_path])
    with pytest.raises(ImportError, match=r'pip install "fastbp\[mpi\]" \((no module|cannot load)'):
        mpi.world()
