"""The tuning for a machine: it changes how work is divided, never a bit of a result."""

import functools
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import fastbp
from fastbp import _core
from fastbp._precision import NAMES

ISAS = _core.available_isas()
TUNES = _core.available_tunes()
# widths, batch, samples and options. The first has rows of W beyond each limit for panels and runs
# of outputs; in the second, sums over units and over rows take several blocks of each KC.
CASES = {
    "long rows": ((64, 1100, 230, 9), 33, 70, {"output": "softmax", "loss": "cross_entropy"}),
    "long sums": ((410, 205, 3), 390, 390, {"activation": "tanh", "l1": 1e-3, "l2": 1e-3}),
    "few rows": ((30, 260, 2), 5, 17, {"activation": "gelu"}),
}
# dtype and matmul_precision
ARITHMETIC = [("float64", "highest"), *(("float32", name) for name in NAMES)]


def digest(case, dtype, precision, n_threads):
    """A digest of theta after three epochs with a limit on the norm of the gradient."""
    widths, batch, n, options = CASES[case]
    rng = np.random.default_rng(7)
    options = options | {"dtype": dtype, "matmul_precision": precision, "seed": 3}
    net = fastbp.Network(widths, **options)
    X = rng.normal(size=(n, widths[0])).astype(dtype)
    y = rng.integers(widths[-1], size=n) if net.criterion.labels else np.tanh(X[:, : widths[-1]])
    clip = fastbp.optim.Adam(1e-3, clip_norm=0.5)
    net.fit(X, y, epochs=1, batch_size=batch, n_threads=n_threads)
    net.fit(X, y, epochs=2, batch_size=batch, n_threads=n_threads, optimizer=clip)
    outputs = net.predict(X)
    return hashlib.sha256(net.theta.tobytes() + outputs.tobytes()).hexdigest()


def digests():
    """Every case in both dtypes and at each precision, on 3 threads; at "highest" on 1 too."""
    return [
        digest(case, dtype, precision, n_threads)
        for case in CASES
        for dtype, precision in ARITHMETIC
        for n_threads in ((1, 3) if precision == "highest" else (3,))
    ]


def run(*args, **environment):
    variables = {k: v for k, v in os.environ.items() if not k.startswith("FASTBP_")}
    return subprocess.run(
        [sys.executable, *args],
        env=variables | environment,
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


@functools.cache
def trained(isa, tune):
    """The digests of a new process."""
    done = run(__file__, FASTBP_ISA=isa, FASTBP_TUNE=tune)
    assert done.returncode == 0, done.stderr
    name, *lines = done.stdout.split()
    assert name == tune
    return lines


@pytest.mark.parametrize("tune", TUNES[1:])
@pytest.mark.parametrize("isa", ISAS)
def test_no_tuning_changes_a_bit(isa, tune):
    assert trained(isa, tune) == trained(isa, TUNES[0])


@pytest.mark.parametrize("tune", ["golden_cove", "zen4"])
def test_no_tuning_changes_the_default_isa(tune):
    program = (
        "import fastbp, hashlib, numpy as np\n"
        "net = fastbp.Network((64, 70, 50, 9), seed=1, matmul_precision='medium')\n"
        "X = np.random.default_rng(2).normal(size=(64, 64)).astype('float32')\n"
        "net.fit(X, np.tanh(X[:, :9]), epochs=3, batch_size=32)\n"
        "print(fastbp.isa(), hashlib.sha256(net.theta.tobytes()).hexdigest())"
    )
    tuned, generic = (run("-c", program, FASTBP_TUNE=name) for name in (tune, "generic"))
    assert tuned.returncode == 0, tuned.stderr
    assert tuned.stdout == generic.stdout


def test_the_tuning_of_this_machine_changes_no_bit():
    done = run(__file__, FASTBP_ISA=ISAS[0])
    assert done.stdout.split()[1:] == trained(ISAS[0], TUNES[0])


@pytest.mark.parametrize("name", ["zen", "zen4,zen5", "none"])
def test_an_unknown_tuning_is_an_error_with_the_list(name):
    done = run("-c", "import fastbp", FASTBP_TUNE=name)
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith(f"ImportError: FASTBP_TUNE={name!r} is not")
    assert all(tune in message for tune in TUNES)


def test_a_refused_name_leaves_the_choice():
    before = _core.tune()
    with pytest.raises(ValueError, match="'sparc'.*generic"):
        _core.select_tune("sparc")
    assert _core.tune() == before


def test_the_configuration_names_the_tuning():
    done = run("-m", "fastbp", "info", FASTBP_TUNE=" Golden_Cove ")
    assert any(line.split() == ["tune", "golden_cove"] for line in done.stdout.splitlines())


if __name__ == "__main__":
    print(_core.tune(), *digests())
