"""Builds the extension with one changed file, in a copy of the project.

All object files come from a build of setup.py, but for those that the change concerns:
- a file of nn/, threads/, text/ or base/ is compiled by itself, or with the files that include it;
- of the kernels of an ISA, only those that can reach the changed function are compiled. Before the
  module is imported, they replace those of the built tables (PATCH). So the linker must not make
  the tables read-only: -z norelro.
"""

import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

from mutant_tokens import functions_of, tokens_of

ROOT = Path(__file__).parents[3]
WORK = ROOT / "build" / "mutants"
TREE = WORK / "tree"
OBJECTS = WORK / "objects"
MODULE = "fastbp/_core" + sysconfig.get_config_var("EXT_SUFFIX")
SETUP = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")

# Only one object file changes, and it has to be compiled in a second: -O1. A change of types that
# C merely warns of is no mutant.
FLAGS = [
    *(flag for flag in SETUP["FLAGS"]["unix"]["engine"] if flag not in {"-O3", "-MMD"}),
    *("-O1", "-g0", "-fPIC", "-w", "-Icsrc", "-Werror=int-conversion"),
    *("-Werror=incompatible-pointer-types", "-Werror=implicit-function-declaration"),
    *("-Werror=discarded-qualifiers", "-Werror=return-type"),
]
PATCH = """
extern const fbp_kernels_t FBP_ISA_NAME(FBP_NAME(fbp_kernels));
__attribute__((constructor)) static void FBP_NAME(patch)(void) {
    fbp_kernels_t *table = (fbp_kernels_t *)(uintptr_t)&FBP_ISA_NAME(FBP_NAME(fbp_kernels));
    FBP_OPAQUE(table);
%s}
"""
# The kernels that take several seconds to compile. They are left out if cheaper ones reach the
# changed function, too.
SLOW = ["gemm_tn", "gemm_nn", "run_rows", "run_elements"]


# If many kernels reach a function, as those of simd/, these stand for all.
FEW = ["vmath", "norm_forward", "update", "dropout", "transpose", "act_backward", "convert"]
# The kernels that call a function of a file by macros alone, or the kernels of a function. Products
# call activations, too.
ACTIVATIONS = ["act_forward", "act_backward", "gemm_nt", "gemm_nn"]
BY_MACROS = {
    "kernels/activation.inc": ACTIVATIONS,
    "kernels/gates.inc": ["vmath", *ACTIVATIONS],
    "kernels/gemm.inc": ["gemm_nn"],
    **{name: ["gemm_tn"] for name in ("pack_a", "packs_a", "list_warm", "prefetch_warm")},
    "kernels/loss.inc": ["loss_rows"],
    "kernels/loss_terms.inc": ["loss_rows"],
    "kernels/trig.inc": ["vmath"],
    "kernels/vmath.inc": ["vmath"],
    "m_and_f32": ["gemm_nt", "gemm_nn", "loss_rows", "act_curve"],
    "m_and_f64": ["gemm_nt", "gemm_nn", "loss_rows", "act_curve"],
}
# Files whose functions call those of simd/ and of each other by name, and are called by macros.
TERMS = [f"kernels/{name}.inc" for name in ("vmath", "trig", "activation", "loss_terms")]


class NotAMutant(Exception):
    """The change does not compile, or the compiled code is the same."""


def command(*words, **options):
    """Run a command without output; return what it did."""
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


# ---- the copy of the project --------------------------------------------------------------


def built_folder():
    """Bring the object files of setup.py up to date; return their folder."""
    built = sorted(ROOT.glob("build/*-emulated/csrc/nn/step.o"), key=os.path.getmtime)
    folder = built[-1].parents[2] if built else ROOT / "build" / "mutants-base-emulated"
    plain = str(folder.relative_to(ROOT)).removesuffix("-emulated")
    made = command(
        *(sys.executable, "setup.py", "-q", "build_ext", "--build-temp", plain),
        *("--build-lib", str(WORK / "lib")),
        cwd=ROOT,
        env=os.environ | {"FASTBP_EMULATED": "1", "FASTBP_WERROR": "1"},  # as .ci/run builds
    )
    if made.returncode:
        raise SystemExit(f"mutants: setup.py could not build the engine:\n{made.stderr[-2000:]}")
    return folder


