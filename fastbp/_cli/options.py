"""Options that several commands share, and parsers of option values for argparse."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias, TypedDict, TypeVar

from .. import activations
from .._checks import arguments as check
from .._checks.names import comma_parts, did_you_mean
from .._checks.size_limit import MAX_BYTES, check_max_bytes
from .._ranks.cuts import check_parts
from .._training.divided import MOST_PARTS
from ..tabular._csv import AUTO, DECIMALS, HEADERS, THOUSANDS, Format
from ..tabular._dates import check_format

BUILT_IN = ("digits", "fashion-mnist")
PRECISIONS = (
    "how exact the factors of matrix products are: highest is float32, high has 16 bits, medium 8 "
    "bits (bfloat16); high and medium are slower than highest on some machines"
)

Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"
T = TypeVar("T")


class FileOptions(TypedDict):
    """Keywords of `read_table` and `read_features` that say how to read a file."""

    header: str
    delimiter: str
    decimal: str
    thousands: str
    units: list[str]
    comment: str
    encoding: str
    sheet: str | None
    max_bytes: int


class UsageError(Exception):
    """Options that conflict. The error is reported as argparse reports its own errors."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors name the option that the user may have meant."""

    def refuse(self, arguments: Sequence[str]) -> NoReturn:
        """Exit with an error about arguments that the parser does not know."""
        for argument in arguments:
            if argument.startswith("-"):
                name = argument.partition("=")[0]
                hint = did_you_mean(name, self._option_string_actions)
                self.error(f"unknown option {name}; {self.prog} --help lists the options{hint}")
        self.error(f"unexpected argument {arguments[0]!r}")


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about reading a data file."""
    group = parser.add_argument_group("reading the data")
    group.add_argument(
        "--header",
        choices=HEADERS,
        default="auto",
        help="whether line 1 of a .csv contains names (default: auto, decide by the content)",
    )
    group.add_argument(
        "--delimiter",
        type=_delimiter,
        default=AUTO,
        help="separator of the cells in a .csv: one character, tab, or ' ' for blanks (default: "
        "that of , ; | and tab which the first lines have equally often)",
    )
    group.add_argument(
        "--decimal",
        choices=DECIMALS,
        help="decimal mark of the numbers in a .csv (default: that of the model for predict, "
        "otherwise .)",
    )
    group.add_argument(
        "--thousands",
        metavar="MARK",
        choices=THOUSANDS,
        help="mark between groups of three digits in a .csv: one of . , ' _ or a blank, or '' for "
        "none (default: that of the model for predict, otherwise none)",
    )
    group.add_argument(
        "--units",
        metavar="LIST",
        type=lambda text: text.split(","),
        action="extend",
        default=[],
        help="what may stand before or after numbers and does not count, such as %%,EUR",
    )
    group.add_argument(
        "--comment",
        metavar="CHAR",
        default="",
        help="character that begins lines to skip, such as '#'",
    )
    group.add_argument(
        "--encoding",
        default="utf-8",
        help="encoding of a text file, such as cp1252 (default: that of its byte order mark, or "
        "utf-8)",
    )
    group.add_argument(
        "--sheet", help="name of a sheet of an Excel file, or its number from 1 (default: 1)"
    )
    group.add_argument(
        "--max-bytes",
        metavar="SIZE",
        type=size,
        default=MAX_BYTES,
        help="maximum size of an array of the data in memory, such as 500M or 16G (default: 4G)",
    )
    group.add_argument(
        "--folder", metavar="DIR", help="folder with the four IDX files of fashion-mnist"
    )


def add_hole_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about missing values and dates."""
    group = parser.add_argument_group("missing values and dates")
    group.add_argument(
        "--na",
        metavar="TEXT",
        action="append",
        default=[],
        help="a text, or a number such as -999, that stands for a missing value in all columns, "
        "besides an empty cell; may be given several times",
    )
    group.add_argument(
        "--date-format",
        metavar="FORMAT",
        dest="date_formats",
        type=_date_format,
        action="append",
        default=[],
        help="how dates are written that are not ISO 8601, such as %%d.%%m.%%Y; may be given "
        "several times",
    )


