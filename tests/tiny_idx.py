"""Writes IDX files with a few tiny images."""

import gzip
import struct

import numpy as np

CODES = {8: "u1", 9: "i1", 11: "i2", 12: "i4", 13: "f4", 14: "f8"}


def idx(array, code=8):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(">" + CODES[code]).tobytes()


def write_folder(folder, *, packed=False, n_train=12, n_test=6, **replaced):
    """Write the four files of a data set of tiny images, with some of them replaced."""
    rng = np.random.default_rng(5)
    contents = {}
    for part, n in (("train", n_train), ("t10k", n_test)):
        contents[f"{part}_images"] = idx(rng.integers(0, 256, (n, 4, 3)))
        contents[f"{part}_labels"] = idx(np.arange(n) % 10)
    for name, content in (contents | replaced).items():
        part, kind = name.split("_")
        path = folder / f"{part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
        if packed:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)
    return folder
