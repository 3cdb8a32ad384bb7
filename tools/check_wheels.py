"""Check wheels before a release: contents, tags, size, and what their binaries need and export.

The wheels of Linux are checked in all details, those of other systems by their contents and the
machine of the binary. Prints each fault, and last the number of wheels and checks.
"""

import argparse
import base64
import csv
import hashlib
import io
import re
import struct
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 2_500_000
MAX_GLIBC = (2, 28)  # manylinux_2_28
LIBRARIES = {
    "manylinux": {
        *("libc.so.6", "libm.so.6", "libpthread.so.0"),
        *("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"),  # the part of glibc that loads it
    },
    "musllinux": {"libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"},
}
# The numbers of machines in the headers of ELF, PE and Mach-O files.
MACHINES = {
    "x86_64": ("EM_X86_64", 0x8664, 0x01000007),
    "aarch64": ("EM_AARCH64", 0xAA64, 0x0100000C),
}
# What each wheel must contain; a compiler that lacks one of them is too old for a release.
ISAS = {
    ("linux", "x86_64"): {"scalar", "avx2", "avx512", "avx512_bf16", "amx"},
    ("macos", "x86_64"): {"scalar", "avx2", "avx512", "avx512_bf16"},
    ("win", "x86_64"): {"scalar", "avx2", "avx512"},
    **{(system, "aarch64"): {"scalar", "neon"} for system in ("linux", "macos", "win")},
}
PLATFORMS = [
    (family, machine)
    for family in ("manylinux", "musllinux", "macosx", "win")
    for machine in ("x86_64", "aarch64")
]
WHEEL = re.compile(
    r"fastbp-(?P<version>[^-]+)-cp(?P<python>\d+)-cp(?P<abi>\d+t?)-(?P<platform>[^-]+)\.whl"
)


class Report:
    """Counts checks and keeps the faults."""

    def __init__(self):
        self.checks, self.faults = 0, []

    def check(self, holds, fault):
        self.checks += 1
        if not holds:
            self.faults.append(fault)
            print(f"fault: {fault}", flush=True)


def machine_of(platform):
    """Return the system and the machine of a platform tag, such as ("linux", "aarch64")."""
    system = next((s for s in ("linux", "macos", "win") if s in platform), platform)
    machine = "x86_64" if platform.endswith(("x86_64", "amd64")) else "aarch64"
    return system, machine


def installed_files(sdist):
    """The files of the package in a source distribution, as a wheel must have them."""
    kinds = {".py", ".pyi", ".typed", ".css", ".js", ".npz"}
    with tarfile.open(sdist) as archive:
        names = {PurePosixPath(*PurePosixPath(n).parts[1:]) for n in archive.getnames()}
    return {
        str(name)
        for name in names
        if name.parts[:1] == ("fastbp",)
        and (name.suffix in kinds or name.name == "py.typed" or name.match("datasets/README.md"))
    }


def files_of(wheel):
    """The names of the files in a wheel, without those of folders."""
    return {path for path in wheel.namelist() if not path.endswith("/")}


def check_record(name, wheel, report):
    """RECORD lists every file with the hash of its bytes."""
    files = files_of(wheel)
    (record,) = (path for path in files if path.endswith(".dist-info/RECORD"))
    rows = {row[0]: row[1] for row in csv.reader(io.StringIO(wheel.read(record).decode()))}
    report.check(rows.keys() == files, f"{name}: RECORD does not list its files")
    for path, hashed in rows.items():
        if path != record and path in files:
            digest = hashlib.sha256(wheel.read(path)).digest()
            expected = "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            report.check(hashed == expected, f"{name}: RECORD has another hash of {path}")


def check_contents(name, wheel, tags, expected, report):
    """The package, one extension of this version of Python, and the metadata; nothing else."""
    files = {path for path in files_of(wheel) if ".dist-info/" not in path}
    extensions = {path for path in files if path.endswith((".so", ".pyd"))}
    missing, extra = expected - files, files - expected - extensions
    report.check(not missing, f"{name}: lacks {sorted(missing)}")
    report.check(not extra, f"{name}: has files that do not belong there: {sorted(extra)}")
    report.check(len(extensions) == 1, f"{name}: has the extensions {sorted(extensions)}")
    numbered = re.compile(rf"fastbp/_core\.(cpython-|cp){tags['abi']}-")
    report.check(
        all(numbered.match(path) for path in extensions),
        f"{name}: {sorted(extensions)} is not of the ABI cp{tags['abi']}",
    )
    (about,) = (path for path in wheel.namelist() if path.endswith(".dist-info/WHEEL"))
    stated = Parser().parsestr(wheel.read(about).decode())
    named = {
        f"cp{tags['python']}-cp{tags['abi']}-{platform}" for platform in tags["platform"].split(".")
    }
    report.check(set(stated.get_all("Tag")) == named, f"{name}: its WHEEL file has other tags")
    report.check(stated["Root-Is-Purelib"] == "false", f"{name}: says that it is pure Python")
    (about,) = (path for path in wheel.namelist() if path.endswith(".dist-info/METADATA"))
    version = Parser().parsestr(wheel.read(about).decode())["Version"]
    report.check(version == tags["version"], f"{name}: its METADATA has the version {version}")
    return sorted(extensions)


