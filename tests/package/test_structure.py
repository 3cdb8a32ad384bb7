"""Rules of structure: which file may include or import which, and sizes of files and functions."""

import ast
import importlib
import inspect
import re
import runpy
import sys
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "fastbp"

# What a file of each room of csrc/ may include besides its own room: folders, or single files.
# A room reaches everything that the rooms it includes reach.
PUBLIC = "fastbp.h"
ROOMS = {
    "lists": [],
    "fastbp.h": ["lists"],
    "base": [],
    "simd": ["base/common.h"],
    "kernels": ["simd", "base/rng.h", "base/machine.h", "base/tree.h", PUBLIC],
    "isa": ["kernels"],
    "dispatch": ["isa", "base/cpu.h", "base/machine.h"],
    "threads": ["base"],
    "text": ["base"],
    "nn": ["dispatch", "threads", "base", PUBLIC],
    "open": ["dispatch", "threads", "base", PUBLIC],
}
# The floors of csrc/nn/, the lowest first. A file includes headers of its own floor and of those
# below it; a .c file and its header are on the same floor.
NN_FLOORS = [
    ["profile", "program", "formula", "loss", "net"],
    ["buffers", "factors", "plan", "batch", "parts"],
    [
        "activate",
        "batch_norm",
        "categories",
        "embed",
        "options",
        "products",
        "rows",
        "stages",
        "tiles",
        "clip",
    ]
    + ["muon", "update", "pieces"],
    ["pass", "derive", "tangent", "predict", "session", "share", "step", "rooms", "fit"]
    + ["alike", "group", "interleave", "population"],
]
FORBIDDEN_IN_KERNELS = re.compile(
    r"\b(malloc|calloc|realloc|aligned_alloc|posix_memalign|free|\w*printf|puts|fopen|abort|exit"
    r"|pthread_\w+|thrd_\w+|mtx_\w+)\b"
)
# Packages that only the named files may import; all other imports are NumPy or part of Python.
OPTIONAL = {
    "sklearn": {"fastbp.sklearn", "fastbp.bench._peers._scikit"},
    "joblib": {"fastbp.sklearn._workers"},
    "scipy": {"fastbp.optim._lbfgs", "fastbp.sklearn", "fastbp.tabular"},
    "pandas": {"fastbp.tabular"},
    "polars": {"fastbp.tabular"},
    "onnx": {"fastbp.export"},
    "skl2onnx": {"fastbp.export"},
    "pyarrow": {"fastbp.tabular._arrow"},
    "python_calamine": {"fastbp.tabular._excel"},
    "zstandard": {"fastbp.tabular._bytes"},
    "tqdm": {"fastbp._training.runner", "fastbp.population"},
    "torch": {"fastbp.bench._peers._pytorch", "fastbp.export"},
    "jax": {"fastbp.bench._peers._jax_cpu"},
    "mpi4py": {"fastbp._ranks.mpi"},
    "matplotlib": {"fastbp._pyplot", "fastbp.bench._plot", "fastbp.plot"},
}
# What the modules of each room of fastbp/ may import besides their own room, the lowest rooms
# first. A room is a folder or a file of fastbp/, and may use all that rooms in its list may use.
# The rule is for all imports: at the top of a module, inside a function, and only for types.
PYTHON_ROOMS = {
    "_version": [],
    "_public": [],
    "_html": [],
    "_forks": [],
    "_messages": [],
    "_page": [],
    "_pyplot": [],
    "_older_names": [],
    "_types": [],
    "errors": ["_messages"],
    "tracking": [],
    "_core": ["_types"],
    "_precision": [],
    "_checks": ["_types", "errors"],
    "_files": ["_checks"],
    "_config": ["_checks", "_core", "_precision", "_version"],
    "gates": ["_checks", "_files", "_page", "_public"],
    "activations": ["_checks", "gates"],
    "initializers": ["activations"],
    "losses": ["activations", "_public"],
    "metrics": ["losses"],
    "schedules": ["metrics"],
    "optim": ["losses", "_files", "_forks"],
    "history": ["_html"],
    "hooks": ["_checks"],
    "_ranks": ["_checks", "_messages"],
    "_training": ["optim", "schedules", "history", "_pyplot", "_ranks", "_version"],
    "_explain": ["_training", "_config"],
    "_network": ["_explain", "_training", "_precision", "initializers", "hooks"],
    "population": ["_network"],
    "reference": ["_network", "_forks"],
    "testing": ["_network"],
    "tabular": ["population"],
    "io": ["tabular"],
    "callbacks": ["io"],
    "plot": ["_network"],
    "distributed": ["_network"],
    "datasets": ["_training"],
    "sklearn": ["tabular"],
    "export": ["sklearn"],
    "bench": ["reference", "datasets"],
    "_cli": ["bench", "callbacks"],
    "__main__": ["_cli"],
}
# fastbp/__init__.py may import every room except those that users import themselves.
ASKED_FOR = {"__main__", "_cli", "bench", "distributed", "sklearn"}


