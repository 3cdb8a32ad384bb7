"""How exports are run: C source compiled, models of ONNX in ONNX Runtime."""

import ctypes
import subprocess

import numpy as np
import pytest
from engine_build import find_compiler

DTYPES = ["float32", "float64"]


def rows(dtype, n=20):
    """Inputs (n, 5) of the exported networks."""
    return (1.5 * np.random.default_rng(1).standard_normal((n, 5))).astype(dtype)


def compiled(source, folder):
    """The library of a C file, compiled with warnings as errors."""
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("no C compiler on PATH to compile the exported file with")
    (folder / "model.c").write_text(source)
    strict = ["-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    library = folder / "model.so"
    paths = ["-o", library, folder / "model.c", "-lm"]
    subprocess.run([compiler, *strict, "-shared", "-fPIC", *paths], check=True)
    return ctypes.CDLL(str(library))


def predicted_in_c(library, net, X, name="model"):
    """The predictions of the function of a network, row by row."""
    assert X.dtype == net.dtype  # the function takes pointers
    out = np.empty((len(X), net.widths[-1]), net.dtype)
    for x, to in zip(X, out, strict=True):
        pointers = [ctypes.c_void_p(each.ctypes.data) for each in (x, to)]
        getattr(library, f"{name}_predict")(*pointers)
    return out


def predicted_in_onnx(model, X):
    """The predictions of an ONNX model, or of the file of one, in ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    source = model.SerializeToString() if hasattr(model, "SerializeToString") else model
    session = runtime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": X})[0]
