"""The readers that are fuzzed: each reads an input, uses what it got, and says what must hold.

Not here: pickles, which are programs by design and must never come from others; and the importers
of `fastbp.export`, which take objects of other libraries, not bytes.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import reader_mutations as change
from reader_harness import Target, check_text, require

import fastbp
from fastbp import optim
from fastbp._cli.main import main
from fastbp._files.numpy_arrays import open_npz, read_npy
from fastbp._network.network import Network
from fastbp.bench import _file as bench_file
from fastbp.callbacks import CSVLogger, EarlyStopping
from fastbp.datasets import read_idx
from fastbp.errors import DataError, DivergenceError, ModelFileError
from fastbp.gates._formulas import parse_activation, parse_loss
from fastbp.io import load, save
from fastbp.tabular import TableModel, TableNetwork, inspect, read_features, read_table
from fastbp.tabular._preprocessing import Preprocessing
from fastbp.tabular._table import choose_task

WIDTHS = (2, 3, 2)  # of the networks that optimisers and checkpoints are for
X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
Y = np.cos(X)
_MAX_BYTES = 1 << 20  # of an array
_MIB = 1 << 20


# ---- models, optimisers, checkpoints --------------------------------------------------------


def read_model(data: bytes, folder: Path) -> None:
    (folder / "model").write_bytes(data)
    loaded = load(folder / "model")
    check_text(repr(loaded))
    if isinstance(loaded, TableModel):
        save(loaded, folder / "again")
        again = load(folder / "again")
        require(again._to_dict() == loaded._to_dict(), "a saved model knows the same")
        _ask_table_model(loaded)
        return
    if isinstance(loaded, fastbp.Population):
        loaded.save(folder / "again")
        nets, again = list(loaded), list(load(folder / "again"))
        require(len(again) == len(nets), "a saved population has the same members")
    else:
        save(loaded, folder / "again")
        nets, again = [loaded], [load(folder / "again")]
    for net, twin in zip(nets, again, strict=True):
        _use_network(net, twin)


def _use_network(net: Network, again: Network) -> None:
    """Predict with a network that was read; `again` is what was saved of it."""
    require(np.isfinite(net.theta).all(), "weights are finite")
    zeros = np.zeros((2, net.widths[0]))
    first = Network.predict(net, zeros)
    require(first.shape == (2, net.widths[-1]), "predictions have a row per row")
    require(first.tobytes() == Network.predict(net, zeros).tobytes(), "the same bits twice")
    require(again.theta.tobytes() == net.theta.tobytes(), "a saved network has the same bits")
    require(repr(again) == repr(net), "a saved network has the same architecture")
    require(type(again) is type(net) and again.preprocessing == net.preprocessing, "the same table")
    if isinstance(net, TableNetwork):
        _ask_for_rows(net)


def _ask_table_model(model: TableModel) -> None:
    """Predict rows: one with holes only, and one with a cell that each column may have."""
    cells = {"number": 1.0, "date": np.datetime64("2020-02-29"), "text": "?"}
    row = {name: cells[kind] for name, kind in model.encoder.kinds.items()}
    for rows in ([dict.fromkeys(row)], [row]):
        with contextlib.suppress(DataError):
            require(len(model.predict(rows)) == 1, "one answer per row")
            require(model.predict(rows).tobytes() == model.predict(rows).tobytes(), "same bits")


def _ask_for_rows(net: TableNetwork) -> None:
    """Predict rows by name: numbers, the first categories, and one that is not known."""
    prep = net.preprocessing
    row = {name: prep["categories"].get(name, [0.0])[0] for name in prep["features"]}
    for rows in ([row], [row | {prep["features"][0]: "?"}]):
        with contextlib.suppress(DataError):
            require(len(net.predict(rows)) == 1, "one answer per row")


def read_optimizer(data: bytes, folder: Path) -> None:
    (folder / "optimizer").write_bytes(data)
    optimizer = optim.load(folder / "optimizer")
    check_text(repr(optimizer))
    optimizer.save(folder / "again")
    require(
        _same(optimizer.state_dict(), optim.load(folder / "again").state_dict()),
        "a saved optimiser has the same state",
    )
    net = Network(WIDTHS, seed=0)
    with contextlib.suppress(ValueError, DivergenceError):  # it may be for another network
        net.fit(X, Y, epochs=1, batch_size=3, optimizer=optimizer)


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == two.dtype and one.tobytes() == two.tobytes()
    if isinstance(one, Mapping):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(_same, one, two))
    return repr(one) == repr(two)  # NaN too


def resume(data: bytes, folder: Path) -> None:
    """Resume a fit from two files, or from those of them that are not empty."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    for i, content in enumerate(change.split(data, 2)):
        (run / f"checkpoint-{i}.safetensors").write_bytes(content)
        if not content:
            (run / f"checkpoint-{i}.safetensors").unlink()
    net = Network(WIDTHS, seed=0)
    theta, optimizer = net.theta.copy(), optim.Adam(0.01)
    try:
        history = fit_with_checkpoints(net, optimizer, run, epochs=3)
    except (ValueError, TypeError):
        require((net.theta == theta).all() and optimizer.t == 0, "a refused state changes nothing")
        raise
    check_text(repr(history))
    require(not list(run.glob(".fastbp-*")), "no temporary file stays")