def copy_tree():
    """Copy the project to TREE, without what was built; leave files that are the same."""
    folders = ("csrc", "fastbp", "tests", "docs", "examples", "benchmarks")
    names = [path.name for path in ROOT.glob("*.*") if path.is_file()]
    for folder in folders:
        paths = (path for path in (ROOT / folder).rglob("*") if path.is_file())
        names += [str(path.relative_to(ROOT)) for path in paths]
    names = [name for name in names if not name.endswith((".so", ".pyc", ".pyd"))]
    for name in names:
        source, copy = ROOT / name, TREE / name
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            shutil.copymode(source, copy)
    for old in TREE.glob("tests/**/test_*.py"):
        if str(old.relative_to(TREE)) not in names:
            old.unlink()


def base_objects(folder=None):
    """Return the object files of setup.py by source and macros, and that of the binding; those in
    `folder`, or else of a build that is brought up to date."""
    folder = Path(folder or built_folder())
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*.o")}
    if not found:
        raise SystemExit(f"mutants: there are no object files in {folder}")
    return found


# ---- which kernels a change concerns ------------------------------------------------------


@cache
def calls():
    """Function of kernels/ or simd/ → the words in its body, by name without _f32 and _f64."""
    found = {}
    for path in sorted((ROOT / "csrc").glob("[ks]*/*")):
        if path.suffix in {".inc", ".h"}:
            for function in functions_of(tokens_of(path.read_text())):
                words = {plain(t.text) for t in function.body if t.kind == "word"}
                found.setdefault(plain(function.name), set()).update(words)
    return found


def plain(name):
    return re.sub(r"_f(32|64)$", "", name)


@cache
def slots():
    """The names of all kernels."""
    text = (ROOT / "csrc/kernels/kernels.def").read_text()
    return re.findall(r"FBP_KERNEL\(\w+,\s*(\w+),", text)


def kernels_that_reach(function, file):
    """Return kernels that call a function, directly or not, without slow ones if possible. If only
    macros call it, BY_MACROS says which."""
    if function in BY_MACROS:
        return BY_MACROS[function]
    reach, graph = {plain(function)}, calls()
    while True:
        more = {name for name, words in graph.items() if words & reach} - reach
        if not more:
            break
        reach |= more
    found = [name for name in slots() if name in reach]
    for slow in SLOW:
        if len(found) > 1 and slow in found and function != slow:
            found.remove(slow)
    if len(found) > 8:
        found = [name for name in found if name in FEW] or found[:8]
    for place in TERMS if file in TERMS or file.startswith("simd/") else [file]:
        if not reach.isdisjoint(names_in(place)):
            kernels = BY_MACROS.get(place, [])
            found += [name for name in kernels if name not in found + SLOW * bool(found)]
    if not found:
        own = names_in(file)
        return [name for name in slots() if name in own] or FEW
    return found


@cache
def names_in(file):
    """The names of the functions of a file of csrc/, without _f32 and _f64."""
    functions = functions_of(tokens_of((ROOT / "csrc" / file).read_text()))
    return {plain(function.name) for function in functions}


def partial_kernels(names):
    """Return all.inc with a table of these kernels only, and code that puts them into the other."""
    text = (ROOT / "csrc/kernels/all.inc").read_text()
    lines = (f"    table->{name} = FBP_NAME({name});\n" for name in names)
    return text[: text.index("const fbp_kernels_t")] + PATCH % "".join(lines)


# ---- compiling ----------------------------------------------------------------------------

# The ISA whose object file a file of simd/ or kernels/ changes; all other kernels are those of
# avx2, whose vectors have several lanes.
ISA_OF = {
    "simd/scalar.h": "scalar",
    "simd/avx512.h": "avx512",
    "simd/rows_scalar.h": "amx_emulated",
    "simd/tiles_emulated.h": "amx_emulated",
    "kernels/bf16.inc": "amx_emulated",
    "kernels/bf16_tiles.inc": "amx_emulated",
    "kernels/bf16.h": "amx_emulated",
    "simd/rows_avx512.h": "avx512_bf16",
    "kernels/bf16_vectors.inc": "avx512_bf16",
}
ROOMS = {"kernels": 55, "simd": 25, "nn": 70, "threads": 8, "text": 20, "base": 8}
# Files of other machines, and headers that only declare.
LEFT_OUT = {"simd/neon.h", "simd/tiles_amx.h", "simd/rows.h", "simd/simd.h"}


def isa_of(file):
    """Return the ISA on which a mutant of this file is tested."""
    return ISA_OF.get(file, "avx2")


def isas_of(file):
    """Return the ISAs on which a mutant of this file is tested. Those without products in bfloat16
    do not run all of nn/."""
    text = (ROOT / "csrc" / file).read_text()
    tiles = file.startswith("nn/") and ("bf16" in text or "TILES" in text)
    return [isa_of(file), *(["amx_emulated"] if tiles else [])]


