"""The checks of shapes, dtypes and ranges. Messages say what was expected, what came, and a remedy.

A wrong type or dtype is a TypeError, a wrong size or value a ValueError. No check changes its
arguments. Arrays are copied only if their layout requires it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from .._types import Array, Rows, SparseRows, TargetRules
from .numbers import as_numbers, beyond
from .shapes import check_row_shape
from .sparse import as_sparse_rows, is_sparse
from .targets import check_pairs, check_target_values
from .words import counted

NO_FORWARD = "call forward(X) first: backward works on its z and a"
NO_BACKWARD = "call backward(y) first: there is no gradient yet"

# The dtypes of X, besides its own, that the engine reads in place; `convert` of the kernels.
READ = frozenset(np.dtype(code) for code in "?bBhHiIlLqQefd")

_INT32 = np.dtype(np.int32)  # comparing with the type np.int32 itself makes a dtype each time
_MAX_BYTES = 2**62
_FEW = 16  # up to 16 elements, Python numbers are faster than a reduction of NumPy


class DataNames(NamedTuple):
    """What messages call the arrays of a data set."""

    X: str = "X"
    y: str = "y"
    sample_weight: str = "sample_weight"


TRAINING = DataNames()
_PARTS = DataNames(*(f"validation_data[{i}]" for i in range(3)))

# ---- numbers ------------------------------------------------------------------------------


MAX_COUNT = 2**63 - 1  # of epochs, steps, samples, bytes


def check_positive_int(value: object, name: str) -> int:
    """A whole number from 1 to 2**63 - 1, as int."""
    return _whole(value, name, 1, "be at least 1", MAX_COUNT)


def check_at_most_all(value: object, name: str) -> int:
    """A whole number >= 1, such as a batch size, which may exceed what there is."""
    return _whole(value, name, 1, "be at least 1", math.inf)


def check_flag(value: object, name: str) -> bool:
    """True or False, as bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {value!r}")
    return bool(value)


def check_count(value: object, name: str) -> int:
    """A whole number from 0 to 2**63 - 1, as int."""
    return _whole(value, name, 0, "not be negative", MAX_COUNT)


def _whole(value: object, name: str, least: float, must: str, most: float) -> int:
    if type(value) is int:  # most are, and an instance check of Integral costs 0.5 µs
        number = value
    elif isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number; got {_shown(value)}")
    else:
        number = int(value)
    if number < least:
        raise ValueError(f"{name} must {must}; got {value}")
    if number > most:
        raise ValueError(f"{name} must be below 2**63; got {value}")
    return number


def check_layer(value: object, n_layers: int, name: str) -> int:
    """The number of a layer, 1 to n_layers, as int.

    >>> check_layer(2, 2, "layer")
    2
    >>> check_layer(0, 2, "layer")
    Traceback (most recent call last):
    ValueError: layer must be a layer, 1 to 2; got 0: layers count from 1, layer 0 is the inputs
    """
    l = _whole(value, name, -math.inf, "", math.inf)
    if 1 <= l <= n_layers:
        return l
    why = "layers count from 1"
    if l == 0:
        why += ", layer 0 is the inputs"
    elif l < 0:
        why += f", and the last is layer {n_layers}"
    raise ValueError(f"{name} must be a layer, 1 to {n_layers}; got {value}: {why}")


MAX_THREADS = 1024  # of the engine's pool


def check_n_threads(value: object, name: str) -> int:
    """A number of threads, 1 … 1024, as int."""
    n = _whole(value, name, 1, "be at least 1", math.inf)
    if n > MAX_THREADS:
        raise ValueError(f"{name} must be at most {MAX_THREADS}; got {value}")
    return n


def check_real(value: object, name: str) -> float:
    """A finite real number, as float."""
    if type(value) is float and math.isfinite(value):  # most are
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {_shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be finite; got a number beyond a float") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite; got {value}")
    return number


def check_positive(value: object, name: str) -> float:
    """A finite number > 0, as float."""
    number = check_real(value, name)
    if number <= 0:
        raise ValueError(f"{name} must be greater than 0; got {value}")
    return number


def check_nonnegative(value: object, name: str) -> float:
    """A finite number >= 0, as float."""
    number = check_real(value, name)
    if number < 0:
        raise ValueError(f"{name} must not be negative; got {value}")
    return number


def check_fraction(value: object, name: str) -> float:
    """A number in [0, 1), as float."""
    number = check_real(value, name)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be at least 0 and below 1; got {value}")
    return number