def fit_with_checkpoints(
    net: Network, optimizer: optim.Optimizer, folder: Path, epochs: int
) -> fastbp.history.History:
    """The fit that the checkpoints of the corpus are of."""
    return net.fit(
        *(X, Y),
        epochs=epochs,
        batch_size=3,
        optimizer=optimizer,
        schedule="cosine",
        callbacks=[EarlyStopping(patience=100)],
        validation_data=(X, Y),
        checkpoint=folder,
    )


# ---- formulas and names ---------------------------------------------------------------------


def read_formula(data: bytes, folder: Path) -> None:
    """A text as an activation or, after the first byte "l", as a loss."""
    text = data[1:].decode("utf-8", "surrogateescape")
    if data[:1] == b"l":
        found = parse_loss(text)
        require(parse_loss(str(found)) == found, "a printed formula is read as the same one")
        keywords: dict[str, Any] = {"loss": found}
    else:
        found = parse_activation(text)
        require(parse_activation(str(found)) == found, "a printed formula is read as the same one")
        keywords = {"activation": found}
    check_text(repr(found))
    net = Network(WIDTHS, seed=0, **keywords)
    require(net.predict(X).shape == (6, 2), "a network with the formula predicts")


def read_names(data: bytes, folder: Path) -> None:
    """Lines of argument=text: those of a network, or of a fit."""
    of_network, of_fit = {}, {}
    for line in data.decode("utf-8", "surrogateescape").splitlines()[:8]:
        name, _, text = line.partition("=")
        if name in ("activation", "output", "loss", "init", "dtype", "matmul_precision"):
            of_network[name] = text
        elif name in ("optimizer", "schedule", "metrics", "every"):
            of_fit[name] = text
    net = Network(WIDTHS, seed=0, **of_network)
    if "every" in of_fit:
        of_fit["checkpoint"] = folder / "names"
    net.fit(X[:2], np.array([0, 1]) if net.criterion.labels else Y[:2], epochs=1, **of_fit)


# ---- tables and arrays ----------------------------------------------------------------------

# What read_table is called with, selected by the first byte of an input.
TABLE_OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"header": "yes"},
    {"header": "no"},
    {"delimiter": ";", "decimal": ","},
    {"delimiter": ";", "decimal": ",", "thousands": "."},
    {"delimiter": " ", "header": "no"},
    {"delimiter": "\t", "target": "1"},
    {"thousands": "'", "delimiter": ";"},
    {"thousands": ",", "target": "-1"},
    {"categorical": ["1"], "drop": ["2"]},
)


def read_csv_table(data: bytes, folder: Path) -> None:
    (folder / "table.csv").write_bytes(data[1:])
    options = TABLE_OPTIONS[data[0] % len(TABLE_OPTIONS)] if data else {}
    table = read_table(folder / "table.csv", **options, max_bytes=_MAX_BYTES)
    require(table.n_rows > 0, "a table has rows")
    numbers = [i for i in range(len(table.names)) if i not in table.text]
    require(np.isfinite(table.values[:, numbers]).all(), "numbers of a table are finite")
    for note in table.notes:
        check_text(note)
    prep = Preprocessing.fit(table, choose_task(table))
    inputs = prep.inputs(table, np.dtype(np.float32), max_bytes=_MAX_BYTES)
    require(np.isfinite(inputs).all(), "inputs of a network are finite")
    prep.targets(table, np.dtype(np.float32))
    stored = json.loads(json.dumps(prep.to_dict(), allow_nan=False))
    require(Preprocessing.from_dict(stored) == prep, "a stored preprocessing is the same")


