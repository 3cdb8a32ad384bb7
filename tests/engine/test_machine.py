"""Processors and systems that are not at hand: rows of csrc/base/machine.c, requests for tiles."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from engine_build import find_compiler

CSRC = Path(__file__).parents[2] / "csrc"
PROGRAM = r"""
#include "base/machine.c"
#include <stdio.h>
#include <stdlib.h>

/* A processor per five arguments: vendor, family, model, features, name of its row. */
int main(int argc, char **argv) {
    for (int i = 1; i + 4 < argc; i += 5) {
        const fbp_cpu_t cpu = {
            .vendor = argv[i][0] == 'I'   ? FBP_VENDOR_INTEL
                      : argv[i][0] == 'A' ? FBP_VENDOR_AMD
                                          : FBP_VENDOR_OTHER,
            .family = (int)strtol(argv[i + 1], NULL, 0),
            .model = (int)strtol(argv[i + 2], NULL, 0),
            .features = (unsigned)strtol(argv[i + 3], NULL, 0),
        };
        if (strcmp(row_of(&cpu)->name, argv[i + 4]) != 0)
            printf("%s %s %s %s: %s, not %s\n", argv[i], argv[i + 1], argv[i + 2], argv[i + 3],
                   row_of(&cpu)->name, argv[i + 4]);
    }
    return 0;
}
"""
AVX2 = 1
AVX512 = AVX2 | 2
BF16 = AVX512 | 8
AMX = BF16 | 16
PROCESSORS = [
    ("Intel", 6, 0x9E, AVX2, "haswell"),  # Coffee Lake
    ("Intel", 6, 0xBE, AVX2, "haswell"),  # small cores of Alder Lake only
    ("Intel", 6, 0x55, AVX512, "skylake_x"),
    *(("Intel", 6, m, AVX512, "skylake_x") for m in (0x6A, 0x6C, 0x7D, 0x7E, 0x8C, 0x8D, 0xA7)),
    *(("Intel", 6, m, AMX, "golden_cove") for m in (0x8F, 0xCF, 0xAD, 0xAE)),
    ("Intel", 6, 0x8F, AVX2, "golden_cove"),  # in a virtual machine without AVX-512
    *(("Intel", 6, m, AVX2, "golden_cove_client") for m in (0x97, 0x9A, 0xB7, 0xBA, 0xBF)),
    *(("Intel", 6, m, AVX2, "golden_cove_client") for m in (0xAA, 0xAC, 0xB5, 0xC5, 0xC6, 0xBD)),
    ("Intel", 19, 0x01, AMX, "golden_cove"),  # Diamond Rapids
    ("Intel", 18, 0x01, AVX2, "haswell"),
    ("Intel", 6, 0x3A, 0, "generic"),  # Ivy Bridge, without AVX2
    ("AMD", 0x17, 0x31, AVX2, "zen3"),
    ("AMD", 0x17, 0x01, AVX2, "zen3"),
    ("AMD", 0x19, 0x21, AVX2, "zen3"),
    ("AMD", 0x19, 0x11, BF16, "zen4"),
    ("AMD", 0x19, 0x61, BF16, "zen4"),
    ("AMD", 0x1A, 0x02, BF16, "zen5"),
    ("AMD", 0x1A, 0x80, BF16, "zen5"),
    ("other", 6, 0x8F, AVX512, "generic"),
    ("other", 0, 0, 4, "generic"),
]


REQUESTS = r"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

static int calls, answer;
#define syscall(...) (++calls, answer)
#include "base/cpu.c"

static void check(int given, fbp_tiles_t expected) {
    fbp_cpu();
    atomic_store(&tiles, FBP_TILES_UNREQUESTED);
    calls = 0;
    answer = given;
    for (int i = 0; i < 3; ++i)
        if (fbp_request_tiles() != (given == 0)) printf("answer %d: wrong result\n", given);
    if (fbp_tiles() != expected || calls != 1) printf("answer %d: %d calls\n", given, calls);
}

int main(void) {
    check(0, FBP_TILES_PERMITTED);
    check(-1, FBP_TILES_REFUSED);
    return 0;
}
"""
PERMITTED = """
import ctypes, fastbp
mask = ctypes.c_uint64()
ctypes.CDLL(None).syscall(158, 0x1022, ctypes.byref(mask))  # arch_prctl, ARCH_GET_XCOMP_PERM
print(mask.value >> 18 & 1, fastbp._core.machine()[1])
"""