def engine_files():
    return sorted(p for p in CSRC.rglob("*") if p.suffix in {".c", ".h", ".inc", ".def"})


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)


def room(path):
    """`nn` for csrc/nn/plan.c, `dispatch` for csrc/dispatch.h, `fastbp.h` for itself."""
    parts = path.relative_to(CSRC).parts
    if len(parts) > 1:
        return parts[0]
    return parts[0] if parts[0] == PUBLIC else path.stem


def allowed(name, rooms=ROOMS):
    """Rooms and single files that the room `name` may include or import, directly or not."""
    found = {name}
    for other in rooms[name]:
        found |= allowed(other, rooms) if other in rooms else {other}
    return found


def included(path):
    """The files of csrc/ that a file includes."""
    for quoted in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE):
        near = (path.parent / quoted).resolve()
        target = near if near.exists() else CSRC / quoted
        assert target.exists(), f"{quoted} is not in csrc/"
        yield target


@pytest.mark.parametrize("path", engine_files(), ids=lambda p: p.relative_to(CSRC).as_posix())
def test_includes_follow_the_rooms(path):
    for target in included(path):
        relative = target.relative_to(CSRC).as_posix()
        assert {room(target), relative} & allowed(room(path)), f"{path.name} includes {relative}"


def test_every_file_of_nn_is_on_one_floor():
    listed = [stem for floor in NN_FLOORS for stem in floor]
    assert sorted(listed) == sorted({path.stem for path in (CSRC / "nn").iterdir()})


@pytest.mark.parametrize("path", sorted((CSRC / "nn").iterdir()), ids=lambda p: p.name)
def test_no_file_of_nn_includes_a_higher_floor(path):
    floor = {stem: level for level, stems in enumerate(NN_FLOORS, 1) for stem in stems}
    for target in included(path):
        if room(target) == "nn":
            above = floor[target.stem] - floor[path.stem]
            assert above <= 0, f"{path.name} includes {target.name}, {above} above it"


def test_includes_have_no_cycle():
    """A .c file and its header count as one: a header must not need a file that needs it."""
    graph = {}
    for path in engine_files():
        node = unit(path)
        graph.setdefault(node, set()).update({unit(target) for target in included(path)} - {node})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle: " + ", included by ".join(error.args[1]))


def unit(path):
    """`nn/plan` for csrc/nn/plan.c and csrc/nn/plan.h; every other file is its own unit."""
    relative = path.relative_to(CSRC)
    return (relative.with_suffix("") if path.suffix in {".c", ".h"} else relative).as_posix()


@pytest.mark.parametrize("name", ["simd", "kernels", "isa"])
def test_kernels_only_compute(name):
    for path in (CSRC / name).iterdir():
        if path.suffix in {".c", ".h", ".inc"}:
            found = FORBIDDEN_IN_KERNELS.findall(without_comments(path.read_text()))
            assert not found, f"{path.name} uses {found}"


