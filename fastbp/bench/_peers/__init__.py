"""The programs to measure by name: first fastbp itself, then the libraries to compare with (peers).

To add one, write a module with a subclass of `Program`, add it to PROGRAMS, and allow it to import
its package in `OPTIONAL` of tests/package/test_structure.py. If it has several precisions, define
`ways`, `use` and `product`.
"""

from ._base import PRECISIONS, Program
from ._engine import Engine
from ._jax_cpu import JaxAsync, JaxScan, JaxSteps
from ._numpy_reference import Reference
from ._pytorch import Compiled, Eager
from ._scikit import ScikitLearn

__all__ = ["ENGINE", "PEERS", "PRECISIONS", "PROGRAMS", "Program"]

PROGRAMS: dict[str, type[Program]] = {
    program.name: program
    for program in (
        Engine,
        Eager,
        Compiled,
        JaxSteps,
        JaxAsync,
        JaxScan,
        ScikitLearn,
        Reference,
    )
}
ENGINE = Engine.name
PEERS = tuple(name for name in PROGRAMS if name != ENGINE)
