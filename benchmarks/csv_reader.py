"""Time and peak memory of reading .csv files, compared with other readers in the same run.

    python benchmarks/csv_reader.py [--rows 100000] [--columns 31] [--rounds 7] [--folder DIR]

One file holds normal random numbers with all their digits; 100,000 × 31 of them take 61 MB. The
other is as tables are: of 31 columns, 22 are numbers with holes and cells NA, 6 are text of some 5
to 20,000 levels, 2 are dates, and one names the rows. Each reader reads a file in its own process,
and the readers take turns. For each reader, the program prints the shortest wall-clock time in
seconds and the peak resident memory of the process. The readers may use several threads. Those
that are not installed are left out. The result of fastbp is always the nearest double; the default
parser of pandas may differ from it by one ulp. fastbp parses dates and finds the distinct texts of
each column; the others read the second file as they do by themselves.
"""

import argparse
import importlib.util
import multiprocessing
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

KEEP = "missing='keep', dates='parse'"
READERS = {
    "fastbp": ("from fastbp.tabular import read_table", f"read_table({{path!r}}, {KEEP})"),
    "pandas": ("import pandas", "pandas.read_csv({path!r})"),
    "polars": ("import polars", "polars.read_csv({path!r}, null_values='NA')"),
    "pyarrow": ("from pyarrow import csv", "csv.read_csv({path!r})"),
}
MEASURE = """
import resource, sys, time
{imports}
start = time.perf_counter()
table = {call}
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
KIB_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1


def measure(name, path):
    """Return (seconds, peak MiB) of one reader."""
    imports, call = READERS[name]
    program = MEASURE.format(imports=imports, call=call.format(path=str(path)))
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak * KIB_PER_UNIT / 1024


def write_numbers(path, rows, columns):
    """Write normal random numbers."""
    rng = np.random.default_rng(0)
    with open(path, "w") as file:
        print(*(f"c{j}" for j in range(columns)), sep=",", file=file)
        for _ in range(rows):
            print(*rng.normal(size=columns).tolist(), sep=",", file=file)


def write_mixed(path, rows, columns):
    """Write a table of numbers, texts and dates, with holes."""
    rng = np.random.default_rng(1)
    cells = [[f"C{i:07}" for i in range(rows)]]
    for j in range(columns - 2):
        hole = rng.random(rows) < 0.05
        if j % 4 == 3:
            levels = [f"level {i}" for i in range(5 * 4 ** min(j // 4, 6))]
            found = np.array(levels)[rng.integers(len(levels), size=rows)].tolist()
        elif j in (0, 1):
            days = np.datetime64("2020-01-01") + rng.integers(2000, size=rows)
            found = days.astype(str).tolist()
        elif j % 4 == 1:
            found = list(map(str, rng.integers(100, size=rows).tolist()))
        else:
            found = list(map(repr, rng.normal(size=rows).tolist()))
        blank = "NA" if j % 4 == 2 else ""
        cells.append([blank if h else cell for h, cell in zip(hole, found, strict=True)])
    cells.append(["yes" if bit else "no" for bit in rng.random(rows) < 0.3])
    with open(path, "w") as file:
        print(*(f"c{j}" for j in range(columns)), sep=",", file=file)
        for row in zip(*cells, strict=True):
            print(*row, sep=",", file=file)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=31)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", default=None)
    args = parser.parse_args()
    names = [name for name in READERS if importlib.util.find_spec(name)]
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for kind, write in (("numbers", write_numbers), ("mixed", write_mixed)):
            path = Path(folder) / f"{kind}.csv"
            # in a process of its own: the peak of a child begins at the size of its parent
            writer = multiprocessing.Process(target=write, args=(path, args.rows, args.columns))
            writer.start()
            writer.join()
            found = {name: [] for name in names}
            for _ in range(args.rounds):
                for name in names:
                    found[name].append(measure(name, path))
            size = path.stat().st_size / 1e6
            print(f"{kind}: {size:.0f} MB, {args.rows} × {args.columns}")
            for name in names:
                seconds, peak = (min(values) for values in zip(*found[name], strict=True))
                print(f"{name:8}{seconds:8.2f} s {peak:8.0f} MiB")


if __name__ == "__main__":
    main()
