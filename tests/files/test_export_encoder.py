"""Exports of an encoder and networks take raw rows and give the answers of Python."""

import ctypes
import math
from types import SimpleNamespace

import numpy as np
import pytest
from encoder_cases import answers, made, mixed, model_of, texts
from export_cases import DTYPES, compiled

from fastbp import Network, export
from fastbp.export._c_table import members

pytestmark = pytest.mark.once

TARGETS = pytest.mark.parametrize("target", ["classes", "two", "numbers"])
NUMBERS = ["robust", "quantile", "standard", "none"]


def new_rows(n=80, seed=3):
    """Rows with holes, texts and dates that the training rows do not have."""
    columns = mixed(n, seed)
    columns["city"][::7], columns["city"][3] = "elsewhere", None
    columns["paid"][::9], columns["paid"][5] = "maybe", None
    columns["joined"][::5] = np.datetime64("1582-10-15T23:59:59.999999", "us")
    columns["price"][::11] = np.nan
    columns["age"][4], columns["age"][6] = 1e5, -1e5
    return columns


def near(dtype):
    """How far outputs of small networks may differ that are computed in another order."""
    return 200 * float(np.finfo(dtype).eps)


def every_encoding(numbers, high_cardinality):
    """New rows, and a model that predicts its inputs: huge numbers, ties, levels of all kinds."""
    tied = np.repeat([0.0, 0.0, 1.0, 2.0], 100)
    columns = mixed() | {"tied": tied, "huge": 1e308 * (tied - 1), "tiny": 1e-200 * (tied + 1)}
    columns["near"] = (tied - 0.3) / (1 + 1e-9)  # whose scale is nearly 1
    columns["tied"][::3] = np.nan
    options = {"numbers": numbers, "high_cardinality": high_cardinality, "min_count": 20}
    options["pieces"] = 6 * (high_cardinality != "target")
    model = model_of(made(columns), "numbers", "float64", **options)
    n = model.encoder.n_inputs
    net = Network((n, n), activation="identity", output="identity", dtype="float64", seed=0)
    net.layers[0].W[:], net.layers[0].b[:] = np.eye(n), 0
    model.networks, model.target = [net], model.encoder.get_feature_names_out()
    model.target_mean, model.target_scale = np.zeros(n), np.ones(n)
    new = np.resize([0, 1, 2, 0.5, -1, 3, np.nan], 80)
    shifted = {"huge": new * 1e307, "tiny": (new + 1) * 1e-200, "near": new - 0.3}
    return new_rows() | {"tied": new, **shifted}, model


# ---- C ------------------------------------------------------------------------------------

_KINDS = {"number": ctypes.c_double, "date": ctypes.c_longlong, "text": ctypes.c_char_p}


def row_type(model):
    kinds = model.encoder.kinds
    names = zip(members(list(kinds)), kinds.values(), strict=True)
    fields = [(member, _KINDS[kind]) for member, kind in names]
    return type("Row", (ctypes.Structure,), {"_fields_": fields})


def row_of(model, columns, i):
    cells = [columns[name][i] for name in model.encoder.features]
    return row_type(model)(*map(in_c, cells))


def in_c(cell):
    if isinstance(cell, str):
        return cell.encode()
    return int(cell.view(np.int64)) if isinstance(cell, np.datetime64) else cell


def called(library, model, row):
    """What the function returns, and the answers."""
    n = len(model.classes) or len(model.target)
    out = np.full(n, np.nan, model.networks[0].dtype)
    pointer = ctypes.c_void_p(out.ctypes.data)
    return library.model_predict(ctypes.byref(row), pointer), out


