"""The programs that are measured: the engine first, then its peers, by name.

To add one: a module with a subclass of `Program`, its line in PROGRAMS, and, in
tests/package/test_structure.py, leave to import the package that it drives.
"""

from ._base import Program
from ._engine import Engine
from ._jax_cpu import JaxAsync, JaxScan, JaxSteps
from ._numpy_reference import Reference
from ._pytorch import Compiled, Eager
from ._scikit import ScikitLearn

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
