"""How fast the engine trains on this machine, compared with other libraries that are installed.

The command `fastbp bench` runs it. From Python, `select` chooses configurations and `measure`
returns a report as a dict; `fastbp/bench/_layout.py` describes its layout. Only NumPy is needed.

>>> from fastbp.bench import Options, measure, select
>>> report = measure(select(configs=["rl"]), (), Options(rounds=3))  # doctest: +SKIP
"""

from .._public import present
from ._client import WorkerError
from ._lane import Options
from ._runner import measure
from ._suites import Config, select

__all__ = ["Config", "Options", "WorkerError", "measure", "select"]

present(__name__, __all__)