@TARGETS
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_networks", [1, 3])
def test_c_takes_rows_of_the_table(target, dtype, n_networks, tmp_path):
    model = model_of(made(mixed()), target, dtype, n_networks)
    source = export.c(model, tmp_path / "file.c")
    assert (tmp_path / "file.c").read_text() == source
    library, columns = compiled(source, tmp_path), new_rows()
    found = [called(library, model, row_of(model, columns, i)) for i in range(80)]
    returned, outputs = [each for each, _ in found], np.array([out for _, out in found])
    expected = answers(model, model.encoder.transform(made(columns), dtype))
    scale = abs(expected).max()
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=near(dtype) * scale)
    if target == "numbers":
        assert set(returned) == {0}
        return
    np.testing.assert_array_equal(returned, outputs.argmax(axis=1))
    kind = ctypes.c_char_p if target == "classes" else ctypes.c_longlong
    table = (kind * len(model.classes)).in_dll(library, "model_classes")
    assert tuple(each.decode() if target == "classes" else each for each in table) == model.classes


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("high_cardinality", ["target", "one-hot", "frequent", "codes"])
def test_c_of_every_encoding(numbers, high_cardinality, tmp_path):
    new, model = every_encoding(numbers, high_cardinality)
    library = compiled(export.c(model), tmp_path)
    found = np.array([called(library, model, row_of(model, new, i))[1] for i in range(80)])
    expected = model.encoder.transform(made(new), "float64")
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-14)


def test_c_finds_texts_among_many(tmp_path):
    words = [f"w{i:03}é" for i in range(300)] + ["a?b", 'q"', "z\\n", "Ω", "\U0001f600"]
    cells = texts(*words * 5)
    table = made({"word": cells, "n": np.arange(float(len(cells)))})
    model = model_of(table, "numbers", "float64")
    assert model.encoder.get_feature_names_out().tolist() == ["word mean", "n"]
    library = compiled(export.c(model), tmp_path)
    new = {"word": texts(*words, "w", "", "w300é", None), "n": np.zeros(len(words) + 4)}
    found = [called(library, model, row_of(model, new, i))[1] for i in range(len(words) + 4)]
    expected = answers(model, model.encoder.transform(made(new), "float64"))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("numbers", ["robust", "none"])
def test_c_says_which_column_it_cannot_take(numbers, tmp_path):
    model = model_of(made(mixed()), "classes", numbers=numbers)
    library, columns = compiled(export.c(model), tmp_path), mixed()
    for i, (name, kind) in enumerate(model.encoder.kinds.items()):
        for value in (math.inf, -math.inf, 1e300) if kind == "number" else ():
            row = row_of(model, columns, 1)
            setattr(row, members([name])[0], value)
            returned, out = called(library, model, row)
            if value == 1e300 and numbers == "robust":
                assert returned >= 0
            else:
                assert returned == -(i + 1)
                assert np.isnan(out).all()


def test_c_of_a_table_of_numbers_alone(tmp_path):
    table = made({f"x{i}": np.arange(9.0) ** i for i in range(1, 4)})
    model = model_of(table, "two")
    source = export.c(model, name="toy")
    for helper in ("toy_find", "toy_turn", "toy_ranked", "NO_DATE"):
        assert helper not in source
    compiled(source, tmp_path)


# ---- ONNX ---------------------------------------------------------------------------------