def file_options(args: argparse.Namespace, known: Format | None = None) -> FileOptions:
    """Return the keywords of `read_table` that say how to read a file.

    Marks that the user did not give are those of `known`. Raises UsageError if options conflict.
    """
    known = Format() if known is None else known
    decimal = known.decimal if args.decimal is None else args.decimal
    thousands = known.thousands if args.thousands is None else args.thousands
    try:
        Format(
            *(args.delimiter, decimal, thousands),
            units=tuple(args.units),
            comment=args.comment,
            encoding=args.encoding,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return {
        "header": args.header,
        "delimiter": args.delimiter,
        "decimal": decimal,
        "thousands": thousands,
        "units": args.units or list(known.units),
        "comment": args.comment,
        "encoding": args.encoding,
        "sheet": args.sheet,
        "max_bytes": args.max_bytes,
    }


def check_source(args: argparse.Namespace) -> None:
    """Raise UsageError for --folder without fashion-mnist."""
    if args.folder is not None and args.data != "fashion-mnist":
        raise UsageError("--folder applies to fashion-mnist only")


def encodable(text: str) -> str:
    """Replace characters that standard output cannot show by question marks."""
    encoding = getattr(sys.stdout, "encoding", None)
    return text if encoding is None else text.encode(encoding, "replace").decode(encoding)


def whole(name: str) -> Callable[[str], int]:
    """Return a parser of a whole number >= 1."""
    return _reader(lambda text: check.check_positive_int(int(text), name), "a whole number >= 1")


def positive(name: str) -> Callable[[str], float]:
    """Return a parser of a number > 0."""
    return _reader(lambda text: check.check_positive(float(text), name), "a number > 0")


def nonnegative(name: str) -> Callable[[str], float]:
    """Return a parser of a number >= 0."""
    return _reader(lambda text: check.check_nonnegative(float(text), name), "a number >= 0")


def fraction(name: str) -> Callable[[str], float]:
    """Return a parser of a number in [0, 1)."""
    return _reader(lambda text: check.check_fraction(float(text), name), "at least 0 and below 1")


def duration(text: str) -> float:
    """Parse a time in seconds; s, min (or m) and h are units, the default is s.

    >>> duration("60s"), duration("1.5 min"), duration("2h"), duration("90")
    (60.0, 90.0, 7200.0, 90.0)
    """
    read = _reader(_seconds, "a time greater than 0, such as 60s, 10min or 2h")
    return read(text)


def _seconds(text: str) -> float:
    number = text.strip().rstrip("smihn")
    unit = text.strip()[len(number) :]
    units = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
    if unit not in units:
        raise ValueError(unit)
    return check.check_positive(float(number) * units[unit], "the time")


def size(text: str) -> int:
    """Parse a number of bytes; K, M, G and T stand for powers of 1024.

    >>> size("2K"), size("100")
    (2048, 100)
    """
    read = _reader(_bytes, "a number of bytes such as 500M or 16G")
    return read(text)


def _bytes(text: str) -> int:
    power = "KMGT".find(text[-1:].upper()) + 1 if text else 0
    return check_max_bytes(int(text[:-1] if power else text) * 1024**power)


def threads(text: str) -> int:
    """Parse a number of threads, 1 to 1024."""
    read = _reader(lambda text: check.check_n_threads(int(text), "--threads"), "1 to 1024")
    return read(text)


def parts(text: str) -> int:
    """Parse a number of parts, a power of two.

    >>> parts("16")
    16
    """
    read = _reader(lambda text: check_parts(int(text)), f"a power of two of at most {MOST_PARTS}")
    return read(text)


def seed(text: str) -> int:
    """Parse a seed, 0 to 2**64 - 1."""
    return _reader(lambda text: check.check_seed(int(text)), "a whole number, 0 to 2**64 - 1")(text)


def hidden(text: str) -> tuple[int, ...]:
    """Parse the numbers of units of the hidden layers: "256,128", or "none".

    >>> hidden("256,128"), hidden("none")
    ((256, 128), ())
    """
    if text.strip() == "none":
        return ()
    read = whole("--hidden")
    return tuple(read(part) for part in text.split(","))


def activation(text: str) -> tuple[activations.Activation, ...]:
    """Parse one activation for all hidden layers, or one for each: "relu,leaky_relu(0.1)".

    >>> [str(a) for a in activation("tanh,prelu(0.1, per=unit)")]
    ['tanh', 'prelu(0.1, per=unit)']
    """
    try:
        parts = comma_parts(text)
        return activations.resolve_layers(len(parts) + 1, parts, "identity")[:-1]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _reader(read: Callable[[str], T], expected: str) -> Callable[[str], T]:
    def parse(text: str) -> T:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {expected}; got {text!r}") from None

    return parse


def _date_format(text: str) -> str:
    try:
        return check_format(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _delimiter(text: str) -> str:
    if text == AUTO:
        return text
    text = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(text) != 1 or not text.isascii() or text in '"\r\n\0':
        raise argparse.ArgumentTypeError(f"expected one character (ASCII), or tab; got {text!r}")
    return text
