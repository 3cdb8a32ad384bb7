"""Which reports of sanitizers count as faults of the extension, and which tests are left out."""

import ast
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import sanitizer_reports as reports

pytestmark = pytest.mark.once

LEAK_OF_PYTHON = """Direct leak of 64 byte(s) in 1 object(s) allocated from:
    #0 0x7f in __interceptor_malloc ../asan_malloc_linux.cpp:69
    #1 0x55 in PyUnicode_New (/usr/bin/python3.11+0x1)
"""
LEAK_OF_CORE = """Indirect leak of 24 byte(s) in 1 object(s) allocated from:
    #0 0x7f in __interceptor_calloc ../asan_malloc_linux.cpp:77
    #1 0x7f in fastbp_net_new csrc/nn/net.c:150
    #2 0x7f in __pyx_pw (/lib/fastbp/_core.cpython-311-x86_64-linux-gnu.so+0x5)
    #3 0x55 in _PyEval_EvalFrameDefault (/usr/bin/python3.11+0x2)
"""
LEAKS = "\n==7==ERROR: LeakSanitizer: detected memory leaks\n\n"
SUMMARY = "\nSUMMARY: AddressSanitizer: 88 byte(s) leaked in 2 allocation(s).\n"
LINE = "=" * 65
ERROR = f"""{LINE}
==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x60
    #0 0x7f in gemm csrc/kernels/gemm.inc:9
"""


@pytest.mark.parametrize(
    ("text", "n_faults"),
    [
        ("", 0),
        (LINE + LEAKS + LEAK_OF_PYTHON + SUMMARY, 0),
        (LINE + LEAKS + LEAK_OF_PYTHON + "\n" + LEAK_OF_CORE + SUMMARY, 1),
        (LINE + LEAKS + LEAK_OF_CORE + "\n" + LEAK_OF_PYTHON + SUMMARY, 1),
        (LINE + LEAKS + "\n".join([LEAK_OF_CORE] * 3) + SUMMARY, 3),
        (ERROR, 1),
        (ERROR + LINE + LEAKS + LEAK_OF_CORE + SUMMARY, 2),
        ("csrc/nn/net.c:3:2: runtime error: signed integer overflow", 1),
        ("==7==WARNING: AddressSanitizer failed to allocate 0xfffffffffff bytes\n", 0),
    ],
)
def test_errors_and_leaks_of_the_extension_are_faults(text, n_faults, tmp_path):
    (tmp_path / "report.7").write_text(text)
    (tmp_path / "counts.json").write_text("{}")
    assert len(reports.faults_of(tmp_path)) == n_faults


def test_the_report_of_a_leak_has_its_stack():
    (leak,) = reports.leaks_of_core(LEAKS + LEAK_OF_PYTHON + "\n" + LEAK_OF_CORE + SUMMARY)
    assert leak.strip() == LEAK_OF_CORE.strip()


def test_each_test_that_is_left_out_exists():
    tree = ast.parse((HERE / "under_sanitizer.py").read_text("utf-8"))
    (listed,) = (
        node.value.elts
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "LEFT_OUT"
    )
    names = [entry.elts[0].value.split("::")[-1] for entry in listed]
    sources = "".join(path.read_text("utf-8") for path in HERE.parents[1].rglob("test_*.py"))
    assert [name for name in names if f"def {name}(" not in sources] == []
    assert len(names) == len(set(names))
