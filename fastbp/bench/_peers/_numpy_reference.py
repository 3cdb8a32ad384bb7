"""The reference implementation in NumPy, whose matrix products come from NumPy's BLAS."""

from typing import ClassVar

from ...reference import Network
from ._engine import Engine


class Reference(Engine):
    """The same calls as for the engine, with `fastbp.reference.Network`."""

    name = "reference"
    network = Network
    usual = False
    ways: ClassVar = {"highest": "highest"}