def check_seed(seed: object) -> int:
    """The 64-bit seed; None draws 63 fresh bits from the operating system."""
    if seed is None:
        return int.from_bytes(os.urandom(8), "little") >> 1
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, Integral):
        raise TypeError(f"seed must be a whole number or None; got {_shown(seed)}")
    number = int(seed)
    if not 0 <= number < 2**64:
        raise ValueError(f"seed must be at least 0 and below 2**64; got {seed}")
    return number


# ---- the network's own shape --------------------------------------------------------------


def check_widths(widths: Iterable[int]) -> tuple[int, ...]:
    """Units of every layer, inputs first, as a tuple of at least two ints >= 1."""
    if isinstance(widths, (str, bytes)) or not isinstance(widths, Iterable):
        raise TypeError(
            f"widths must be a sequence of whole numbers such as (4, 16, 3); got {_shown(widths)}"
        )
    widths = tuple(widths)
    if any(hasattr(each, "n_out") for each in widths):
        raise TypeError(
            "widths must hold whole numbers; got layers: write "
            "fastbp.Network.from_layers(n_in, [fastbp.Dense(…), …])"
        )
    checked = tuple(check_positive_int(n, f"widths[{i}]") for i, n in enumerate(widths))
    if len(checked) < 2:
        raise ValueError(
            f"widths must have at least 2 entries, inputs and outputs; got {len(checked)}"
        )
    check_size(sum((n_in + 1) * n_out for n_in, n_out in pairwise(checked)))
    return checked


def check_size(n_params: int) -> None:
    """ValueError for more parameters than can be addressed."""
    if n_params * 8 >= _MAX_BYTES:
        raise ValueError(
            f"widths ask for {n_params} parameters, more than an address space holds; "
            "use fewer units"
        )


def check_dtype(dtype: Any) -> np.dtype[Any]:
    """float32 or float64, as np.dtype."""
    wrong = TypeError(f"dtype must be 'float32' or 'float64'; got {dtype!r}")
    if dtype is None:  # float64 to NumPy
        raise wrong
    try:
        checked: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):  # NumPy parses some texts as Python
        raise wrong from None
    if checked not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise wrong
    return checked


# ---- arrays -------------------------------------------------------------------------------


def as_matrix(
    X: object,
    n_cols: int,
    dtype: np.dtype,
    *,
    name: str = "X",
    where: str = "widths[0]",
    verb: str = "takes",
) -> Array:
    """X as an aligned 2-D array of `dtype` with n_cols columns and contiguous rows.

    It is X itself if X has these properties, else a copy. Rows may have any stride.

    Parameters
    ----------
    X : array_like, shape (n, n_cols)
        The rows, at least one.
    n_cols : int
        How many columns X must have.
    dtype : numpy.dtype
        The dtype of the result.
    name, where, verb : str
        Words of messages, as for `check_row_shape`.
    """
    if type(X) is np.ndarray and X.dtype == dtype and _needs_no_change(X, n_cols):
        return X
    return _laid_out(_as_rows(X, n_cols, name, where, verb), dtype)


def as_inputs(X: object, n_cols: int, dtype: np.dtype, *, name: str = "X") -> Rows:
    """`as_matrix` for the engine, which also reads the dtypes in `READ` and sparse matrices.

    >>> as_inputs(np.zeros((2, 3), np.uint8), 3, np.dtype("float32")).dtype
    dtype('uint8')
    """
    if (
        type(X) is np.ndarray
        and (X.dtype == dtype or X.dtype in READ)
        and _needs_no_change(X, n_cols)
    ):
        return X
    if is_sparse(X):
        return as_sparse_rows(X, n_cols, dtype, name)
    array = _as_rows(X, n_cols, name, "widths[0]", "takes")
    return _laid_out(array, array.dtype if array.dtype in READ else dtype)


def _needs_no_change(X: Array, n_cols: int) -> bool:
    """Whether X has the right shape and layout. Fast, because calls with one row pay for it."""
    flags = X.flags
    dense = flags.c_contiguous and flags.aligned
    return dense and X.ndim == 2 and X.shape[1] == n_cols and X.shape[0] > 0


def _as_rows(X: object, n_cols: int, name: str, where: str, verb: str) -> Array:
    """X as an array (n, n_cols) of numbers, n >= 1, of any dtype and layout."""
    array = as_numbers(X, name)
    check_row_shape(array.shape, n_cols, name, where, verb)
    return array


