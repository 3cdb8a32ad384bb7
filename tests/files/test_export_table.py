"""Exports of models of tables take raw rows and give the answers of the model in Python."""

import ctypes
import math
import shutil
import subprocess

import numpy as np
import pytest
from export_cases import DTYPES, compiled, predicted_in_c
from table_cases import answers_error, array_network, outputs_error, rows, table_network

import fastbp
from fastbp import Network, export
from fastbp.export._c_table import members
from fastbp.tabular import from_arrays

pytestmark = pytest.mark.once

TARGETS = pytest.mark.parametrize("target", ["left", "price"])


def with_unknown(columns):
    """The columns with categories that the network does not know."""
    plans, paid = columns["plan"].astype(object), columns["paid"].astype(object)
    plans[::3], paid[::4] = "silver", "maybe"
    return columns | {"plan": plans, "paid": paid}


def assert_near(found, expected, error):
    assert (abs(found.astype(np.float64) - expected) <= error).all()


def check_answers(net, X, found):
    """The outputs, or the answers of a regression, are those of the network but for rounding."""
    inputs = net.prepare(X)
    if net.classes:
        expected, error = net.predict_proba(X), outputs_error(net, inputs)
    else:
        expected = net.predict(X).reshape(found.shape)
        error = answers_error(net, inputs, expected)
    assert_near(found, expected, error)


# ---- C ------------------------------------------------------------------------------------


def row_type(net):
    kinds = {name: ctypes.c_char_p for name in net.categories}
    fields = [
        (member, kinds.get(name, ctypes.c_double))
        for name, member in zip(net.features, members(net.features), strict=True)
    ]
    return type("Row", (ctypes.Structure,), {"_fields_": fields})


def row_of(net, columns, i):
    values = [columns[name][i] for name in net.features]
    return row_type(net)(*(v.encode() if isinstance(v, str) else float(v) for v in values))


def called(library, net, row, name="model"):
    """What the function returns, and the outputs."""
    out = np.full(net.widths[-1], np.nan, net.dtype)
    function = getattr(library, f"{name}_predict")
    return function(ctypes.byref(row), ctypes.c_void_p(out.ctypes.data)), out


@TARGETS
@pytest.mark.parametrize("dtype", DTYPES)
def test_c_takes_rows_of_the_table(target, dtype, tmp_path):
    net = table_network(tmp_path, target, dtype=dtype)
    library = compiled(export.c(net), tmp_path)
    columns = rows(60, seed=7)
    found = [called(library, net, row_of(net, columns, i)) for i in range(60)]
    returned, outputs = [each for each, _ in found], np.array([out for _, out in found])
    check_answers(net, columns, outputs)
    if target == "price":
        assert set(returned) == {0}
        return
    table = (ctypes.c_char_p * 2).in_dll(library, "model_classes")
    assert tuple(text.decode() for text in table) == net.classes
    np.testing.assert_array_equal(returned, outputs.argmax(axis=1))


def test_c_says_which_column_it_cannot_take(tmp_path):
    net = table_network(tmp_path)
    library = compiled(export.c(net), tmp_path)
    kind, good = row_type(net), row_of(net, rows(), 0)
    assert called(library, net, good)[0] >= 0
    for i, (member, _) in enumerate(kind._fields_):
        wrong = (math.nan, math.inf, -1e300) if i in (0, 2, 3) else (b"silver", b"", None)
        for value in wrong:
            row = kind.from_buffer_copy(good)
            setattr(row, member, value)
            returned, out = called(library, net, row)
            assert returned == -(i + 1), (member, value)
            assert np.isnan(out).all()


def test_c_ignores_unknown_categories_on_request(tmp_path):
    net = table_network(tmp_path)
    library = compiled(export.c(net, unknown="ignore"), tmp_path)
    columns = with_unknown(rows())
    found = [called(library, net, row_of(net, columns, i))[1] for i in range(40)]
    prepared = net.prepare(columns, unknown="ignore")
    assert_near(np.array(found), net.forward(prepared), outputs_error(net, prepared))
    for value in (b"", None):
        row = row_of(net, columns, 0)
        row.plan = value
        assert called(library, net, row)[0] == -2


