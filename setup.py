"""Build fastbp._core: the C engine of csrc/ and its Cython binding, in one extension module.

FASTBP_WERROR=1 makes warnings in csrc/ errors. FASTBP_DEBUG=1 keeps debugging symbols.
FASTBP_EMULATED=1 adds the ISA amx_emulated, with which the products of amx are tested elsewhere.
FASTBP_SANITIZE=address,undefined (or undefined, or thread) builds with these sanitizers of gcc, as
the sessions asan, ubsan and tsan of noxfile.py do; tests/attacks/README.md says how to load that.
FASTBP_ISAS=avx2 builds only the ISAs it lists, their bases, and scalar, which is always there.
"""

import copy
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

WERROR = os.environ.get("FASTBP_WERROR") == "1"
DEBUG = os.environ.get("FASTBP_DEBUG") == "1"
EMULATED = os.environ.get("FASTBP_EMULATED") == "1"
SANITIZE = [name for name in os.environ.get("FASTBP_SANITIZE", "").split(",") if name]
ONLY_ISAS = [name for name in os.environ.get("FASTBP_ISAS", "").split(",") if name]

CSRC = Path("csrc")

# The ISAs, the slowest first. Each has one file in csrc/isa/: the machine that it needs, and its
# flags by family of compilers: those with the options of gcc, and clang-cl. No other file may use
# optional features of the processor. An ISA with a base has only products in bfloat16; its other
# kernels are those of the base. It is left out if its family is not listed, or if the compiler or
# its assembler cannot translate `probe`.
ISAS = {
    # -O2 halves the time of its translation. With gcc 12, steps in float32 then take 1 to 14 % less
    # time, and in float64 3 % more.
    "scalar": {"machine": "any", "unix": ["-O2"], "msvc": []},
    "amx_emulated": {"machine": "emulated", "base": "scalar", "needs": "SCALAR", "unix": []},
    "neon": {"machine": "aarch64", "unix": [], "msvc": []},
    "avx2": {"machine": "x86_64", "unix": ["-mavx2", "-mfma"], "msvc": ["/arch:AVX2"]},
    "avx512": {
        "machine": "x86_64",
        "unix": [
            *("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"),
            "-mprefer-vector-width=512",
        ],
        "msvc": ["/arch:AVX512"],
    },
    "avx512_bf16": {
        "machine": "x86_64",
        "base": "avx512",
        "unix": [
            *("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"),
            *("-mavx512bf16", "-mprefer-vector-width=512"),
        ],
        "probe": "__m512 f(__m512 c, __m512bh a) { return _mm512_dpbf16_ps(c, a, a); }",
    },
    "amx": {
        "machine": "x86_64",
        "system": "linux",
        "base": "avx512",
        "unix": [
            *("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"),
            *("-mavx512bf16", "-mamx-tile", "-mamx-bf16", "-mprefer-vector-width=512"),
        ],
        "probe": "void f(void) { _tile_dpbf16ps(0, 1, 2); }",
    },
}

# Macros that restrict a file of csrc/isa/ to one dtype. These files take the longest, so each is
# compiled in two halves, at the same time if there are processors for both.
ONLY = ["FBP_ONLY_F32", "FBP_ONLY_F64"]

# Flags by compiler and kind of file.
FLAGS = {
    "unix": {
        "engine": [
            *("-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"),
            "-fno-wrapv",  # overrides -fwrapv in Python's CFLAGS
            *("-fvisibility=hidden", "-pthread", "-MMD"),
            *("-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wundef"),
        ],
        "binding": ["-O2", "-fvisibility=hidden", "-MMD"],
        # GCC for Windows does not align the stack for vectors of AVX (GCC bug 54412). The assembler
        # (binutils 2.40) can replace moves that need an aligned address.
        "mingw": ["-Wa,-muse-unaligned-vector-move"],
        "werror": ["-Werror"],
        "debug": ["-g"],
        "release": ["-g0"],  # overrides -g in Python's CFLAGS; debug sections make the wheel large
        "link": ["-pthread", "-lm"],
        # A report ends the process. -O1 and calls instead of inline checks: at -O3, gcc would take
        # minutes for each file of kernels.
        "sanitize": ["-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"],
        "address": ["--param", "asan-instrumentation-with-call-threshold=0"],
    },
    "msvc": {
        "engine": [
            *("/std:c11", "/O2", "/clang:-O3", "/clang:-fno-math-errno"),
            *("/clang:-fno-trapping-math", "/clang:-ffp-contract=off", "/utf-8", "/W3"),
        ],
        "binding": ["/O2"],
        "werror": ["/WX"],
        "debug": ["/Z7"],
        "release": [],
        "link": [],
    },
}