def build_table(name):
    """The table FLAGS or ISAS of setup.py."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return eval(compile(ast.Expression(node.value), "setup.py", "eval"), {})
    raise AssertionError(f"setup.py has no table {name}")


@pytest.mark.parametrize("family", ["unix", "msvc"])
def test_only_isa_files_get_isa_flags(family):
    isas = build_table("ISAS")
    assert isas.keys() == {path.stem for path in (CSRC / "isa").glob("*.c")}
    for kind, flags in build_table("FLAGS")[family].items():
        chosen = [flag for flag in flags if re.match(r"-m|/arch", flag)]
        assert not chosen, f"{kind} gets {chosen}"
    every = [
        *build_table("FLAGS")[family].values(),
        *(isa.get(family, []) for isa in isas.values()),
    ]
    for flags in every:
        assert not {"-ffast-math", "-Ofast", "-march=native", "/fp:fast"} & set(flags)


@pytest.mark.parametrize("path", engine_files(), ids=lambda p: p.relative_to(CSRC).as_posix())
def test_no_source_changes_its_target(path):
    text = without_comments(path.read_text())
    assert not re.search(r"#\s*pragma\s+(GCC|clang)\s+(target|optimize)|\btarget\s*\(\s*\"", text)


def python_files():
    """The modules of fastbp/, with the binding and its stub."""
    return sorted(p for p in PACKAGE.rglob("*") if p.suffix in {".py", ".pyi", ".pyx"})


def module_name(path):
    """`fastbp.losses` for fastbp/losses/__init__.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def python_room(name):
    """`losses` for fastbp.losses._losses; `fastbp` for the package itself."""
    return [*name.split("."), "fastbp"][1]


def tree_of(path):
    """The syntax tree of a module; for the binding, only its import statements."""
    text = path.read_text()
    if path.suffix == ".pyx":
        text = "\n".join(re.findall(r"^(?:from \S+ )?import [\w, ]+$", text, re.MULTILINE))
    return ast.parse(text)


def imports(path):
    """(module, whether at module level) of every import, in absolute names."""
    name = module_name(path)
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    tree = tree_of(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, [parent, node.module]))
            inner = [f"{base}.{alias.name}" for alias in node.names]
            names = [each if is_module(each) else base for each in inner]
        else:
            continue
        yield from ((each, node in tree.body) for each in names)


def is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return any(path.with_suffix(s).exists() for s in (".py", ".pyx")) or path.is_dir()


@pytest.fixture(scope="module")
def module_graph():
    """Module name → names of all fastbp modules that it imports."""
    graph = {}
    for path in python_files():
        found = {module for module, _ in imports(path) if module.partition(".")[0] == "fastbp"}
        name = module_name(path)
        graph.setdefault(name, set()).update(found - {name})
    return graph


def reachable(graph, start):
    """Modules that `start` imports, directly or not."""
    found, queue = set(), [start]
    while queue:
        new = graph.get(queue.pop(), set()) - found
        found |= new
        queue += new
    return found


def test_every_module_belongs_to_a_room(module_graph):
    assert {python_room(name) for name in module_graph} == {"fastbp", *PYTHON_ROOMS}


def test_imports_have_no_cycle(module_graph):
    try:
        TopologicalSorter(module_graph).prepare()
    except CycleError as error:
        pytest.fail("a circle: " + ", imported by ".join(error.args[1]))


def test_imports_follow_the_rooms(module_graph):
    rooms = {name: allowed(name, PYTHON_ROOMS) for name in PYTHON_ROOMS}
    rooms["fastbp"] = PYTHON_ROOMS.keys() - ASKED_FOR
    for name, found in module_graph.items():
        upwards = {m for m in found if python_room(m) not in rooms[python_room(name)]}
        assert not upwards, f"{name} must not import {', '.join(sorted(upwards))}"


def test_reference_never_reaches_the_engine(module_graph):
    modules = [name for name in module_graph if python_room(name) == "reference"]
    assert modules
    for name in modules:
        assert "fastbp._core" not in reachable(module_graph, name), name


def inside(name, packages):
    return any(name == p or name.startswith(p + ".") for p in packages)


def test_other_packages_are_imported_only_by_named_files():
    for path in python_files():
        name = module_name(path)
        for module, top in imports(path):
            package = module.partition(".")[0]
            if package in sys.stdlib_module_names or package in {"fastbp", "numpy"}:
                continue
            assert inside(name, OPTIONAL.get(package, ())), f"{name} imports {package}"
            estimator = inside(name, {"fastbp.sklearn"})
            assert not top or estimator, f"{name} imports {package} when imported"