@pytest.mark.parametrize("kind", ["numbers", "flags", "several targets"])
def test_c_takes_arrays_where_columns_have_no_names(kind, tmp_path):
    X = np.random.default_rng(0).normal(2000, 5, (30, 70))
    y = {
        "numbers": np.arange(30) % 3 + np.iinfo(np.int64).min,
        "flags": X[:, 0] > 2000,
        "several targets": X[:, :2],
    }
    net = array_network(tmp_path, X, y[kind])
    source = export.c(net)
    assert "int model_predict(const double row[70], float out[" in source
    library = compiled(source, tmp_path)
    out = np.empty((30, net.widths[-1]), np.float32)
    pointers = [
        (ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(o.ctypes.data))
        for x, o in zip(X, out, strict=True)
    ]
    returned = [library.model_predict(*each) for each in pointers]
    table = from_arrays("X", X)
    check_answers(net, table, out)
    if kind == "several targets":
        assert set(returned) == {0}
        return
    element = ctypes.c_longlong if kind == "numbers" else ctypes.c_int
    classes = (element * len(net.classes)).in_dll(library, "model_classes")
    assert tuple(classes) == net.classes
    assert [classes[i] for i in returned] == net.predict(table).tolist()
    X[0, 3] = np.nan
    assert library.model_predict(*pointers[0]) == -4


@pytest.mark.parametrize("compiler", ["cc", "c++"])
def test_declarations_of_c_in_another_file(compiler, tmp_path):
    if shutil.which("cc") is None or shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on PATH")
    net = table_network(tmp_path)
    export.c(net, tmp_path / "toy.c", name="toy")
    program = """
#define TOY_HEADER
#include "toy.c"
#include <stdio.h>
int main(void) {
    struct toy_row row;
    float out[2];
    row.age = 41; row.plan = "basic"; row.year = 2000; row.gro_e_cm = 170; row.paid = "true";
    printf("%s", toy_classes[toy_predict(&row, out)]);
    return 0;
}
"""
    user = tmp_path / f"user.{'c' if compiler == 'cc' else 'cpp'}"
    user.write_text(program)
    strict = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
    objects = [tmp_path / "toy.o", tmp_path / "user.o"]
    build = ["cc", "-std=c99", *strict, "-c", tmp_path / "toy.c", "-o", objects[0]]
    subprocess.run(build, check=True)
    subprocess.run([compiler, *strict, "-c", user, "-o", objects[1]], check=True)
    subprocess.run([compiler, *objects, "-o", tmp_path / "user", "-lm"], check=True)
    ran = subprocess.run([tmp_path / "user"], check=True, capture_output=True, text=True)
    row = {"age": 41, "plan": "basic", "year": 2000, "größe (cm)": 170, "paid": "true"}
    assert ran.stdout == net.predict(row)[0]


def test_c_of_prepared_inputs_on_request(tmp_path):
    net = table_network(tmp_path)
    source = export.c(net, raw=False)
    assert "void model_predict(const float x[10], float out[2])" in source
    X = net.prepare(rows())
    found = predicted_in_c(compiled(source, tmp_path), net, X)
    check_answers(net, rows(), found)


def test_members_of_c():
    names = ["int", "INT", "int_", "größe", "2nd", "", "日本", "a b", "a-b", "a_b", "NAN", "x" * 99]
    found = members(names)
    assert len(set(found)) == len(names)
    assert all(name.isascii() and name.isidentifier() for name in found)


def test_a_category_that_c_cannot_hold_is_refused(tmp_path):
    net = table_network(tmp_path)
    net.preprocessing = net.preprocessing | {
        "categories": net.preprocessing["categories"] | {"paid": ["a\0b", "true"]}
    }
    with pytest.raises(ValueError, match="zero byte"):
        export.c(net)


@pytest.mark.parametrize("function", [export.c, export.onnx])
def test_raw_is_checked(function, tmp_path):
    with pytest.raises(ValueError, match="raw=True takes a network that knows the columns"):
        function(Network((2, 1)), raw=True)
    with pytest.raises(TypeError, match="raw must be True, False or None; got 1"):
        function(table_network(tmp_path), raw=1)
    with pytest.raises(ValueError, match="unknown must be one of error, ignore; got 'skip'"):
        function(table_network(tmp_path), unknown="skip")
    for net, raw in ((Network((2, 1)), None), (table_network(tmp_path), False)):
        with pytest.raises(ValueError, match="unknown=.ignore. is for exports that take the raw"):
            function(net, raw=raw, unknown="ignore")


