"""What a release is made of: platforms of a build, the list of wheels, their checks, changelog."""

import ast
import base64
import hashlib
import importlib.util
import os
import re
import struct
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from engine_build import from_setup

import fastbp
from fastbp import _core

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def tool(name):
    """A program of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


changelog, check_wheels = tool("changelog"), tool("check_wheels")
cross_build = tool("cross_build")


# ---- setup.py ------------------------------------------------------------------------------------


def build_function(name, **names):
    """A function of setup.py, which can only be imported where Cython is."""
    return from_setup(name, **names)[name]


@pytest.mark.parametrize(
    ("platform", "machine"),
    [
        ("linux-x86_64", "x86_64"),
        ("linux-aarch64", "aarch64"),
        ("linux-i686", "i686"),
        ("macosx-11.0-arm64", "aarch64"),
        ("macosx-10.13-x86_64", "x86_64"),
        ("macosx-10.13-universal2", "universal2"),  # only the scalar ISA
        ("win-amd64", "x86_64"),
        ("win-arm64", "aarch64"),
    ],
)
def test_the_machine_is_that_of_the_wheel(platform, machine):
    assert build_function("target_machine", sys=sys)(platform) == machine


@pytest.mark.parametrize(
    ("archs", "python", "platform"),
    [
        (None, "macosx-11.0-arm64", "macosx-11.0-arm64"),
        (None, "macosx-10.13-universal2", "macosx-10.13-arm64"),
        ("-arch x86_64", "macosx-10.13-universal2", "macosx-10.13-x86_64"),
        ("-arch arm64 -arch x86_64", "macosx-11.0-arm64", "macosx-11.0-universal2"),
    ],
)
def test_a_build_on_macos_is_for_one_architecture(archs, python, platform):
    class System:
        environ = {} if archs is None else {"ARCHFLAGS": archs}

        @staticmethod
        def uname():
            return type("uname", (), {"machine": "arm64"})

    class Config:
        get_platform = staticmethod(lambda: python)

    build_function("choose_one_architecture", os=System, sysconfig=Config)()
    assert System.environ["_PYTHON_HOST_PLATFORM"] == platform
    assert System.environ["ARCHFLAGS"] == (archs or "-arch arm64")


def test_an_object_file_is_fresh_only_for_the_command_that_made_it(tmp_path):
    is_fresh = build_function("is_fresh", os=os, CSRC=tmp_path, __file__=str(tmp_path / "setup.py"))
    obj, source = tmp_path / "a.o", tmp_path / "a.c"
    for path in (tmp_path / "setup.py", source, obj):
        path.write_text("")
    os.utime(obj, (2**31, 2**31))
    assert not is_fresh(obj, str(source), "gcc -O2")  # nobody knows what made it
    obj.with_suffix(".command").write_text("gcc -O2")
    assert is_fresh(obj, str(source), "gcc -O2")
    assert not is_fresh(obj, str(source), "gcc -O2 -Werror")
    os.utime(source, (2**31 + 1, 2**31 + 1))
    assert not is_fresh(obj, str(source), "gcc -O2")


# ---- the list of wheels --------------------------------------------------------------------------


def test_wheels_begin_with_the_oldest_python_that_the_package_takes():
    oldest = SETTINGS["project"]["requires-python"].removeprefix(">=").replace(".", "")
    built = SETTINGS["tool"]["cibuildwheel"]["build"]
    assert built[0] == f"cp{oldest}-*"
    assert all(re.fullmatch(r"cp3\d+t?-\*", pattern) for pattern in built)


def imported(path):
    """The packages that a module imports at its top level."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_the_tests_of_wheels_need_no_more_than_they_install():
    settings = SETTINGS["tool"]["cibuildwheel"]
    folders = re.findall(r"\{project\}/(\S+)", settings["test-command"])
    known = {re.match(r"[\w-]+", name)[0] for name in settings["test-requires"]}
    known |= {"numpy", "fastbp", *sys.stdlib_module_names}
    known |= {path.stem for path in ROOT.glob("tests/**/*.py")}
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 40
    assert {name for path in paths for name in imported(path)} <= known


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_pin_actions_and_call_sessions(path):
    text = path.read_text("utf-8")
    uses = re.findall(r"uses: (.*)", text)
    assert uses and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", use) for use in uses)
    assert re.search(r"^permissions:\n  contents: read\n\n", text, re.MULTILINE)
    sessions = re.findall(r"@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text("utf-8"))
    called = re.findall(r"(?:nox -s|\bsession:) (\w+)", text)  # the second one is in a matrix
    assert set(called) <= set(sessions)
    assert called or ".ci/run" in text


def test_actions_have_one_version_in_all_workflows():
    uses = {use for path in WORKFLOWS for use in re.findall(r"uses: (.*)", path.read_text("utf-8"))}
    names = [use.partition("@")[0] for use in uses]
    assert len(names) == len(set(names)), sorted(uses)


# ---- the section of the changelog ----------------------------------------------------------------

CHANGELOG = """# Changelog

## [Unreleased]

- Later.

## [1.2.0] - 2026-05-04

### Added

- Something.

## [1.1.0]

- No date.

## [1.0.0] - 2026-01-02
"""


def test_the_section_of_a_version_is_what_its_heading_has_below_it():
    assert changelog.section(CHANGELOG, "1.2.0") == "### Added\n\n- Something.\n"


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1.1.0", r"has no date: expected `## \[1.1.0\] - YYYY-MM-DD`"),
        ("1.0.0", "says nothing about 1.0.0"),
        ("2.0.0", "no section .2.0.0., only: Unreleased, 1.2.0, 1.1.0, 1.0.0"),
        ("1.2", "no section .1.2."),
    ],
)
def test_a_version_without_a_dated_section_has_no_release(version, message):
    with pytest.raises(changelog.ReleaseError, match=message):
        changelog.section(CHANGELOG, version)