def as_targets(
    y: object,
    loss: TargetRules,
    n_rows: int,
    n_out: int,
    dtype: np.dtype,
    *,
    name: str = "y",
    rows_of: str = "X",
    some: bool = True,
) -> tuple[str, Array | None]:
    """The targets y as `loss` takes them, with their kind.

    Losses of classes take class indices of an integer dtype, or bool if there are two classes.
    cross_entropy and focal also take rows of probabilities. All other losses take n_targets
    columns, see `Loss.n_targets`; if n_targets is 1, shape (n,) is accepted too.

    Parameters
    ----------
    y : array_like or None
        The targets; None for a loss of pairs of rows.
    loss : TargetRules
        The loss.
    n_rows, n_out : int
        Rows of X and outputs of the network.
    dtype : numpy.dtype
        The dtype of dense targets.
    name, rows_of : str
        The names of y and X, for messages.
    some : bool
        Whether some target must count: be known, if NaN stands for one that is not, and be of a
        class whose weight is not 0.

    Returns
    -------
    kind : str
        "labels", "dense" or "pairs".
    targets : array or None
        int32 of shape (n,) for labels, `dtype` of shape (n, n_targets) for dense targets, None for
        pairs.
    """
    if loss.group > 1:
        check_pairs(y, n_rows, loss.name, rows_of)
        return "pairs", None
    if type(y) is np.ndarray and y.dtype == _INT32:
        array = y  # the fast way for calls with one row
    else:
        array = as_numbers(
            y, name, hint=f"encode classes with np.unique({name}, return_inverse=True)[1]"
        )
    _check_rows(array, n_rows, name, rows_of)
    if loss.labels and array.ndim == 1:
        labels = _as_labels(array, n_out, name)
        if some and loss.ignored:
            check_known(labels, loss, name)
        return "labels", labels
    n_targets = loss.n_targets(n_out)
    if array.ndim == 1 and n_targets == 1:
        array = array[:, None]
    if (
        loss.labels
        and array.ndim == 2
        and (loss.targets == "indices" or array.shape[1] == 1 != n_out)
    ):
        raise _not_labels(array, loss, n_out, name)
    if array.ndim == 1:
        classes = '; for class numbers, make it with targets="classes"'
        way = classes if loss.name == "formula" else ""
        raise ValueError(f"{name} must be 2-D, (samples, {n_targets}), for {loss}; got 1-D{way}")
    if array.ndim == 2 and array.shape[1] != n_targets != n_out:
        raise ValueError(
            f"{name} has {counted(array.shape[1], 'column')}; {loss.name} with "
            f"{counted(n_out, 'output')} (widths[-1]) takes {n_targets}"
        )
    dense = as_matrix(array, n_targets, dtype, name=name, where="widths[-1]", verb="has")
    if some:
        check_known(dense, loss, name)
    known = _known(dense) if loss.ignore_nan else dense
    check_finite(known, name, given=array)
    if len(known):
        check_target_values(known, array.dtype, loss, name)
    return "dense", dense


