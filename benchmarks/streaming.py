"""Speed of training from a stream, as a share of the speed on the same arrays in memory.

    python benchmarks/streaming.py [--rows 60000] [--rounds 7] [--threads 2] [--folder DIR]

The network is 784-512-512-10 with relu and cross-entropy, batch size 128, Adam, float32. An epoch
in memory and epochs from several kinds of streams take turns, first in one order and then in the
reverse order. The files are written to DIR, by default a temporary folder. They are read from the
page cache if there is enough memory. Each share compares epochs of the same round; the program
prints the median and the quartiles.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import fastbp

WIDTHS, BATCH = (784, 512, 512, 10), 128


def network():
    return fastbp.Network(WIDTHS, output="softmax", loss="cross_entropy", seed=0)


def on_disk(folder, name, array):
    """Write the array to a file and return a read-only memmap of it."""
    path = Path(folder) / name
    array.tofile(path)
    return np.memmap(path, array.dtype, "r", shape=array.shape)


def sources(folder, rows):
    """Return {name: positional arguments of `fit`}; the first entry is the baseline."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(rows, WIDTHS[0]), dtype=np.uint8)
    y = rng.integers(WIDTHS[-1], size=rows).astype(np.int32)
    X = pixels.astype(np.float32) / 255
    floats, narrow = on_disk(folder, "float32", X), on_disk(folder, "uint8", pixels)

    def blocks():
        for first in range(0, rows, 8192):
            yield X[first : first + 8192], y[first : first + 8192]

    return {
        "in memory": (X, y),
        "memmap, no stream": (floats, y),
        "stream of a memmap": (fastbp.stream(floats, y),),
        "stream, block_rows=2048": (fastbp.stream(floats, y, block_rows=2048),),
        "stream of uint8": (fastbp.stream(narrow, y),),
        "stream of a generator": (fastbp.stream(blocks),),
    }


def measure(source, epochs, threads):
    """Return the seconds of an epoch; the learning rate is so small that weights hardly change."""
    net = network()
    if len(source) == 2 and source[0].dtype == np.uint8:
        net.layers[0].W /= 255
    options = {"batch_size": BATCH, "optimizer": fastbp.optim.Adam(1e-6), "n_threads": threads}
    began = time.perf_counter()
    net.fit(*source, epochs=epochs, **options)
    return (time.perf_counter() - began) / epochs


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rows", type=int, default=60_000, help="number of samples (default: 60000)"
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="number of measurements of each (default: 7)"
    )
    parser.add_argument("--epochs", type=int, default=1, help="epochs of a fit (default: 1)")
    parser.add_argument("--threads", type=int, default=2, help="threads of the engine (default: 2)")
    parser.add_argument("--folder", help="folder for the files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        programs = sources(folder, args.rows)
        times = {name: [] for name in programs}
        for turn in range(args.rounds + 1):  # the first round is a warm-up
            for name in list(programs)[:: 1 if turn % 2 else -1]:
                seconds = measure(programs[name], args.epochs, args.threads)
                if turn:
                    times[name].append(seconds)
    base = np.array(times["in memory"])
    for name, seconds in times.items():
        low, share, high = 100 * np.quantile(base / np.array(seconds), [0.25, 0.5, 0.75])
        ms = 1e3 * np.median(seconds)
        print(f"{name:25}{ms:9.1f} ms per epoch{share:8.1f} %   ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