# What read_table is called with for a table with holes, in the same way.
HOLE_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (".csv", {}),
    (".csv", {"na": ["-9", "x", "1.50"], "header": "no"}),
    (".csv", {"units": ["%", "EUR", "$"], "comment": "#"}),
    (".csv", {"units": ["kg"], "decimal": ",", "thousands": ".", "na": ["-9"]}),
    (".csv", {"date_formats": ["%d.%m.%Y", "%Y%m%d", "%H:%M %Y"]}),
    (".csv", {"encoding": "cp1252", "delimiter": ";"}),
    (".csv", {"encoding": "utf-16-le"}),
    (".tsv", {"categorical": ["1"]}),
    (".csv.gz", {}),
    (".csv.xz", {"comment": "%"}),
)


def _xz(text: bytes) -> bytes:
    return lzma.compress(text, preset=0)  # others take 90 MB


def read_table_with_holes(data: bytes, folder: Path) -> None:
    ending, options = HOLE_OPTIONS[data[0] % len(HOLE_OPTIONS)] if data else (".csv", {})
    path = folder / f"table{ending}"
    compress = {".csv.gz": gzip.compress, ".csv.xz": _xz}.get(ending, bytes)
    # of a compressed file, either the text or the file is forged
    path.write_bytes(compress(data[1:]) if len(data) % 2 else data[1:])
    limits: dict[str, Any] = {"max_bytes": _MAX_BYTES}
    report = inspect(path, target="1", **options, **limits)
    check_text(str(report), _MIB)
    for column in report.columns:
        for each in (*column.warnings, *column.notes):
            check_text(each)
    json.dumps(report.to_dict(), allow_nan=False)
    require(report.n_rows > 0, "a table has rows")
    table = read_table(path, missing="keep", dates="parse", **options, **limits)
    require(not np.isinf(table.values).any(), "numbers of a table are finite")
    for note in table.notes:
        check_text(note)
    for i in range(len(table.names)):
        texts, days = table.text.get(i), table.dates.get(i)
        if texts is not None:
            require(all(t is None or t == t.strip() != "" for t in texts.tolist()), "no empty text")
        if texts is not None or days is not None:
            require(np.isnan(table.values[:, i]).all(), "a column has one kind of cells")
    kinds = {
        "categorical": [table.names[i] for i in table.text],
        "dated": [table.names[i] for i in table.dates],
    }
    options = {**options, **limits, **kinds}
    again = read_features(path, table.names, missing="keep", dates="parse", **options)
    require(np.array_equal(again.values, table.values, equal_nan=True), "new rows are the same")


def read_array(data: bytes, folder: Path) -> None:
    path = folder / "array.npy"
    path.write_bytes(data)
    array = read_npy(path, max_bytes=_MAX_BYTES)
    require(array.dtype.kind in "biufcSUmM", f"the dtype is plain; got {array.dtype}")
    repr(array)
    _compare_with_numpy(array, lambda: np.load(path, allow_pickle=False))
    with contextlib.suppress(DataError):  # it may have text, or another number of dimensions
        require(read_table(path, max_bytes=_MAX_BYTES).n_rows > 0, "a table has rows")


def read_archive(data: bytes, folder: Path) -> None:
    path = folder / "arrays.npz"
    path.write_bytes(data)
    with open_npz(path, max_bytes=_MAX_BYTES) as archive:
        for name in archive.names:
            check_text(repr(archive.read(name)) + ".")
    with contextlib.suppress(DataError):
        require(read_table(path, max_bytes=_MAX_BYTES).n_rows > 0, "a table has rows")