def public_modules():
    """The modules without an underscore anywhere in their path."""
    return [name for name in map(module_name, python_files()) if "._" not in name]


def described_constants(module):
    """Names that a module, or the modules of a package, assign and describe on the next line."""
    file = Path(module.__file__)
    for path in file.parent.glob("*.py") if file.stem == "__init__" else [file]:
        for node, below in pairwise(ast.parse(path.read_text()).body):
            targets = [*getattr(node, "targets", ()), getattr(node, "target", None)]
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("name", public_modules())
def test_public_modules_list_their_names(name):
    """The `__module__` of classes and functions is a public module that lists them."""
    if name == "fastbp.sklearn":
        pytest.importorskip("sklearn", reason="fastbp.sklearn cannot be imported")
    module = importlib.import_module(name)
    assert inspect.getdoc(module)
    constants = {"__version__", *described_constants(module)}
    for offered in module.__all__:
        thing = getattr(module, offered)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            home = thing.__module__
            assert home in public_modules(), f"{name}.{offered} says that it is of {home}"
            assert thing.__name__ in sys.modules[home].__all__
        elif not inspect.ismodule(thing):
            assert offered in constants, f"{name}.{offered} has no description on the next line"


def sources(*folders):
    suffixes = {".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".inc", ".def"}
    for folder in folders:
        yield from (p for p in (ROOT / folder).rglob("*") if p.suffix in suffixes)


def all_sources():
    folders = ("csrc", "fastbp", "tests", "tools", "benchmarks", "examples", "docs")
    return [*sources(*folders), ROOT / "setup.py", ROOT / "noxfile.py"]


def python_functions(path):
    """(name, lines without the docstring) of every function of a Python file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = node.body[0] if ast.get_docstring(node) else None
            docstring = text.end_lineno - text.lineno + 1 if text else 0
            yield node.name, node.end_lineno - node.lineno + 1 - docstring


def c_functions(path):
    """(name, lines) of every function of a C file, as clang-format lays them out."""
    name, first = None, 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        begins = re.match(r"(?!#|typedef|struct|enum|union)[A-Za-z_].*?(\w+)\)?\(", line)
        if begins and not line.endswith(";"):
            name, first = begins[1], number
        elif name and line.startswith("}"):
            yield name, number - first + 1
            name = None


def test_functions_are_short():
    for path in all_sources():
        if path.suffix in {".py", ".c", ".h", ".inc"}:
            functions = python_functions if path.suffix == ".py" else c_functions
            for name, lines in functions(path):
                assert lines <= 80, f"{name} of {path.relative_to(ROOT)} has {lines} lines"


def test_files_are_short():
    for path in all_sources():
        lines = len(path.read_text().splitlines())
        # About 900. The binding has more: every call has its own arguments, programs are
        # translated, and its calls hold a lock that only Cython can see, so helpers would not
        # shorten it; a second module would link a second engine, with threads of its own.
        assert lines <= 1600, f"{path.relative_to(ROOT)} has {lines} lines"


def test_the_version_is_stated_in_one_place():
    stated = runpy.run_path(str(PACKAGE / "_version.py"))["__version__"]
    version = re.compile(rf"(?<![\d.]){re.escape(stated)}(?![\d.])")
    paths = [*sources("csrc", "fastbp"), ROOT / "setup.py", ROOT / "pyproject.toml"]
    assert [p.name for p in paths if version.search(p.read_text())] == ["_version.py"]


def test_macros_of_compilers_do_not_stand_for_systems():
    """MinGW is Windows without _MSC_VER, so _MSC_VER may only choose between intrinsics."""
    asking = {p.relative_to(CSRC).as_posix() for p in engine_files() if "_MSC_VER" in p.read_text()}
    assert asking <= {"base/cpu.c", "threads/sys.h"}
    for name in asking:  # the branches there must not call the system
        text = (CSRC / name).read_text()
        chosen = "".join(re.findall(r"_MSC_VER\)(.*?)#e", text, re.DOTALL))
        assert not re.search(r"\b(_?aligned_\w+|posix_\w+|malloc|free)\b", chosen)