def test_the_tag_must_name_the_version():
    changelog.check_tag("v1.2.0", "1.2.0")
    for tag in ("1.2.0", "v1.2", "v1.2.0rc1"):
        with pytest.raises(changelog.ReleaseError, match=f"the tag is {tag}, but"):
            changelog.check_tag(tag, "1.2.0")


def test_the_version_of_the_changelog_is_that_of_the_package():
    assert changelog.stated_version() == fastbp.__version__
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    known = [heading["version"] for heading in changelog.HEADING.finditer(text)]
    assert known[0] == "Unreleased" or known[0] == fastbp.__version__
    assert fastbp.__version__ in known


# ---- cross builds --------------------------------------------------------------------------------


def headers_of(folder, minor, config="#define SIZEOF_LONG 8\n"):
    """A folder with the headers of Python 3.minor, as far as a cross build reads them."""
    folder.mkdir(parents=True)
    (folder / "Python.h").write_text("")
    (folder / "pyconfig.h").write_text(config)
    (folder / "patchlevel.h").write_text(
        f"#define PY_MAJOR_VERSION        3\n#define PY_MINOR_VERSION        {minor}\n"
    )
    return folder


def test_headers_say_for_which_python_they_are(tmp_path):
    threaded = "#define SIZEOF_LONG 8\n#define Py_GIL_DISABLED 1\n"
    locked = "#define SIZEOF_LONG 8\n/* #undef Py_GIL_DISABLED */\n"
    assert cross_build.Headers(headers_of(tmp_path / "a", 11)).number == "311"
    assert cross_build.Headers(headers_of(tmp_path / "b", 14, locked)).number == "314"
    assert cross_build.Headers(headers_of(tmp_path / "c", 14, threaded)).number == "314t"


def test_headers_have_the_configuration_of_a_64_bit_linux(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_config_var", {"MULTIARCH": "some-machine"}.get)
    chooses = "#include <some-machine/python3.13/pyconfig.h>\n"  # as Debian has it
    folder = headers_of(tmp_path / "python3.13", 13, chooses)
    with pytest.raises(SystemExit, match="no pyconfig.h of a 64-bit Linux"):
        cross_build.Headers(folder)
    headers_of(tmp_path / "some-machine" / "python3.13", 13)
    copied = cross_build.Headers(folder).copy_to(tmp_path / "copied")
    assert (copied / "pyconfig.h").read_text() == "#define SIZEOF_LONG 8\n"
    assert (copied / "Python.h").exists()


def test_headers_that_are_missing_or_too_old_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="has no Python.h: give a folder such as"):
        cross_build.Headers(tmp_path)
    with pytest.raises(SystemExit, match="fastbp needs 3.11 or later"):
        cross_build.Headers(headers_of(tmp_path / "old", 10))


@pytest.mark.parametrize(
    ("found", "target", "fits"),
    [
        ("manylinux_2_17_aarch64", "manylinux_2_28_aarch64", True),
        ("manylinux_2_28_x86_64", "manylinux_2_28_x86_64", True),
        ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", False),
        ("manylinux_2_17_aarch64", "manylinux_2_28_x86_64", False),
        ("manylinux_2_17_x86_64", "musllinux_1_2_x86_64", False),
        ("musllinux_1_2_x86_64", "musllinux_1_2_x86_64", True),
        ("linux_x86_64", "manylinux_2_28_x86_64", False),
    ],
)
def test_a_binary_that_needs_more_than_its_platform_has_is_refused(
    monkeypatch, found, target, fits
):
    text = f'a.whl is consistent with the\nfollowing platform tag: "{found}".\n'
    monkeypatch.setattr(cross_build, "run", lambda *command: text)
    if fits:
        cross_build.audit(Path("a.whl"), target)
    else:
        with pytest.raises(SystemExit, match=f"a.whl is not for {target}"):
            cross_build.audit(Path("a.whl"), target)