def units_of(file, function):
    """Return the compilations that a change of `function` needs: lists of units that are tried one
    after the other, each (object file, source, flags, kernels that it has to contain or None)."""
    room = file.split("/")[0]
    if room in {"kernels", "simd"} and file not in {"kernels/kernels.h", "kernels/program.h"}:
        isa = isa_of(file)
        flags, source = SETUP["ISAS"][isa]["unix"], f"csrc/isa/{isa}.c"
        if "base" in SETUP["ISAS"][isa]:
            return [[(f"csrc/isa/{isa}.o", source, flags, None)]]
        kernels = kernels_that_reach(function, file)
        halves = [
            [(f"{half}/patch.o", source, [*flags, f"-D{half}=1"], kernels)]
            for half in ("FBP_ONLY_F32", "FBP_ONLY_F64")
        ]
        if room == "simd":
            return [halves[function.endswith("_f64")]]
        both = "FBP_IS_F64" in (ROOT / "csrc" / file).read_text()
        return halves if both else halves[:1]
    if file.endswith(".c"):
        return [[(f"csrc/{file[:-2]}.o", f"csrc/{file}", [], None)]]
    return [[(f"csrc/{name[:-2]}.o", f"csrc/{name}", [], None) for name in includers(file)]]


@cache
def includers(file):
    """Return the .c files outside of isa/ that include a header, directly or not."""
    texts = {
        str(p.relative_to(ROOT / "csrc")): p.read_text()
        for p in (ROOT / "csrc").rglob("*")
        if p.suffix in {".c", ".h"}
    }
    reach = {file}
    while True:
        names = {name.split("/")[-1] for name in reach}
        more = {
            name
            for name, text in texts.items()
            if {m.split("/")[-1] for m in re.findall(r'#include "(.+?)"', text)} & names
        } - reach
        if not more:
            found = [name for name in sorted(reach) if name.endswith(".c")]
            return [name for name in found if not name.startswith("isa/") and name != "dispatch.c"]
        reach |= more


def compile_unit(unit, out, extra=()):
    """Compile one unit in TREE; return whether the compiler accepted it."""
    _, source, flags, kernels = unit
    table = TREE / "csrc/kernels/all.inc"
    plain_text = (ROOT / "csrc/kernels/all.inc").read_text()
    table.write_text(plain_text if kernels is None else partial_kernels(kernels))
    out.parent.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "gcc")
    made = command(compiler, *FLAGS, *flags, *extra, "-c", source, "-o", str(out), cwd=TREE)
    table.write_text(plain_text)
    return made.returncode == 0


def is_newer(out):
    """Whether a file exists and is newer than all of csrc/."""
    newest = max(path.stat().st_mtime for path in (ROOT / "csrc").rglob("*"))
    return out.exists() and out.stat().st_mtime > newest


def unchanged(unit):
    """Return the object file of a unit without a change, with which mutants are compared."""
    name, source, _, kernels = unit
    key = re.sub(r"\W", "_", f"{name}-{source}-{'-'.join(kernels or [])}")[:180]
    out = OBJECTS / f"{key}.o"
    if not is_newer(out) and not compile_unit(unit, out):
        raise SystemExit(f"mutants: {source} does not compile without a change")
    return out


def compile_mutant(mutant, text):
    """Compile what a mutant concerns; return its object files by name. NotAMutant if the compiler
    refuses it or makes the same code."""
    why = "the same code"
    for units in units_of(mutant.file, mutant.function):
        same = {unit[0]: unchanged(unit).read_bytes() for unit in units}
        path = TREE / "csrc" / mutant.file
        path.write_text(mutant.apply(text))
        made = {unit[0]: WORK / "mutant" / unit[0] for unit in units}
        try:
            accepted = all(compile_unit(unit, made[unit[0]]) for unit in units)
        finally:
            path.write_text(text)
        if not accepted:
            why = "the compiler refuses it"
        elif any(made[name].read_bytes() != code for name, code in same.items()):
            return made
    raise NotAMutant(why)


def link(base, changed, libraries=()):
    """Link the module of TREE from the built object files and the changed ones."""
    objects = [str(path) for name, path in base.items() if name not in changed]
    objects += [str(path) for path in changed.values()]
    compiler = os.environ.get("CC", "gcc")
    # -Bsymbolic: a module that is loaded beside it must not take part.
    made = command(
        *(compiler, "-shared", "-o", str(TREE / MODULE), *objects, *libraries),
        *("-pthread", "-lm", "-Wl,-z,norelro", "-Wl,-Bsymbolic"),
    )
    if made.returncode:
        raise NotAMutant(f"the linker refuses it: {made.stderr[-300:]}")