def test_a_weight_that_is_not_finite_is_refused(tmp_path):
    net = table_network(tmp_path)
    net.theta[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        export.c(net)
    pytest.importorskip("onnx", reason="onnx is not installed")
    with pytest.raises(ValueError, match="not finite"):
        export.onnx(net)


def test_exports_of_weights_are_those_of_the_network(tmp_path):
    net = table_network(tmp_path)
    state = fastbp.export.to_state_dict(net)
    np.testing.assert_array_equal(state["0.weight"], net.layers[0].W.T)


# ---- ONNX ---------------------------------------------------------------------------------


def session_of(model):
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def exported(net, **options):
    pytest.importorskip("onnx", reason="onnx is not installed")
    return export.onnx(net, **options)


def fed(net, columns):
    """The inputs of the model: a column (n, 1) for each of the table."""
    return {
        name: np.array(columns[name], object if name in net.categories else net.dtype).reshape(
            -1, 1
        )
        for name in net.features
    }


@TARGETS
@pytest.mark.parametrize("dtype", DTYPES)
def test_onnx_takes_columns_of_the_table(target, dtype, tmp_path):
    net = table_network(tmp_path, target, dtype=dtype)
    export_to = tmp_path / "net.onnx"
    model = exported(net, path=export_to)
    assert export_to.read_bytes() == model.SerializeToString()
    session = session_of(model)
    assert [end.name for end in session.get_inputs()] == list(net.features)
    for n in (60, 1):
        columns = {name: column[:n] for name, column in rows(60, seed=7).items()}
        found = session.run(None, fed(net, columns))
        assert found[-1].dtype == dtype
        check_answers(net, columns, found[-1])
        if target == "left":
            expected = np.array(net.classes)[found[1].argmax(axis=1)]
            assert found[0].tolist() == expected.tolist()
    names = ["label", "probabilities"] if target == "left" else ["variable"]
    assert [end.name for end in session.get_outputs()] == names


def test_onnx_refuses_an_unknown_category(tmp_path):
    net = table_network(tmp_path)
    session = session_of(exported(net))
    columns = rows()
    columns["plan"][3] = "other"
    with pytest.raises(Exception, match="(?i)unknown category"):
        session.run(None, fed(net, columns))


def test_onnx_ignores_unknown_categories_on_request(tmp_path):
    net = table_network(tmp_path)
    columns = with_unknown(rows())
    found = session_of(exported(net, unknown="ignore")).run(None, fed(net, columns))[1]
    prepared = net.prepare(columns, unknown="ignore")
    assert_near(found, net.forward(prepared), outputs_error(net, prepared))


@pytest.mark.parametrize("kind", ["numbers", "flags", "several targets"])
def test_onnx_takes_arrays_where_columns_have_no_names(kind, tmp_path):
    X = np.random.default_rng(0).normal(2000, 5, (30, 4)).astype(np.float32)
    y = {"numbers": np.arange(30) % 3 - 7, "flags": X[:, 0] > 2000, "several targets": X[:, :2]}
    net = array_network(tmp_path, X, y[kind])
    found = session_of(exported(net)).run(None, {"X": X})
    table = from_arrays("X", X)
    check_answers(net, table, found[-1])
    if kind != "several targets":
        assert found[0].dtype == np.int64
        np.testing.assert_array_equal(found[0], np.array(net.classes)[found[1].argmax(axis=1)])


def test_names_of_columns_do_not_clash_with_those_of_onnx(tmp_path):
    names = ("label", "probabilities", "fastbp/W_2", "x", "MatMul_1")
    columns = {name: np.arange(20.0) * (i + 1) for i, name in enumerate(names)}
    columns["left"] = np.array(["yes", "no"] * 10)
    net = table_network(tmp_path, columns=columns)
    session = session_of(exported(net))
    assert [end.name for end in session.get_outputs()] == ["label_", "probabilities_"]
    check_answers(net, columns, session.run(None, fed(net, columns))[1])


def test_a_class_that_onnx_cannot_hold_is_refused(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    net = array_network(tmp_path, np.eye(3), np.array([1, 2**63 + 1, 1], np.uint64))
    assert net.classes == (1, 2**63 + 1)
    assert f"{2**63 + 1}ULL" in export.c(net)
    with pytest.raises(ValueError, match="labels of an ONNX model are int64"):
        export.onnx(net)


def test_onnx_of_prepared_inputs_on_request(tmp_path):
    net = table_network(tmp_path)
    X = net.prepare(rows())
    found = session_of(exported(net, raw=False)).run(["y"], {"x": X})[0]
    check_answers(net, rows(), found)