def _compare_with_numpy(array: np.ndarray, read: Any) -> None:
    """The same array as NumPy reads, unless NumPy refuses the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = read()
        except (ValueError, OSError, TypeError, EOFError, SyntaxError, RecursionError):
            return  # what numpy.load raises for a bad file
    require(
        expected.dtype == array.dtype
        and expected.shape == array.shape
        and expected.tobytes() == array.tobytes(),
        f"numpy.load reads the same; it reads {expected.dtype} of shape {expected.shape}",
    )


def read_images(data: bytes, folder: Path) -> None:
    path = folder / "images-idx3-ubyte"
    path.write_bytes(data)
    array = read_idx(path, max_bytes=_MAX_BYTES)
    require(array.nbytes <= _MAX_BYTES and array.dtype.isnative, "an array within the limit")
    if data[:2] != b"\x1f\x8b":
        path.write_bytes(gzip.compress(data, 1))
        packed = read_idx(path, max_bytes=_MAX_BYTES)
        require(packed.tobytes() == array.tobytes(), "a packed file has the same array")


# ---- other files ------------------------------------------------------------------------------


def read_report(data: bytes, folder: Path) -> None:
    (folder / "report.json").write_bytes(data)
    report = bench_file.read(folder / "report.json")
    bench_file.write(report, folder / "again.json")
    require(_same(bench_file.read(folder / "again.json"), report), "a written report is the same")


def append_to_log(data: bytes, folder: Path) -> None:
    path = folder / "log.csv"
    path.write_bytes(data)
    net = Network(WIDTHS, seed=0)
    try:
        net.fit(X, Y, epochs=1, callbacks=[CSVLogger(path, append=True)])
    finally:
        require(path.read_bytes().startswith(data), "what a log has is kept")


# ---- the command ------------------------------------------------------------------------------

# A command line may consist of these; other words would name files elsewhere, or take hours.
COMMAND_WORDS = (
    *("predict", "train", "model", "table.csv", "out", "-o", "-q", "--proba", "--keep", "1", "-1"),
    *("--unknown", "ignore", "error", "--target", "y", "x", "--drop", "--task", "classification"),
    *(
        "regression",
        "--delimiter",
        ";",
        ",",
        "tab",
        "--decimal",
        "--thousands",
        ".",
        "'",
        "--header",
    ),
    *("yes", "no", "auto", "--max-bytes", "1K", "0", "1M", "--hidden", "4", "none", "4,4", "2"),
    *("--activation", "tanh", "prelu(0.1, per=unit)", "--batch-size", "--lr", "0.1", "--optimizer"),
    *("adam", "sgd", "--schedule", "cosine", "--seed", "--loss", "huber", "--dtype", "float64"),
    *("--matmul-precision", "medium", "--l2", "1e-3", "--dropout", "0.5", "--hold-out", "0.5"),
    *(
        "--validation-split",
        "0.3",
        "--patience",
        "3",
        "--no-standardize",
        "--categorical",
        "--help",
    ),
    *("--accumulate", "--clip-norm", "nan", "inf", "-0", "1e400", "é", "9" * 50, "digits", ""),
)


def run_command(data: bytes, folder: Path) -> None:
    """A JSON object: `argv`, words of COMMAND_WORDS; `table`, text; `model`, Latin-1 of a file."""
    try:
        case = json.loads(data)
        argv, table, model = case["argv"], case["table"], case["model"].encode("latin-1")
        argv = [word for word in argv if word in COMMAND_WORDS][:24]
        (folder / "table.csv").write_bytes(table.encode("utf-8", "surrogateescape"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return  # not a case, so nothing is tested
    if argv[:1] not in (["predict"], ["train"]):
        return
    (folder / "model").write_bytes(model)
    (folder / "out").write_bytes(b"before")
    code, out, err = _run(argv + ["--epochs", "1"] * (argv[0] == "train"), folder)
    require(code in (0, 1, 2), f"the exit code is 0, 1 or 2; got {code}")
    require("Traceback" not in err, f"no traceback; got {err[-500:]}")
    require(code == 0 or "error: " in err, f"a failure says why; got {err[:200]!r}")
    if err:
        check_text(err[-4000:].replace("\r", ""))  # of the bar of progress
    if argv[0] == "train":  # predictions repeat the texts of a table as they are
        check_text("." + out[-4000:])
    if code:
        require((folder / "out").read_bytes() == b"before", "a failure keeps the old output")


def _run(argv: list[str], folder: Path) -> tuple[object, str, str]:
    """The exit code of a command line, and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    before = os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code: object = main(argv)
            except SystemExit as leave:
                code = leave.code
    finally:
        os.chdir(before)
    return code, out.getvalue(), err.getvalue()