def choose_one_architecture():
    """On macOS, build for one architecture, because an ISA file fits only one, and tag it so."""
    here = os.uname().machine
    archs = os.environ.setdefault("ARCHFLAGS", f"-arch {here}").split()[1::2]
    name = archs[0] if len(archs) == 1 else "universal2"
    system, version, _ = sysconfig.get_platform().split("-")
    os.environ.setdefault("_PYTHON_HOST_PLATFORM", f"{system}-{version}-{name}")


def target_machine(plat_name):
    """Return x86_64, aarch64, or another name, for which only the scalar ISA is built.

    plat_name is the platform of the wheel, such as linux-x86_64, macosx-11.0-arm64 or win-amd64. A
    cross compiler's user sets it by _PYTHON_HOST_PLATFORM, and Visual Studio by its own variables.
    """
    if sys.maxsize < 2**32:  # on a 64-bit Linux, the name does not say that Python has 32 bits
        return "32-bit"
    name = plat_name.rpartition("-")[2]
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def use_clang_cl(compiler, plat_name):
    """Call clang-cl with the libraries and the linker that setuptools has found for cl.

    cl has neither C11's atomics without an experimental option nor the builtins of gcc and clang.
    """
    compiler.initialize(plat_name)
    tools = Path(compiler.cc).parents[5] / "Llvm"  # Tools/MSVC/VERSION/bin/HOST/TARGET/cl.exe
    programs = os.environ.get("ProgramFiles", "")
    folders = [os.environ["PATH"], os.path.join(programs, "LLVM", "bin")]
    folders += [str(tools / name / "bin") for name in ("x64", "ARM64", "")]
    found = shutil.which("clang-cl", path=os.pathsep.join(folders))
    if found is None:
        raise SystemExit(
            "fastbp needs clang-cl on Windows: install LLVM for Windows, or the component "
            '"C++ Clang tools for Windows" of Visual Studio'
        )
    compiler.cc = found
    machine = {"32-bit": "i686"}.get(target_machine(plat_name), target_machine(plat_name))
    compiler.compile_options.append(f"--target={machine}-pc-windows-msvc")


def wanted_isas():
    """Return the names of FASTBP_ISAS with their bases, or of all ISAs, the slowest first."""
    unknown = [name for name in ONLY_ISAS if name not in ISAS]
    if unknown:
        raise SystemExit(f"FASTBP_ISAS: expected names among {', '.join(ISAS)}; got {unknown[0]}")
    wanted = {"scalar", *ONLY_ISAS, *(ISAS[name].get("base") for name in ONLY_ISAS)}
    return [name for name in ISAS if name in wanted or not ONLY_ISAS]


def sanitizers():
    """Return the flags for FASTBP_SANITIZE, for compiling and for linking."""
    if SANITIZE not in ([], ["address"], ["undefined"], ["address", "undefined"], ["thread"]):
        raise SystemExit(
            f"FASTBP_SANITIZE={','.join(SANITIZE)}: expected address, undefined, address,undefined "
            "or thread"
        )
    # gcc leaves float-cast-overflow out of `undefined`: a float converted to an int too small.
    more = ["float-cast-overflow"] if "undefined" in SANITIZE else []
    return [f"-fsanitize={','.join(SANITIZE + more)}"] if SANITIZE else []


def entry(isa):
    """Return the entry of an ISA in the list of csrc/dispatch.c."""
    needs, base = ISAS[isa].get("needs", isa.upper()), ISAS[isa].get("base")
    return f"BF16({isa}, {needs}, {base})" if base else f"ISA({isa}, {needs})"


def is_fresh(obj, source, command):
    """Whether an object file was made by this command, and is newer than this file and its inputs.

    The inputs are the files that the compiler listed (-MMD), or else the source and all headers.
    """
    made_by = obj.with_suffix(".command")
    if not (obj.exists() and made_by.exists() and made_by.read_text("utf-8") == command):
        return False
    listed = obj.with_suffix(".d")
    if listed.exists():
        inputs = listed.read_text().replace("\\\n", " ").partition(": ")[2].split()
    else:
        inputs = [source, *(p for p in CSRC.rglob("*") if p.suffix in {".h", ".inc", ".def"})]
    made = obj.stat().st_mtime
    return all(os.path.exists(p) and os.path.getmtime(p) <= made for p in [__file__, *inputs])


