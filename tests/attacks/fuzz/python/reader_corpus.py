"""The corpus of the readers: valid inputs to begin with, and one input for each fault found.

    python tests/attacks/fuzz/python/reader_corpus.py     # writes the valid inputs again

Valid inputs are named `valid-…`, so that a new layout of files can renew them; all others are kept.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import reader_mutations as change
import reader_targets

import fastbp
from fastbp import gates, optim
from fastbp._cli.main import main as command
from fastbp.io import save
from fastbp.tabular import TableEncoder, TableModel

CORPUS = Path(__file__).parents[1] / "corpus"


def seeds_of(name: str) -> dict[str, bytes]:
    """The inputs of a target by name; only those that are committed."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}


# ---- valid inputs -----------------------------------------------------------------------------


def models(folder: Path) -> dict[str, bytes]:
    """A file of each version, of the command, and of a population."""
    swish = gates.activation(lambda z, beta: z * gates.sigmoid(beta * z), beta=1.0, per="unit")
    loss = gates.loss(lambda a, y: gates.mean((a - y) ** 2), score="r2")
    dense = fastbp.Dense
    nets = {
        "valid-1": fastbp.Network((2, 3, 2), output="softmax", loss="cross_entropy", seed=1),
        "valid-1-float64": fastbp.Network((2, 2), dtype="float64", l2=0.1, seed=1),
        "valid-2": fastbp.Network.from_layers(
            3,
            [
                dense(3, "leaky_relu(0.1)", norm="layer", residual=True, dropout=0.1),
                dense(1, "identity", bias=False, max_norm=2.0),
            ],
            loss="huber(0.5)",
            seed=1,
            input_dropout=0.2,
        ),
        "valid-3": fastbp.Network((2, 3, 2), matmul_precision="medium", seed=1),
        "valid-4": fastbp.Network((2, 3, 2), activation=swish, loss=loss, seed=1),
        "valid-4-prelu": fastbp.Network((2, 3, 2), activation="prelu(0.1, per=unit)", seed=1),
    }
    named = fastbp.Network((2, 3, 2), seed=1)
    named.feature_names = ["a", "b"]
    nets["valid-5"] = named
    found = {}
    for name, net in nets.items():
        save(net, folder / "model")
        found[name] = (folder / "model").read_bytes()
    for name, (text, options) in TABLES.items():
        found[f"valid-table-{name}"] = trained(folder, text, options)
    fastbp.Population([nets["valid-1"], nets["valid-1-float64"], nets["valid-5"]]).save(
        folder / "model"
    )
    found["valid-population"] = (folder / "model").read_bytes()
    for name, y in (("classes", ["a", "b", "b", "a"] * 5), ("numbers", np.arange(20) / 8)):
        found[f"valid-table-model-{name}"] = table_model(folder, y)
    found["valid-table-model-codes"] = table_model(folder, y, high_cardinality="codes")
    return found


def table_model(folder: Path, y: object, **options: Any) -> bytes:
    """The file of a small TableModel, whose table has columns of all kinds, with holes."""
    days = np.datetime64("2020-01-01") + np.arange(20) * 40
    days[3] = "NaT"
    columns = {
        "size": [1.5, None, 2.0, 4.0] * 5,
        "colour": ["red", "blue", "red", None, "green"] * 4,
        "day": days,
        "word": [f"w{i % 10}" for i in range(20)],
    }
    encoder = TableEncoder(pieces=2, max_one_hot=3, **options)
    model = TableModel("fast", n_members=2, epochs=1, encoder=encoder, seed=1).fit(columns, y)
    n_outputs, levels = model.networks[0].widths[-1], model.encoder.code_levels
    output = model.networks[0].activations[-1].name
    loss = "cross_entropy" if output == "softmax" else "squared_error"
    categories = fastbp.Categories(levels, 2) if levels else None
    layers = [fastbp.Dense(2, "relu", categories=categories), fastbp.Dense(n_outputs, output)]
    model.networks = [
        fastbp.Network.from_layers(model.encoder.n_inputs, layers, loss=loss, seed=k)
        for k in (1, 2)
    ]
    model.save(folder / "model")
    return (folder / "model").read_bytes()


# What the command trains models of: the text of a table, and options.
TABLES = {
    "classes": ("size,colour,y\n1,red,a\n2,blue,b\n3.5,red,a\n4,green,b\n5,red,a\n6,red,b\n", ""),
    "numbers": (
        "a;b;y\n1,5;2;0,5\n2,5;3;1,5\n3;4;2,25\n1.000,5;5;7\n",
        "--delimiter ; --decimal ,",
    ),
}


def trained(folder: Path, text: str, options: str) -> bytes:
    (folder / "table.csv").write_text(text)
    argv = ["train", str(folder / "table.csv"), "-o", str(folder / "model"), "-q", "--epochs", "1"]
    task = ["--task", "classification"] if "red" in text else ["--thousands", "."]
    more = ["--hidden", "2", "--seed", "1", "--hold-out", "0", *task, *options.split()]
    if command(argv + more) != 0:
        raise RuntimeError("the command failed")
    return (folder / "model").read_bytes()


