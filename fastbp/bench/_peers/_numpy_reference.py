"""The NumPy twin of the engine, whose products are those of NumPy's BLAS."""

from ...reference import Network
from ._engine import Engine


class Reference(Engine):
    """The same calls as the engine's, on `fastbp.reference`."""

    name = "reference"
    network = Network
    usual = False