def as_weights(
    sample_weight: object,
    n_rows: int,
    dtype: np.dtype,
    *,
    name: str = "sample_weight",
    rows_of: str = "X",
    some: bool = True,
) -> Array | None:
    """Sample weights >= 0 as a contiguous vector with a finite sum, or None.

    Parameters
    ----------
    sample_weight : array_like, shape (n_rows,), or None
        The weights.
    n_rows : int
        Rows of X.
    dtype : numpy.dtype
        The dtype of the result.
    name, rows_of : str
        The names of the weights and of X, for messages.
    some : bool
        Whether the sum must be positive.
    """
    if sample_weight is None:
        return None
    array = as_numbers(sample_weight, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, one weight per sample; got shape {array.shape}")
    _check_rows(array, n_rows, name, rows_of)
    weights = _laid_out(array, dtype)
    check_finite(weights, name, given=array)
    if weights.min() < 0:
        raise ValueError(f"{name} must not be negative; got {weights.min()}")
    total, info = weights.sum(dtype=np.float64), np.finfo(dtype)
    # the engine takes weights below the smallest normal number as 0
    none = total < len(weights) * info.tiny and weights.max() < info.tiny
    if (some and none) or not 0 <= total <= info.max:
        raise ValueError(f"{name} must have a positive, finite sum; it is {total}")
    return weights


def as_rows(
    value: object,
    n_rows: int,
    n_cols: int,
    dtype: np.dtype,
    *,
    name: str,
    where: str,
    verb: str = "takes",
    rows_of: str = "X",
) -> Array:
    """`as_matrix` with as many rows as X, or as the array named by `rows_of`.

    Parameters
    ----------
    value : array_like, shape (n_rows, n_cols)
        The rows.
    n_rows, n_cols : int
        The shape that it must have.
    dtype : numpy.dtype
        The dtype of the result.
    name, where, verb : str
        Words of messages, as for `check_row_shape`.
    rows_of : str
        The name of the array with as many rows, for messages.
    """
    matrix = as_matrix(value, n_cols, dtype, name=name, where=where, verb=verb)
    _check_rows(matrix, n_rows, name, rows_of)
    return matrix


def as_parameters(value: object, shape: tuple[int, ...], dtype: np.dtype, name: str) -> Array:
    """`value` as a C-contiguous array of exactly this shape, such as theta, W or b."""
    array = as_numbers(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; the network has {shape}")
    return _dense(array, dtype)


def writeable(array: Array) -> Array:
    """The array itself if it is writeable, else a copy.

    State may be a read-only memory map: joblib maps large arrays that it sends to workers, or loads
    with mmap_mode="r".
    """
    return array if array.flags.writeable else np.array(array, subok=False)


def aligned_zeros(n: int, dtype: np.dtype) -> Array:
    """Zeros (n,) that start on a cache line, so that no vector load straddles two.

    >>> aligned_zeros(3, np.dtype("float32")).ctypes.data % 64
    0
    """
    room = np.zeros(n + 64 // dtype.itemsize, dtype)
    start = -room.ctypes.data % 64 // dtype.itemsize
    return room[start : start + n]


def aligned_copy(values: Array, dtype: np.dtype) -> Array:
    """A copy (n,) that starts on a cache line."""
    aligned = aligned_zeros(values.size, dtype)
    aligned[...] = values
    return aligned


def check_finite(
    array: Rows,
    name: str,
    dtype: np.dtype | None = None,
    *,
    given: Array | None = None,
) -> None:
    """ValueError naming the first row with a NaN or an infinity.

    Parameters
    ----------
    array : array or SparseRows
        The numbers.
    name : str
        The name of the array, for messages.
    dtype : numpy.dtype or None
        The dtype in which the numbers must be finite; None for that of the array.
    given : array or None
        The array before conversion. It shows whether an infinity was a number that is too large.
    """
    if isinstance(array, SparseRows):
        array = array.values
        name = f"the elements of {name}"
    if array.dtype.kind != "f":
        return
    dtype = array.dtype if dtype is None else dtype
    few = array.size <= _FEW and dtype == array.dtype
    if few and all(map(math.isfinite, array.ravel().tolist())):
        return
    if looks_finite(array, dtype):
        return
    with np.errstate(all="ignore"):
        for first in range(0, len(array), 4096):  # a sum may also have overflowed
            finite = np.isfinite(array[first : first + 4096].astype(dtype, copy=False))
            if not finite.all():
                break
        else:
            return
    place = np.argwhere(~finite)[0]
    place[0] += first
    value = (array if given is None else given)[tuple(place)]
    if np.isfinite(value):
        raise beyond(value, dtype, name, f" in row {place[0]}")
    raise ValueError(
        f"{name} holds NaN or infinity, first in row {place[0]}; drop or fill such rows before"
    )


@np.errstate(all="ignore")
def looks_finite(array: Array, dtype: np.dtype) -> bool:
    """True only if all numbers are finite in `dtype`. Reductions decide, which allocate nothing."""
    if dtype.itemsize < array.itemsize:
        return bool(np.isfinite(np.array([array.min(), array.max()]).astype(dtype)).all())
    # a finite sum has only finite terms; sums of float16 overflow too easily
    wide = np.float32 if array.itemsize < 4 else array.dtype
    return bool(np.isfinite(np.add.reduce(array, axis=None, dtype=wide)))


def validation_set(
    validation_data: object,
    X_val: object,
    y_val: object,
    sample_weight_val: object,
    *,
    has_targets: bool = True,
) -> tuple[tuple[object, object, object], DataNames] | None:
    """(X, y, weights or None) from the arguments of `fit`, and their names; None if there are none.

    Without `has_targets`, the loss has none, so that there is no y_val.
    """
    if validation_data is X_val is y_val is sample_weight_val is None:
        return None
    parts = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
    given = [name for name, value in parts.items() if value is not None]
    if validation_data is not None:
        if given:
            raise ValueError(f"give validation_data or {' and '.join(given)}, not both")
        return split_validation(validation_data), _PARTS
    if not given:
        return None
    for name, needed in (("X_val", True), ("y_val", has_targets)):
        if needed and name not in given:
            raise ValueError(
                f"{' and '.join(given)} without {name}: validation data are X_val and y_val, or "
                "validation_data=(X, y)"
            )
    return (X_val, y_val, sample_weight_val), DataNames(*parts)


def split_validation(validation_data: object) -> tuple[object, object, object]:
    """(X, y, weights or None) from the argument validation_data of `fit`."""
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise TypeError("validation_data must be (X, y) or (X, y, sample_weight)")
    X, y, weights = (*validation_data, None)[:3]
    return X, y, weights


# ---- helpers ------------------------------------------------------------------------------


def _kind(value: object) -> str:
    return type(value).__name__


def _shown(value: object) -> str:
    return f"{value!r} ({_kind(value)})"


def _laid_out(array: Array, dtype: np.dtype) -> Array:
    """The array itself if aligned, of `dtype` and contiguous in its last axis; else a copy."""
    rows_contiguous = array.shape[-1] == 1 or array.strides[-1] == array.itemsize
    whole_strides = all(stride % array.itemsize == 0 for stride in array.strides[:-1])
    if array.dtype == dtype and rows_contiguous and whole_strides and array.flags.aligned:
        return array
    with np.errstate(over="ignore"):  # `check_finite` reports it where it matters
        return np.array(array, dtype=dtype, order="C")


def _dense(array: Array, dtype: np.dtype) -> Array:
    """The array itself if it is C-contiguous, aligned and of `dtype`; else a copy."""
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.aligned:
        return array
    return np.array(array, dtype, order="C")


def _check_rows(array: Array, n_rows: int, name: str, rows_of: str) -> None:
    if array.ndim == 0:
        raise ValueError(f"{name} must have one entry per sample; got a single value")
    if array.shape[0] != n_rows:
        raise ValueError(f"{name} has {counted(len(array), 'row')}; {rows_of} has {n_rows:,}")


def check_known(
    y: Array | None, loss: TargetRules, name: str = "y", *, weights: Array | None = None
) -> None:
    """ValueError if no target with a weight counts: all are NaN, or of classes of weight 0."""
    if y is None or not y.size:
        return
    if loss.ignored and y.ndim == 1:
        _check_classes(y, loss, name, weights)
    if not loss.ignore_nan:
        return
    if np.isnan(y).all():
        raise ValueError(f"{name} is NaN everywhere: no target is known")
    if weights is not None and np.isnan(y[weights > 0]).all():
        raise ValueError(f"{name} is NaN wherever the weight is not 0: no target counts")


def _check_classes(y: Array, loss: TargetRules, name: str, weights: Array | None) -> None:
    """ValueError if the class of every row with a weight has the weight 0."""
    counting = y if weights is None else y[weights > 0]
    if loss.ignored.issuperset(counting.tolist()):
        where = "" if weights is None else " whose sample weight is not 0"
        raise ValueError(f"class_weight of {loss.name} is 0 for every class in {name}{where}")


def _known(dense: Array) -> Array:
    """The targets with one that is known in place of those that are NaN; 0 rows if none is."""
    missing = np.isnan(dense)
    if missing.all():
        return dense[:0]
    return np.where(missing, dense.flat[missing.argmin()], dense) if missing.any() else dense


def _as_labels(array: Array, n_out: int, name: str) -> Array:
    if array.dtype.kind == "f":
        raise TypeError(
            f"{name} must hold class indices of an integer dtype; got {array.dtype}: write "
            f"{name}.astype(int)"
        )
    if array.dtype.kind == "b" and n_out != 2:
        raise TypeError(
            f"{name} of dtype bool names 2 classes; the network has {n_out} (widths[-1]): "
            f"write {name}.astype(int) if that is meant"
        )
    if array.size <= _FEW:
        values = array.tolist()
        low, high = int(min(values)), int(max(values))
    else:
        low, high = int(array.min()), int(array.max())
    if low < 0 or high >= n_out:
        raise ValueError(
            f"{name} holds class index {low if low < 0 else high}; "
            f"they run from 0 to {n_out - 1} (widths[-1] is {n_out})"
        )
    return _dense(array, _INT32)


def _not_labels(array: Array, loss: TargetRules, n_out: int, name: str) -> ValueError:
    rows = "" if loss.targets == "indices" else f" or rows of {n_out} probabilities"
    columns = array.shape[1]
    way = f"{name}[:, 0]" if columns == 1 else f"{name}.argmax(axis=1)"
    return ValueError(
        f"{name} has {counted(columns, 'column')}; {loss.name} takes class indices (n,){rows}"
        f": write {way} for class indices"
    )