def optimizers(folder: Path) -> dict[str, bytes]:
    made = {
        "valid-new": optim.Adam(0.5),
        "valid-adam": optim.Adam(0.01, amsgrad=True, ema=0.9),
        "valid-sgd": optim.SGD(0.1, momentum=0.9, nesterov=True, clip_norm=1.0),
        "valid-rmsprop": optim.RMSprop(0.01, lr_factors=(0.1, 1.0)),
    }
    found = {}
    for name, optimizer in made.items():
        if name != "valid-new":
            net = fastbp.Network(reader_targets.WIDTHS, seed=1)
            net.fit(reader_targets.X, reader_targets.Y, epochs=1, optimizer=optimizer)
        optimizer.save(folder / "optimizer")
        found[name] = (folder / "optimizer").read_bytes()
    return found


def checkpoints(folder: Path) -> dict[str, bytes]:
    run, files = folder / "run", []
    for epochs in (1, 2):
        net, optimizer = fastbp.Network(reader_targets.WIDTHS, seed=1), optim.Adam(0.01)
        reader_targets.fit_with_checkpoints(net, optimizer, run, epochs)
        files = [(run / f"checkpoint-{i}.safetensors") for i in (0, 1)]
        files = [path.read_bytes() if path.exists() else b"" for path in files]
    one, two = files
    return {
        "valid-pair": change.joined(one, two),
        "valid-alone": change.joined(b"", one or two),
        "valid-same-twice": change.joined(two, two),
        "valid-one-cut": change.joined(one, two[:200]),
        "valid-none": change.joined(b"", b""),
    }


def formulas(folder: Path) -> dict[str, bytes]:
    texts = (
        "aformula(z * sigmoid(beta * z), beta=1.0)",
        "aformula(where(z > 0, z, alpha * (exp(z) - 1)), alpha=0.5, per=unit)",
        "aformula(s1 = z ** 2; s2 = tanh(s1 + -1e-3); s2 / (1 + abs(s1)))",
        "lformula(mean((a - y) ** 2), score=r2)",
        "lformula(logsumexp(a) - sum(a * y), targets=classes)",
        "lformula(sum(where(abs(a - y) < 1, (a - y) ** 2 / 2, abs(a - y) - 0.5)))",
        "lformula(max(a) * sqrt(sum(y ** 2) + 1) - minimum(mean(a), 2))",
    )
    return {f"valid-{i}": text.encode() for i, text in enumerate(texts)}


def names(folder: Path) -> dict[str, bytes]:
    texts = (
        "activation=leaky_relu(0.1)\noutput=identity\nloss=huber(0.5)\ninit=he_normal",
        "activation=prelu(0.1, per=unit)\ndtype=float64\nloss=quantile(0.9)\nmetrics=r2",
        "output=softmax\nloss=cross_entropy\noptimizer=adam\nschedule=cosine\nmetrics=accuracy",
        "activation=formula(z * sigmoid(beta * z), beta=1.0)\nmatmul_precision=medium\nevery=10 s",
        "optimizer=lbfgs\nevery=1 epoch",
        "schedule=plateau\nmetrics=top_k_accuracy(2)\nloss=mse",
    )
    return {f"valid-{i}": text.encode() for i, text in enumerate(texts)}


def tables(folder: Path) -> dict[str, bytes]:
    texts = (
        TABLES["classes"][0],
        "a,b,y\n1,2,3.5\n4,5,6.25\n7,8,9\n",
        "1,2,0\n3,4,1\n5,6,0\n",
        "a;b;y\n1,5;2;0,5\n2,5;3;1,5\n",
        "a;b;y\n1.001,5;2;0,5\n2,5;3;1,5\n",
        "1 2 3\n4  5 6\n 7 8 9\n",
        "y\ta\n1.5\t2\n2.5\t3\n",
        "a;y\n1'000;2\n3;4\n",
        '"a","b","y"\n"1,000","2",3\n4,"x ""y""",6\n',
        ",a,y\n0,1,2\n1,3,4\n2,5,6\n",
    )
    return {f"valid-{i}": bytes([i]) + text.encode() for i, text in enumerate(texts)}


def tables_with_holes(folder: Path) -> dict[str, bytes]:
    texts = (
        b"a,b,y\n1,NA,0\n,x,1\nnan,,0\n",
        b"1,-9,0\nx,3,1\n1.5,5,0\n",
        b"#n\na,b,y\n5%,$1,0\n-3 %,EUR 2,1\n",
        b'a;b;y\n"1.234,5 kg";-9;0\n2kg;;1\n',
        b"d,e,y\n31.12.2026,20260531,0\n,20260601,1\n",
        "a;y\n\u00e4;0\n\u20ac;1\n".encode("cp1252"),
        "a,y\n1,0\n2,1\n".encode("utf-16-le"),
        b"d\tt\ty\n2026-05-31\ttrue\t0\n2026-06-01T10:00Z\tFALSE\t1\n",
        b"f,y\nf,0\n4,1\nr,0\nf,1\n",
        b"land,1970,1971,1972\nDE,1,2,3\n001,4,,6\n",
    )
    return {f"valid-{i}": bytes([i]) + text for i, text in enumerate(texts)}


