"""Data sets for experiments: digits that come with fastbp, and Fashion-MNIST from its own files.

Images are float32 rows with the stored pixel values (0 to 16, or 0 to 255). Classes are int64.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict

import numpy as np

from .._checks.size_limit import MAX_BYTES
from .._public import present
from .._training.splits import hold_out
from .._types import Array
from ..errors import DataError
from ._idx import read_idx

__all__ = ["DIGITS_SPLIT", "digits_split", "load_digits", "load_fashion_mnist", "read_idx"]

FASHION_MNIST_FOLDER = "/usr/share/datasets/fashion-mnist"


class DigitsSplit(TypedDict):
    """The fraction of the digits that is held out, and the seed that selects them."""

    fraction: float
    seed: int


DIGITS_SPLIT: DigitsSplit = {"fraction": 0.25, "seed": 6}
"""The stratified quarter of the digits that is held out; README.md says what it represents."""

Split = tuple[Array, Array, Array, Array]


def load_digits() -> tuple[Array, Array]:
    """Load the 1,797 handwritten digits of the UCI optical recognition test set (CC BY 4.0).

    Source: Alpaydin & Kaynak, 1998, doi:10.24432/C50P49.

    Returns
    -------
    X : ndarray of shape (1797, 64), float32
        Images of 8×8 pixels, row by row; the values are whole numbers from 0 to 16.
    y : ndarray of shape (1797,), int64
        The digit that each image shows.

    Examples
    --------
    >>> X, y = load_digits()
    >>> X.shape, X.max(), y[:10]
    ((1797, 64), np.float32(16.0), array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as data:
        return data["X"].astype(np.float32), data["y"].astype(np.int64)


def digits_split() -> Split:
    """Return the data of `load_digits`, with a fixed quarter of the images held out.

    The 1,348 training images and the 449 test images contain each digit in the same proportion.
    The split is the same on every machine.

    Returns
    -------
    X_train, y_train, X_test, y_test : ndarray
        Images and classes as `load_digits` returns them.

    Examples
    --------
    >>> [part.shape for part in digits_split()]
    [(1348, 64), (1348,), (449, 64), (449,)]
    """
    X, y = load_digits()
    train, test = hold_out(len(y), DIGITS_SPLIT["fraction"], seed=DIGITS_SPLIT["seed"], labels=y)
    return X[train], y[train], X[test], y[test]


def load_fashion_mnist(
    folder: str | os.PathLike[str] | None = None, *, max_bytes: int = MAX_BYTES
) -> Split:
    """Load Fashion-MNIST or MNIST from its four IDX files.

    Source: Xiao, Rasul & Vollgraf, "Fashion-MNIST", arXiv:1708.07747, 2017 (MIT licence).

    Parameters
    ----------
    folder : str or path-like, default /usr/share/datasets/fashion-mnist
        The folder that contains `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two
        files of `t10k`, each of them uncompressed or ending in .gz. Debian's package puts them into
        the default folder.
    max_bytes : int, default 4 GiB
        See `read_idx`.

    Returns
    -------
    X_train, y_train, X_test, y_test : ndarray
        X has shape (n, pixels) and dtype float32, with values from 0 to 255. y has shape (n,) and
        dtype int64.

    Raises
    ------
    FileNotFoundError
        A file is missing; the message says where to get it.
    DataError
        A file is damaged, or the files do not belong together.
    """
    folder = Path(FASHION_MNIST_FOLDER if folder is None else folder)
    X_train, y_train = _read_part(folder, "train", max_bytes)
    X_test, y_test = _read_part(folder, "t10k", max_bytes)
    if X_train.shape[1] != X_test.shape[1]:
        raise DataError(
            f"{folder}: train images have {X_train.shape[1]} pixels, t10k images {X_test.shape[1]}"
        )
    return X_train, y_train, X_test, y_test


def _read_part(folder: Path, part: str, max_bytes: int) -> tuple[Array, Array]:
    images_path = _find(folder, f"{part}-images-idx3-ubyte")
    labels_path = _find(folder, f"{part}-labels-idx1-ubyte")
    images = read_idx(images_path, max_bytes=max_bytes)
    labels = read_idx(labels_path, max_bytes=max_bytes)
    if images.dtype != np.uint8 or images.ndim != 3 or images.size == 0:
        raise DataError(
            f"{images_path}: expected uint8 images of shape (n, height, width); "
            f"got {images.dtype} of shape {images.shape}"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{labels_path}: expected {len(images)} uint8 labels, one per image; "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    if labels.max() > 9:
        raise DataError(f"{labels_path}: labels must be 0 to 9; got {labels.max()}")
    return images.reshape(len(images), -1).astype(np.float32), labels.astype(np.int64)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{folder / name} or {name}.gz not found: give the folder that contains the files, or, "
        "on Debian and Ubuntu, run apt-get install dataset-fashion-mnist"
    )


present(__name__, __all__)
