"""The oracle of the fuzzed readers: what may happen for an input, and what is a fault.

A reader loads an input, and then the object works, or it raises one of its documented exceptions
with a message that a person can read. Everything else is a `Fault`: another exception or warning, a
call that takes too long, memory out of proportion to the input, a file that is left behind.
"""

from __future__ import annotations

import contextlib
import json
import signal
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

MAX_MESSAGE = 5_000  # characters; an error lists at most ten columns
MAX_INPUT = 64 * 1024  # bytes; longer inputs only make the search slow
_SECONDS = 20.0  # of processor time, for one input; a formula of 20,000 characters takes one
_MIB = 1 << 20

# Subclasses of ValueError that a reader let slip through, whatever it documents.
_BARE = (UnicodeError, json.JSONDecodeError, np.linalg.LinAlgError)

Mutate = Callable[[bytes, Random, Sequence[bytes]], bytes]


class Fault(AssertionError):
    """What no input may cause."""


@dataclass(frozen=True)
class Target:
    """A reader and what is promised about it.

    Parameters
    ----------
    name : str
        The name, which is that of its folder in the corpus.
    run : callable
        Reads an input (bytes) in an empty or reused folder, uses the result, and calls `require`.
    refuses : tuple of exception classes
        What the reader may raise for an invalid input.
    mutate : callable
        Makes an input of another one, with knowledge of the structure.
    file : str, default ""
        The name of the file that each message must contain; "" for no file.
    memory : tuple of int, default (8 MiB, 100)
        The bytes that reading may take in any case, and per byte of the input.
    traced : bool, default True
        Whether coverage of Python code can guide the search.
    """

    name: str
    run: Callable[[bytes, Path], None]
    refuses: tuple[type[Exception], ...]
    mutate: Mutate
    file: str = ""
    memory: tuple[int, int] = (8 * _MIB, 100)
    traced: bool = True


def require(holds: object, promise: str) -> None:
    """Raise Fault with a broken promise unless it holds."""
    if not holds:
        raise Fault(f"not held: {promise}")


def examine(target: Target, data: bytes, folder: Path, *, measure: bool = False) -> str:
    """Read one input; return "loaded" or "refused".

    Raises Fault for anything else. With `measure`, the peak of memory is compared with the bound of
    the target, too, which takes several times as long.
    """
    with _processor_time(_SECONDS), _memory(target, len(data), measure), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)  # advice, such as for a loss of log(0)
        try:
            target.run(data, folder)
            outcome = "loaded"
        except Fault:
            raise
        except target.refuses as error:
            _check_refusal(error, str(folder / target.file) if target.file else "", len(data))
            outcome = "refused"
        except Exception as error:
            raise Fault(f"{type(error).__name__}: {str(error)[:300]}") from error
    left = [entry.name for entry in folder.iterdir() if entry.name.startswith(".fastbp-")]
    require(not left, f"no temporary file stays; found {left}")
    return outcome


def check_text(text: str, most: int = MAX_MESSAGE) -> None:
    """Raise Fault for a message that is empty, endless, or would control a terminal."""
    require(text.strip(), "an error has a message")
    require(len(text) <= most, f"a message is short; got {len(text)} characters")
    strange = [c for c in text if not c.isprintable() and c != "\n"]
    require(
        not strange, f"each character of a message is printable; not so {strange[:3]} in {text!a}"
    )


def signature(fault: Fault) -> str:
    """A name for a fault: its message without numbers and names, and where it was raised."""
    cause = fault.__cause__
    if cause is None:
        return "".join(c if c.isalpha() else "-" for c in str(fault)[10:40]).strip("-")
    place, trace = "", cause.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "fastbp" in code.co_filename and "attacks" not in code.co_filename:
            place = f"{Path(code.co_filename).stem}-{code.co_name}"
        trace = trace.tb_next
    return f"{type(cause).__name__}-{place}".strip("-")


def _check_refusal(error: Exception, path: str, n_bytes: int) -> None:
    """Check the message of a refusal. One about an argument may repeat it, one about a file not."""
    if isinstance(error, _BARE):
        raise Fault(f"a bare {type(error).__name__}: {str(error)[:300]}") from error
    message = str(error)
    check_text(message, MAX_MESSAGE + (0 if path else 4 * n_bytes))
    if not isinstance(error, ArithmeticError):  # DivergenceError, which is about a fit
        require(path in message, f"a message names the file {path}; got {message[:300]!r}")


class _TooSlow(BaseException):
    """The time is over. Not an Exception, so that no reader takes it for one of its own."""


@contextlib.contextmanager
def _processor_time(seconds: float) -> Iterator[None]:
    """Raise Fault after so much processor time of this process; Windows has no such clock."""
    if not hasattr(signal, "SIGVTALRM"):
        yield
        return

    def stop(*_: object) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    except _TooSlow as slow:
        raise Fault(f"more than {seconds:g} s of processor time") from slow
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextlib.contextmanager
def _memory(target: Target, n_bytes: int, measure: bool) -> Iterator[None]:
    if not measure:
        yield
        return
    constant, factor = target.memory
    limit = constant + factor * n_bytes
    tracemalloc.start(1)
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    require(peak <= limit, f"at most {limit} bytes of memory for {n_bytes} bytes; took {peak}")