def _npy(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def arrays(folder: Path) -> dict[str, bytes]:
    return {
        "valid-f8": _npy(np.arange(12.0).reshape(4, 3)),
        "valid-fortran": _npy(np.asfortranarray(np.arange(12, dtype=">i4").reshape(4, 3))),
        "valid-text": _npy(np.array(["a", "bé"])),
        "valid-bool": _npy(np.eye(3, dtype=bool), version=(2, 0)),
        "valid-bytes": _npy(np.array([[b"a", b"bcd"]]), version=(3, 0)),
    }


def archives(folder: Path) -> dict[str, bytes]:
    numbers, text = _npy(np.arange(8.0).reshape(4, 2)), _npy(np.array(["a", "b", "a", "b"]))
    return {
        "valid-stored": change.archive_of([("X.npy", numbers), ("y.npy", text)], 0),
        "valid-deflated": change.archive_of([("X.npy", numbers), ("y.npy", text)], 8),
        "valid-other-name": change.archive_of([("../z.npy", numbers), ("y.npy", text)], 0),
        "valid-bomb": change.archive_of([("X.npy", _npy(np.zeros((2000, 60))))], 8),
    }


def images(folder: Path) -> dict[str, bytes]:
    plain = b"\0\0\x08\3" + b"".join(n.to_bytes(4, "big") for n in (2, 3, 2)) + bytes(range(12))
    floats = b"\0\0\x0d\1\0\0\0\2" + np.array([1.5, np.nan], ">f4").tobytes()
    return {
        "valid-uint8": plain,
        "valid-float32": floats,
        "valid-empty": b"\0\0\x0b\2\0\0\0\0\0\0\0\3",
        "valid-packed": gzip.compress(plain, mtime=0),
    }


def reports(folder: Path) -> dict[str, bytes]:
    """The shortest reports that the reader takes: one of each version of the layout."""
    machine = {"cpu": "x", "isa": "avx2", "isa_available": ["avx2"], "cores": 2, "threads": 2}
    new = {"schema": "fastbp-bench/2", "machines": []}
    old = {"schema": "fastbp-bench/1", "date": "2026", "machine": machine, "options": {},
           "failures": [], "results": []}  # fmt: skip
    return {f"valid-{i}": json.dumps(x).encode() for i, x in enumerate((new, old))}


def logs(folder: Path) -> dict[str, bytes]:
    return {
        "valid-new": b"",
        "valid-same": b"epoch,loss,lr,samples_per_second\n0,0.5,0.01,1000.0\n",
        "valid-other": b"epoch,val_loss\n",
    }


def commands(folder: Path) -> dict[str, bytes]:
    found = {}
    for name, (text, options) in TABLES.items():
        model = trained(folder, text, options).decode("latin-1")
        rows = text.replace(",a\n", "\n").replace(",b\n", "\n") if name == "classes" else text
        for argv in (["predict", "model", "table.csv"], ["train", "table.csv", "-o", "out"]):
            more = options.split() if argv[0] == "train" else options.split()[:2]
            if argv[0] == "predict" and name == "classes":
                more = ["--proba", "--keep", "1", "-o", "out"]
            table = text if argv[0] == "train" else rows
            case = {"argv": argv + more, "table": table, "model": model}
            found[f"valid-{argv[0]}-{name}"] = json.dumps(case).encode()
    return found


def environments(folder: Path) -> dict[str, bytes]:
    return {
        "valid-isa": b"FASTBP_ISA=scalar\nFASTBP_NUM_THREADS=1",
        "valid-tune": b"FASTBP_TUNE=generic\nOMP_NUM_THREADS=4,2",
        "no-isa": b"FASTBP_ISA=sse9",
        "no-number": b"FASTBP_NUM_THREADS=0",
        "not-utf-8": b"FASTBP_TUNE=\xff\xfe",
    }


MAKERS = {
    "model": models,
    "optimizer": optimizers,
    "checkpoint": checkpoints,
    "formula": formulas,
    "names": names,
    "table": tables,
    "holes": tables_with_holes,
    "npy": arrays,
    "npz": archives,
    "idx": images,
    "bench_report": reports,
    "csv_log": logs,
    "command": commands,
    "environment": environments,
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    for name, make in MAKERS.items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            seeds = make(Path(scratch))
        for seed, content in seeds.items():
            (folder / seed).write_bytes(content)
        print(f"{name}: {', '.join(seeds)}")


if __name__ == "__main__":
    main()