class BuildEngine(build_ext):
    """Compile each changed source with its own flags, in parallel, and link the extension."""

    def finalize_options(self):
        chosen = self.build_temp is not None
        super().finalize_options()
        if self.editable_mode:  # the temporary folder of setuptools would lose the object files
            name = f"editable.{self.plat_name}-{sys.implementation.cache_tag}"
            self.build_temp = os.path.join("build", name)
        elif not chosen:  # the objects of the engine serve every version of Python
            self.build_temp = os.path.join("build", f"objects.{self.plat_name}")
        if EMULATED:  # dispatch.c depends on the list of ISAs
            self.build_temp += "-emulated"
        if DEBUG:
            self.build_temp += "-debug"
        if SANITIZE:
            self.build_temp += "-" + "-".join(SANITIZE)
        if ONLY_ISAS:
            self.build_temp += "-" + "-".join(ONLY_ISAS)

    def run(self):
        super().run()
        # Python in this folder imports fastbp/, not the installed package. A module with sanitizers
        # stays away from it, because without LD_PRELOAD its import ends Python.
        if not self.inplace and not SANITIZE:
            self.copy_extensions_to_source()

    def build_extension(self, ext):
        self.family = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        if self.family == "msvc" and not self.compiler.initialized:
            use_clang_cl(self.compiler, self.plat_name)
        # The engine needs no headers of Python, so its objects serve every version of Python.
        others = [path for path in self.compiler.include_dirs if path not in self.include_dirs]
        self.engine_compiler = copy.copy(self.compiler)
        self.engine_compiler.set_include_dirs(others)
        self.isas = [name for name in wanted_isas() if self.can_build(name)]
        (made,) = cythonize(ext, build_dir=self.build_temp, language_level=3, force=self.force)
        jobs = [*((source, ["binding"], []) for source in made.sources), *self.engine_jobs()]
        with ThreadPoolExecutor(self.parallel or max(2, os.cpu_count() or 1)) as pool:
            objects = list(pool.map(lambda job: self.compile(ext, *job), jobs))
        ext.sources, ext.extra_objects, ext.depends = [], objects, objects
        ext.extra_link_args = [*FLAGS[self.family]["link"], *sanitizers()]
        if not self.inplace:  # it may come from other flags, and be newer than these objects
            Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
        super().build_extension(ext)

    def can_build(self, name):
        """Whether an ISA is for this machine and system, and the compiler knows it."""
        isa = ISAS[name]
        machine = target_machine(self.plat_name)
        machines = {"any", machine} | ({"emulated"} if EMULATED else set())
        if isa["machine"] not in machines or isa.get("system", sys.platform) != sys.platform:
            return False
        if "base" not in isa or not isa.get(self.family):
            return self.family in isa
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(f"#include <immintrin.h>\n{isa['probe']}\n")
            command = [*self.compiler.compiler_so, *isa[self.family], "-c", str(source)]
            command += ["-o", f"{folder}/probe.o"]
            done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode != 0:
            print(f"this compiler or its assembler does not know the ISA {name}: leaving it out")
        return done.returncode == 0

    def engine_jobs(self):
        """Return (source, kinds of flags, macros) of each file to compile, the slowest first."""
        listed = " ".join(map(entry, self.isas))
        jobs = []
        for isa in reversed(self.isas):
            units = [[]] if "base" in ISAS[isa] else [[(only, "1")] for only in ONLY]
            jobs += [(f"csrc/isa/{isa}.c", ["engine", isa], macros) for macros in units]
        for path in sorted(CSRC.rglob("*.c")):
            if path.parent.name != "isa":
                macros = [("FBP_ISAS", listed)] if path == CSRC / "dispatch.c" else []
                jobs.append((path.as_posix(), ["engine"], macros))
        return jobs

    def compile(self, ext, source, kinds, macros):
        """Compile one source unless its object file is fresh; return the object file."""
        folder = os.path.join(self.build_temp, *(name for name, _ in macros if name in ONLY))
        (obj,) = self.compiler.object_filenames([source], output_dir=folder)
        kinds = [*kinds, "debug" if DEBUG or SANITIZE else "release"]
        if WERROR and "engine" in kinds:
            kinds.append("werror")
        if self.compiler.compiler_type == "mingw32":
            kinds.append("mingw")
        if SANITIZE:
            kinds.append("sanitize")
        if "address" in SANITIZE:
            kinds.append("address")
        flags = FLAGS[self.family] | {name: isa.get(self.family) for name, isa in ISAS.items()}
        options = {
            "macros": macros,
            "include_dirs": ext.include_dirs,
            "extra_postargs": [*sanitizers(), *(flag for kind in kinds for flag in flags[kind])],
        }
        compiler = self.engine_compiler if "engine" in kinds else self.compiler
        program = compiler.cc if self.family == "msvc" else compiler.compiler_so
        command = f"{program} {compiler.include_dirs} {options}"
        if is_fresh(Path(obj), source, command) and not self.force:
            return obj
        Path(obj).unlink(missing_ok=True)
        compiler.compile([source], output_dir=folder, **options)
        Path(obj).with_suffix(".command").write_text(command, "utf-8")
        return obj


if __name__ == "__main__":
    if sys.platform == "darwin":
        choose_one_architecture()
    setup(
        ext_modules=[Extension("fastbp._core", ["fastbp/_core.pyx"], include_dirs=["csrc"])],
        cmdclass={"build_ext": BuildEngine},
    )
