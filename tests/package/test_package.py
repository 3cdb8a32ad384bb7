"""The installed package: what importing it does to the process, metadata, choice of the ISA."""

import importlib.metadata
import importlib.resources
import os
import subprocess
import sys

import pytest

import fastbp
from fastbp._core import available_isas, fastest_isa


def run(*arguments, **environment):
    """Run a new interpreter with these arguments and additional environment variables.

    -P keeps the current folder, which has the sources, out of its path.
    """
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
    )


def output(code, **environment):
    done = run("-c", code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_loads_only_numpy_and_the_standard_library():
    loaded = output(
        "import sys, numpy; before = set(sys.modules); import fastbp;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    foreign = set(loaded) - sys.stdlib_module_names - {"numpy", "fastbp", "cython_runtime"}
    assert not {name for name in foreign if not name.startswith("_cython_")}


def test_gates_are_imported_when_they_are_first_used():
    code = (
        "import sys, fastbp; names = dir(fastbp); net = fastbp.Network((2, 1));"
        "print('gates' in names, 'fastbp.gates' in sys.modules, fastbp.gates.__name__);"
        "print(hasattr(fastbp, 'gate'))"
    )
    assert output(code) == ["True", "False", "fastbp.gates", "False"]


def test_what_needs_gates_is_imported_when_it_is_first_used():
    code = (
        "import sys, fastbp; from fastbp import plot;"
        "later = ['plot._gates', 'plot._walk', 'export._c_formulas', 'export._torch_formulas'];"
        "print(any(f'fastbp.{name}' in sys.modules for name in later), 'GateDisplay' in dir(plot),"
        " plot.walk.__module__, plot.GateDisplay.__module__, hasattr(plot, 'gates'))"
    )
    assert output(code) == ["False", "True", "fastbp.plot", "fastbp.plot", "False"]


def test_the_estimators_import_no_gates():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    code = "import sys, fastbp.sklearn; print('fastbp.gates' in sys.modules)"
    assert output(code) == ["False"]


def test_import_gives_no_warning():
    assert output("import fastbp; print('quiet')", PYTHONWARNINGS="error") == ["quiet"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_does_not_change_the_subnormals_of_the_process(dtype):
    code = (
        "import sys, numpy as np, fastbp;"
        "net = fastbp.Network((3, 5, 1), dtype={!r}, seed=0);"
        "net.fit(np.eye(3), np.ones((3, 1)), epochs=2);"
        "print(sys.float_info.min / 2 != 0, np.finfo('f4').smallest_normal / np.float32(2) != 0)"
    )
    assert output(code.format(dtype)) == ["True", "True"]


def test_the_package_runs_as_a_program():
    done = run("-m", "fastbp", "--help")
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout and "predict" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("isa", available_isas())
def test_the_isa_can_be_chosen(isa):
    assert output("import fastbp; print(fastbp.isa())", FASTBP_ISA=isa) == [isa]


@pytest.mark.parametrize(
    "name", sorted({"avx2", "avx512", "neon", "sse9", "scalar,avx2"} - set(available_isas()))
)
def test_an_isa_that_cannot_run_is_an_error_with_the_list(name):
    done = run("-c", "import fastbp", FASTBP_ISA=name)
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert "FASTBP_ISA" in message and name in message
    assert all(isa in message for isa in available_isas())


@pytest.mark.parametrize("variable", ["FASTBP_ISA", "FASTBP_TUNE", "FASTBP_NUM_THREADS"])
@pytest.mark.parametrize("command", ["-m", "script"])
def test_the_command_reports_a_wrong_variable_in_one_line(tmp_path, variable, command):
    script = tmp_path / "fastbp"  # as installed
    script.write_text("import sys; from fastbp._cli.main import main; sys.exit(main())")
    start = ["-m", "fastbp"] if command == "-m" else [script]
    done = run(*start, "info", **{variable: "zen9"})
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"fastbp: error: {variable}='zen9' ") and line.endswith("unset it")


def test_this_run_uses_the_requested_isa():
    assert fastbp.isa() == (os.environ.get("FASTBP_ISA") or fastest_isa())


def test_metadata():
    metadata = importlib.metadata.metadata("fastbp")
    assert metadata["Version"] == fastbp.__version__
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    needed = [r for r in importlib.metadata.requires("fastbp") if "extra ==" not in r]
    assert needed == ["numpy>=1.24"]
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="fastbp")
    assert script.value == "fastbp._cli.main:main"


@pytest.mark.parametrize(
    "name", ["py.typed", "_core.pyi", "datasets/digits.npz", "datasets/README.md"]
)
def test_package_data_is_installed(name):
    assert importlib.resources.files("fastbp").joinpath(name).is_file()