def check_elf(name, data, tags, report):
    """What the binary of a wheel for Linux needs, exports and protects."""
    elf = ELFFile(io.BytesIO(data))
    family = "musllinux" if "musllinux" in tags["platform"] else "manylinux"
    dynamic = elf.get_section_by_name(".dynamic")
    tagged = {tag.entry.d_tag: tag for tag in dynamic.iter_tags()}
    needed = {tag.needed for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_NEEDED"}
    _, machine = machine_of(tags["platform"])
    foreign = needed - LIBRARIES[family]
    report.check(elf["e_machine"] == MACHINES[machine][0], f"{name}: is for {elf['e_machine']}")
    report.check(not foreign, f"{name}: needs {sorted(foreign)}")
    report.check(not {"DT_RPATH", "DT_RUNPATH", "DT_TEXTREL"} & tagged.keys(), f"{name}: has paths")
    versions = glibc_versions(elf)
    report.check(
        all(v <= MAX_GLIBC for v in versions), f"{name}: needs glibc {max(versions, default=0)}"
    )
    if family == "musllinux":
        report.check(not versions, f"{name}: needs glibc {versions}, but is for musl")
    stack = [s for s in elf.iter_segments() if s["p_type"] == "PT_GNU_STACK"]
    report.check(stack and not stack[0]["p_flags"] & 1, f"{name}: has an executable stack")
    relro = any(s["p_type"] == "PT_GNU_RELRO" for s in elf.iter_segments())
    now = "DT_BIND_NOW" in tagged or any(
        key in tagged and tagged[key].entry.d_val & bit
        for key, bit in (("DT_FLAGS", 0x8), ("DT_FLAGS_1", 0x1))
    )
    report.check(relro and now, f"{name}: its table of functions is writable (no full RELRO)")
    debug = [s.name for s in elf.iter_sections() if s.name.startswith((".debug", ".zdebug"))]
    report.check(not debug, f"{name}: has the sections {debug}")
    exported = {
        symbol.name
        for symbol in elf.get_section_by_name(".dynsym").iter_symbols()
        if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
    }
    report.check(exported == {"PyInit__core"}, f"{name}: exports {sorted(exported)}")


def glibc_versions(elf):
    """The versions of glibc that the binary needs, such as {(2, 17)}."""
    found = set()
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, needed in section.iter_versions():
                numbers = (re.fullmatch(r"GLIBC_([\d.]+)", each.name) for each in needed)
                found |= {tuple(map(int, n[1].split("."))) for n in numbers if n}
    return found


def check_other_binary(name, data, tags, report):
    """The machine of a binary for Windows or macOS."""
    system, machine = machine_of(tags["platform"])
    if system == "win":
        (at,) = struct.unpack_from("<I", data, 0x3C)
        found, expected = struct.unpack_from("<H", data, at + 4)[0], MACHINES[machine][1]
    else:
        found, expected = struct.unpack_from("<I", data, 4)[0], MACHINES[machine][2]
    report.check(found == expected, f"{name}: its binary is for machine {found:#x}")


def check_wheel(path, expected, report):
    """All checks of one wheel."""
    name = path.name
    tags = WHEEL.fullmatch(name)
    report.check(tags is not None, f"{name}: is not the name of a wheel of fastbp")
    if tags is None:
        return
    system, machine = machine_of(tags["platform"])
    size = path.stat().st_size
    report.check(size < MAX_BYTES, f"{name}: has {size} bytes; {MAX_BYTES} are the limit")
    public = re.compile(r"(?:manylinux|musllinux|macosx)_\d+_\d+_\w+|win_(?:amd64|arm64)")
    report.check(
        all(map(public.fullmatch, tags["platform"].split("."))), f"{name}: no index would take it"
    )
    with zipfile.ZipFile(path) as wheel:
        extensions = check_contents(name, wheel, tags, expected, report)
        check_record(name, wheel, report)
        for extension in extensions:
            data = wheel.read(extension)
            for isa in sorted(ISAS[system, machine]):
                report.check(b"\0%s\0" % isa.encode() in data, f"{name}: lacks the ISA {isa}")
            if system == "linux":
                check_elf(name, data, tags, report)
            else:
                check_other_binary(name, data, tags, report)


def listed_wheels():
    """(version of Python, platform) of every wheel of a release, as pyproject.toml lists them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["cibuildwheel"]
    versions = [name.removeprefix("cp").removesuffix("-*") for name in settings["build"]]
    return {(version, platform) for version in versions for platform in PLATFORMS}


def check_all_there(wheels, report):
    """Each wheel of a release is there."""
    found = set()
    for path in wheels:
        tags = WHEEL.fullmatch(path.name)
        if tags is not None:
            family = next(f for f in ("manylinux", "musllinux", "macosx", "win") if f in path.name)
            found.add((tags["abi"], (family, machine_of(tags["platform"])[1])))
    for version, (family, machine) in sorted(listed_wheels()):
        report.check(
            (version, (family, machine)) in found,
            f"there is no wheel of cp{version} for {family}, {machine}",
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder with an sdist and the wheels of it")
    parser.add_argument(
        "--all", action="store_true", help="every wheel that pyproject.toml lists must be there"
    )
    chosen = parser.parse_args()
    wheels, sdists = sorted(chosen.folder.glob("*.whl")), list(chosen.folder.glob("*.tar.gz"))
    if len(sdists) != 1 or not wheels:
        sys.exit(
            f"{chosen.folder} has {len(wheels)} wheels and {len(sdists)} sdists: expected wheels "
            f"and the one sdist that they were built from"
        )
    report, expected = Report(), installed_files(sdists[0])
    version = sdists[0].name.removeprefix("fastbp-").removesuffix(".tar.gz")
    for path in wheels:
        report.check(f"-{version}-" in path.name, f"{path.name}: is not of {sdists[0].name}")
        check_wheel(path, expected, report)
    if chosen.all:
        check_all_there(wheels, report)
    print(f"wheels: {len(wheels)} built, {report.checks} checks, {len(report.faults)} faults")
    sys.exit(bool(report.faults))


if __name__ == "__main__":
    main()
