"""Time and peak memory of reading a .csv file of numbers, compared with pandas in the same run.

    python benchmarks/csv_reader.py [--rows 100000] [--columns 31] [--rounds 7] [--folder DIR]

The file holds normal random numbers with all their digits; 100,000 × 31 of them take 61 MB. Each
reader reads the file in its own process, and the readers take turns. For each reader, the program
prints the shortest wall-clock time in seconds and the peak resident memory of the process. The
readers may use several threads. pandas is left out if it is not installed. Its default parser may
differ from the nearest double by one ulp; the result of fastbp is always the nearest double.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

READERS = {
    "fastbp": ("from fastbp.tabular import read_table", "read_table({path!r})"),
    "pandas": ("import pandas", "pandas.read_csv({path!r})"),
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=31)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", default=None)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "numbers.csv"
        with open(path, "w") as file:
            print(*(f"c{j}" for j in range(args.columns)), sep=",", file=file)
            for _ in range(args.rows):
                print(*rng.normal(size=args.columns).tolist(), sep=",", file=file)
        names = [name for name in READERS if importlib.util.find_spec(name)]
        found = {name: [] for name in names}
        for _ in range(args.rounds):
            for name in names:
                found[name].append(measure(name, path))
        print(f"{path.stat().st_size / 1e6:.0f} MB, {args.rows} × {args.columns}")
        for name in names:
            seconds, peak = (min(values) for values in zip(*found[name], strict=True))
            print(f"{name:8}{seconds:8.2f} s {peak:8.0f} MiB")


if __name__ == "__main__":
    main()