CACHES = r"""
#include "base/machine.c"
#include <stdio.h>
#include <stdlib.h>

static fbp_cpu_t cpu = {.vendor = FBP_VENDOR_AMD, .family = 0x19, .model = 0x21,
                        .l1d = 48000, .l2 = 3000000};

const fbp_cpu_t *fbp_cpu(void) { return &cpu; }

int main(int argc, char **argv) {
    cpu.hybrid = argc > 1 && strcmp(argv[1], "hybrid") == 0;
    const fbp_machine_t *found = fbp_machine_found(), *row = row_of(&cpu);
    printf("%d%d", found->l1d == cpu.l1d, found->l2 == cpu.l2);
    printf("%d%d", found->l1d == row->l1d, found->l2 == row->l2);
    return 0;
}
"""


def output_of(text, folder, *others, arguments=()):
    """What a C program prints, compiled with the sources of the engine in the include path."""
    compiler = find_compiler()
    if compiler is None or not CSRC.is_dir():
        pytest.skip("needs a C compiler and the sources of the engine")
    source, program = folder / "program.c", folder / "program"
    source.write_text(text)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{CSRC}", "-o", str(program)]
    paths = [str(source), *(str(CSRC / other) for other in others)]
    subprocess.run([compiler, *flags, *paths], check=True)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_every_processor_gets_its_row(tmp_path):
    arguments = [str(value) for processor in PROCESSORS for value in processor]
    assert output_of(PROGRAM, tmp_path, "base/cpu.c", arguments=arguments) == ""


@pytest.mark.parametrize(("cores", "expected"), [("alike", "1100"), ("hybrid", "0011")])
def test_caches_are_those_of_the_processor_unless_its_cores_differ(tmp_path, cores, expected):
    """A thread may move to another core, so the row has the caches of hybrid processors."""
    assert output_of(CACHES, tmp_path, arguments=[cores]) == expected


on_linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="needs Linux on x86-64"
)


FOUND = r"""
#include "base/cpu.h"
#include <stdio.h>

int main(void) {
    const fbp_cpu_t *cpu = fbp_cpu();
    const char *vendors[] = {"other", "AuthenticAMD", "GenuineIntel"};
    printf("%s|%d|%d|%s|%u|%zu|%zu\n", vendors[cpu->vendor], cpu->family, cpu->model, cpu->name,
           cpu->features, cpu->l1d, cpu->l2);
    return 0;
}
"""
FLAGS_OF_LINUX = {
    AVX2: {"avx2", "fma"},
    2: {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
    8: {"avx512_bf16"},
    16: {"amx_tile", "amx_bf16"},
}


def cache_of_linux(level):
    """The bytes of a data cache of the first processor, or None where Linux does not say."""
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        found = {name: (folder / name).read_text().strip() for name in ("level", "type", "size")}
        if found["level"] == str(level) and found["type"] in {"Data", "Unified"}:
            return int(found["size"].removesuffix("K")) << 10
    return None


@on_linux
def test_the_processor_is_the_one_that_linux_found(tmp_path):
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    linux = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    vendor, family, model, name, features, *caches = output_of(
        FOUND, tmp_path, "base/cpu.c"
    ).rstrip("\n").split("|")  # fmt: skip
    if linux["vendor_id"] in {"AuthenticAMD", "GenuineIntel"}:
        assert vendor == linux["vendor_id"]
    assert (family, model) == (linux["cpu family"], linux["model"])
    assert name.split() == linux["model name"].split()
    expected, flags = 0, set(linux["flags"].split())
    for bit, needed in FLAGS_OF_LINUX.items():  # each needs those before it
        if not needed <= flags:
            break
        expected |= bit
    assert int(features) & ~4 == expected
    for level, found in enumerate(caches, 1):
        assert cache_of_linux(level) in {None, int(found)}, f"L{level}"


@on_linux
def test_tiles_are_requested_once(tmp_path):
    assert output_of(REQUESTS, tmp_path) == ""


@on_linux
def test_tiles_are_not_requested_for_another_isa():
    variables = os.environ | {"FASTBP_ISA": "scalar"}
    done = subprocess.run(
        [sys.executable, "-c", PERMITTED], env=variables, capture_output=True, text=True, check=True
    )
    permitted, state = done.stdout.split(maxsplit=1)
    assert permitted == "0"
    assert state.strip() in {"none", "not requested", "refused by the system"}