# ---- the environment --------------------------------------------------------------------------

VARIABLES = ("FASTBP_ISA", "FASTBP_TUNE", "FASTBP_NUM_THREADS", "OMP_NUM_THREADS")
_IMPORT = "import fastbp; print(fastbp.Network((2, 1), seed=0).predict([[1, 2]]).shape)"


def read_environment(data: bytes, folder: Path) -> None:
    """Lines of VARIABLE=value, with which a new process imports fastbp."""
    environment = {os.fsencode(k): os.fsencode(v) for k, v in os.environ.items()}
    environment[b"PYTHONPATH"] = os.fsencode(os.pathsep.join(filter(None, sys.path)))
    given = []
    for line in data.replace(b"\0", b"").splitlines()[:4]:
        name, _, value = line.partition(b"=")
        if name.decode("latin-1") in VARIABLES:
            environment[name] = value[:1000]
            given.append(name.decode())
    command = [sys.executable, "-W", "error", "-c", _IMPORT]
    found = subprocess.run(command, capture_output=True, env=environment, check=False)
    text = found.stderr.decode("utf-8", "replace")
    if found.returncode == 0:
        require(not text, f"an import prints nothing; got {text[:300]!r}")
        return
    require(
        found.returncode == 1, f"a failing import raises; got {found.returncode}, {text[-300:]}"
    )
    last = text.strip().splitlines()[-1]
    require(last.startswith("ImportError: "), f"an ImportError; got {last[:300]!r}")
    require(any(name in last for name in given), f"the error names the variable: {last[:300]!r}")
    check_text(last)
    raise ImportError(last)


# ---- the list ---------------------------------------------------------------------------------

FORMULA_WORDS = change.of_words(
    *(" " * 2000, ") " * 500),
    *(
        "z",
        "a",
        "y",
        "beta",
        "1",
        "0",
        "-1",
        "2.5e3",
        "1e400",
        "1e-400",
        "1e308",
        "+",
        "-",
        "*",
        "/",
    ),
    *(
        "**",
        "(",
        ")",
        ",",
        " ",
        "\n",
        "; ",
        "s1 = ",
        "s1",
        "=",
        "<",
        ">=",
        "sigmoid(",
        "exp(",
        "log(",
    ),
    *(
        "sum(",
        "mean(",
        "max(",
        "logsumexp(",
        "where(",
        "maximum(",
        "sqrt(",
        "tanh(",
        "abs(",
        "less(",
    ),
    *("sum_like(", "broadcast_like(", "where(z > 0, z, ", "beta=1.0", ", per=unit", ", per=layer"),
    *(
        ", targets=classes",
        ", score=r2",
        "formula(",
        "__import__('os')",
        "é",
        "\x00",
        "\x1b[2J",
        "٤",
    ),
)
CSV_WORDS = change.of_words(
    *(" " * 2000, "1" * 2000),
    *(",", ";", "\t", " ", '"', '""', "\n", "\r\n", "\r", "'", ".", "1", "0", "-", "+", "e", "E5"),
    *("1e308", "1e-320", "1e999", "nan", "NA", "inf", "007", "1.234,5", "1,234.5", "1'000", "true"),
    *(
        "9007199254740993",
        "18446744073709551616",
        "\x00",
        "\ufeff",
        "\x1b[2J",
        "é",
        "\udcff",
        "\u2028",
    ),
    *("x" * 70, "2020-01-01", "12:30", "$5", "5 %", "#N/A", "null", "y"),
)
NAME_WORDS = change.of_words(
    *("activation=", "output=", "loss=", "init=", "dtype=", "matmul_precision=", "optimizer="),
    *("schedule=", "metrics=", "every=", "\n", "(", ")", ",", " ", "relu", "leaky_relu(", "prelu("),
    *(
        "per=unit",
        "huber(",
        "quantile(",
        "cross_entropy",
        "softmax",
        "focal",
        "lbfgs",
        "adam",
        "sgd",
    ),
    *(
        "top_k_accuracy(",
        "cosine",
        "one_cycle",
        "plateau",
        "normal(",
        "uniform(",
        "zeros",
        "1",
        "-1",
    ),
    *("0.5", "1e400", "nan", "inf", "9" * 5000, "float32", "float64", "high", "medium", "10 s"),
    *(
        "1 epoch",
        "500 steps",
        "é",
        "\x1b[2J",
        "\x00",
        "\udcff",
        "formula(z",
        "x" * 3000,
        " " * 2000,
        "ı",
        "İ",
    ),
)
ENVIRONMENT_WORDS = change.of_words(
    *(
        "FASTBP_ISA=",
        "FASTBP_TUNE=",
        "FASTBP_NUM_THREADS=",
        "OMP_NUM_THREADS=",
        "\n",
        "scalar",
        "avx2",
    ),
    *(
        "amx",
        "AVX512",
        " ",
        ",",
        "1",
        "0",
        "-1",
        "1024",
        "1025",
        "9" * 30,
        "é",
        "\udcff",
        "\x1b[2J",
    ),
    *("٤", "0x10", "1e3", "x" * 900, "zen4", "\t", "+2", "1_0"),
)