def onnx_answers(model, columns, path=None):
    """The outputs of the ONNX model by name."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    made = export.onnx(model, path)
    session = runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    dtype = model.networks[0].dtype
    kinds = {"number": lambda c: c.astype(dtype), "date": lambda c: c.view(np.int64)}
    fed = {}
    for name, kind in model.encoder.kinds.items():
        cells = np.array(columns[name])
        if kind == "text":
            cells[[cell is None for cell in cells.tolist()]] = ""
        fed[name] = kinds.get(kind, lambda c: c)(cells)[:, None]
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, fed), strict=True))


def in_single(columns):
    """The same columns, with numbers that float32 can hold."""
    return {
        name: column.astype(np.float32) if column.dtype.kind == "f" else column
        for name, column in columns.items()
    }


@TARGETS
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_networks", [1, 3])
def test_onnx_takes_columns_of_the_table(target, dtype, n_networks, tmp_path):
    model = model_of(made(mixed()), target, dtype, n_networks)
    columns = in_single(new_rows())
    found = onnx_answers(model, columns, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size > 1000
    expected = answers(model, model.encoder.transform(made(columns), dtype))
    outputs = found["variable" if target == "numbers" else "probabilities"]
    scale = abs(expected).max()
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=near(dtype) * scale)
    if target != "numbers":
        labels = np.array(model.classes)[outputs.argmax(axis=1)]
        assert found["label"].tolist() == labels.tolist()


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("high_cardinality", ["target", "one-hot", "frequent", "codes"])
def test_onnx_of_every_encoding(numbers, high_cardinality):
    new, model = every_encoding(numbers, high_cardinality)
    found = onnx_answers(model, new)["variable"]
    expected = model.encoder.transform(made(new), "float64")
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("format", ["c", "onnx"])
def test_dates_of_all_centuries(format, tmp_path):
    days = np.arange(np.datetime64("1895-12-25"), np.datetime64("2105-01-05"), 11)
    far = np.array(["0001-01-01", "9999-12-31T23:59:59.999999", "NaT"], "datetime64[us]")
    at = np.concatenate([days.astype("datetime64[us]") + np.timedelta64(12_345_678_901, "us"), far])
    table = made({"at": at})
    model = model_of(table, "numbers", "float64")
    assert model.encoder.n_inputs == 10
    expected = answers(model, model.encoder.transform(table, "float64"))
    if format == "onnx":
        found = onnx_answers(model, {"at": at})["variable"]
    else:
        library = compiled(export.c(model), tmp_path)
        rows = [row_of(model, {"at": at}, i) for i in range(len(at))]
        found = np.array([called(library, model, row)[1] for row in rows])
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_onnx_renames_outputs_that_columns_have():
    table = made({"label": np.arange(9.0), "fastbp/x": np.arange(9.0)})
    model = model_of(table, "classes")
    found = onnx_answers(model, {"label": np.arange(9.0), "fastbp/x": np.arange(9.0)})
    assert list(found) == ["label_", "probabilities"]


# ---- both ---------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [export.c, export.onnx])
def test_parts_that_do_not_fit_are_refused(function):
    if function is export.onnx:
        pytest.importorskip("onnx", reason="onnx is not installed")

    def refused(match, target="classes", **changes):
        model = model_of(made(mixed()), target, n_networks=2)
        for name, value in changes.items():
            setattr(model, name, value)
        with pytest.raises(ValueError, match=match):
            function(model)

    other = model_of(made(mixed()), "numbers").networks
    wide = model_of(made(mixed()), "classes", "float64").networks
    refused("no networks", networks=[])
    refused("the target 3 outputs; a network has 19 and 2", networks=other)
    refused("differ in their dtype", networks=[*model_of(made(mixed()), "classes").networks, *wide])
    refused("temperature must be positive", temperature=0.0)
    refused("must have 2 numbers each", "numbers", target_mean=(1.0,))
    with pytest.raises(ValueError, match="pass one of model.networks"):
        function(model_of(made(mixed()), "classes"), raw=False)
    with pytest.raises(ValueError, match="unknown must be one of"):
        function(model_of(made(mixed()), "classes"), unknown="skip")
    broken = model_of(made(mixed()), "classes")
    broken.networks[0].theta[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        function(broken)
    broken = model_of(made(mixed()), "numbers")
    arrays = {name: np.array(getattr(broken, name)) for name in ("target_mean", "target_scale")}
    single = model_of(made(mixed()), "two")
    single.target, single.classes = "kind", np.array(single.classes)
    for model in (SimpleNamespace(**vars(broken) | arrays), single):
        assert function(model)
    broken.encoder = type(broken.encoder)()
    with pytest.raises(ValueError, match="not fitted"):
        function(broken)