# ---- the checks of wheels ------------------------------------------------------------------------

PACKAGE = {"fastbp/__init__.py": b"", "fastbp/py.typed": b""}
NAME = "fastbp-1.2.0-cp311-cp311-win_amd64.whl"
EXTENSION = "fastbp/_core.cp311-win_amd64.pyd"


def binary(machine=0x8664, isas=("scalar", "avx2", "avx512")):
    """The beginning of a binary of Windows, with the names of ISAs."""
    head = bytearray(0x80)
    struct.pack_into("<I", head, 0x3C, 0x40)
    struct.pack_into("<H", head, 0x44, machine)
    return bytes(head) + b"\0" + b"".join(isa.encode() + b"\0" for isa in isas)


def write_wheel(path, files, tag="cp311-cp311-win_amd64", spoil=None):
    """Write a wheel with these files and their metadata; `spoil` changes a file after its hash."""
    about = "fastbp-1.2.0.dist-info"
    files = files | {
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
        f"{about}/METADATA": b"Metadata-Version: 2.4\nName: fastbp\nVersion: 1.2.0\n",
    }
    rows = []
    for name, data in files.items():
        hashed = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={hashed},{len(data)}\n")
    record = f"{about}/RECORD"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data + b" " if name == spoil else data)
        wheel.writestr(record, "".join([*rows, f"{record},,\n"]))


def faults_of(path):
    report = check_wheels.Report()
    check_wheels.check_wheel(path, set(PACKAGE), report)
    assert report.checks > 10
    return report.faults


def test_a_correct_wheel_has_no_faults(tmp_path):
    write_wheel(tmp_path / NAME, PACKAGE | {EXTENSION: binary()})
    assert faults_of(tmp_path / NAME) == []


WITHOUT = {"fastbp/__init__.py": b""}


@pytest.mark.parametrize(
    ("files", "options", "fault"),
    [
        (WITHOUT | {EXTENSION: binary()}, {}, "lacks .'fastbp/py.typed'"),
        (PACKAGE | {EXTENSION: binary(), "tests/a.py": b""}, {}, "do not belong there"),
        (PACKAGE | {EXTENSION: binary(), "fastbp/_x.cp311-a.pyd": binary()}, {}, "extensions"),
        (PACKAGE | {"fastbp/_core.cp312-win_amd64.pyd": binary()}, {}, "not of the ABI cp311"),
        (PACKAGE | {EXTENSION: binary(0xAA64)}, {}, "for machine 0xaa64"),
        (PACKAGE | {EXTENSION: binary(isas=("scalar", "avx2"))}, {}, "lacks the ISA avx512"),
        (PACKAGE | {EXTENSION: binary() + b"\0" * 10}, {"spoil": EXTENSION}, "another hash"),
        (PACKAGE | {EXTENSION: binary()}, {"tag": "cp312-cp312-win_amd64"}, "other tags"),
        (PACKAGE | {EXTENSION: binary() + bytes(2_500_000)}, {}, "2500000 are the limit"),
    ],
)
def test_a_fault_of_a_wheel_is_found(tmp_path, files, options, fault):
    write_wheel(tmp_path / NAME, files, **options)
    assert any(re.search(fault, found) for found in faults_of(tmp_path / NAME))


def test_a_release_without_one_of_its_wheels_is_found():
    report = check_wheels.Report()
    names = [
        f"fastbp-1.2.0-cp{abi.rstrip('t')}-cp{abi}-{family}_{machine}.whl"
        for abi, (family, machine) in sorted(check_wheels.listed_wheels())
    ]
    check_wheels.check_all_there(list(map(Path, names)), report)
    assert not report.faults and report.checks == len(names) >= 40
    check_wheels.check_all_there(list(map(Path, names[1:])), report)
    assert len(report.faults) == 1 and names[0].split("-")[3] in report.faults[0]


@pytest.mark.skipif(sys.platform != "linux", reason="ELF is the format of Linux")
def test_the_installed_extension_needs_and_exports_no_more_than_it_should():
    machine = sysconfig.get_platform().rpartition("-")[2]
    tags = {"platform": f"manylinux_2_28_{machine}"}
    report = check_wheels.Report()
    check_wheels.check_elf("extension", Path(_core.__file__).read_bytes(), tags, report)
    # It is built for this machine only: its glibc may be newer, and paths and protections are those
    # of the local compiler and of Python's own flags.
    local = ("needs glibc", "has paths", "full RELRO")
    assert [fault for fault in report.faults if not any(part in fault for part in local)] == []