def of_command(data: bytes, rng: Any, others: Any) -> bytes:
    """Change words of the command line, the table, or the model of a case."""
    try:
        case = json.loads(data)
        argv, table, model = list(case["argv"]), case["table"], case["model"].encode("latin-1")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return change.of_json(data, rng, others)
    what = rng.random()
    if what < 0.3:
        at = rng.randrange(len(argv) + 1)
        argv[at : at + rng.randrange(2)] = rng.choices(COMMAND_WORDS, k=rng.randint(1, 2))
    elif what < 0.65:
        changed = CSV_WORDS(table.encode("utf-8", "surrogateescape"), rng, [])
        table = changed.decode("utf-8", "surrogateescape")
    else:
        model = change.of_safetensors(model, rng, [])
    case = {"argv": argv, "table": table, "model": model.decode("latin-1")}
    return json.dumps(case).encode()


_b, _s = change.of_bytes, change.stacked
_TARGETS = (
    Target("model", read_model, (ModelFileError,), _s(change.of_safetensors), "model",
           memory=(16 * _MIB, 200)),
    Target("optimizer", read_optimizer, (ModelFileError,), _s(change.of_safetensors), "optimizer"),
    Target("checkpoint", resume, (ValueError, TypeError, DivergenceError),
           _s(change.of_files(change.of_signed_safetensors, 2)), "run", memory=(16 * _MIB, 200)),
    Target("formula", read_formula, (ValueError,), _s(FORMULA_WORDS, FORMULA_WORDS, _b),
           memory=(64 * _MIB, 8000)),
    # an ImportError: L-BFGS needs SciPy
    Target("names", read_names, (ValueError, TypeError, DivergenceError, ImportError),
           _s(NAME_WORDS, NAME_WORDS, _b), memory=(16 * _MIB, 200)),
    Target("table", read_csv_table, (DataError,), _s(CSV_WORDS, CSV_WORDS, _b), "table.csv",
           memory=(16 * _MIB, 500)),
    Target("holes", read_table_with_holes, (DataError,), _s(CSV_WORDS, CSV_WORDS, _b), "table.",
           memory=(16 * _MIB, 500)),
    Target("npy", read_array, (DataError,), _s(change.of_npy), "array.npy"),
    Target("npz", read_archive, (DataError,), _s(change.of_npz), "arrays.npz"),
    Target("idx", read_images, (DataError,), _s(_b, change.of_gzip), "images-idx3-ubyte"),
    Target("bench_report", read_report, (ValueError,), _s(change.of_json, change.of_json, _b),
           "report.json"),
    Target("csv_log", append_to_log, (ValueError,), _s(CSV_WORDS, _b), "log.csv"),
    Target("command", run_command, (), _s(of_command, most=3), memory=(32 * _MIB, 500)),
    Target("environment", read_environment, (ImportError,), _s(ENVIRONMENT_WORDS, most=3),
           traced=False),
)  # fmt: skip
TARGETS = {target.name: target for target in _TARGETS}
