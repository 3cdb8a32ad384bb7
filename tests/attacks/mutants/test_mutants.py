"""The program that makes mutants: its tokens, its changes, and what it says of planted faults."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mutant_changes import mutants_of
from mutant_tokens import functions_of, tokens_of

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[3]
SNIPPET = r"""/* a < b; return 0; */
#define LIMIT(a, b) \
    ((a) < (b) ? (a) : (b))
static const int table[2] = {1, 2};

FBP_INLINE int FBP_NAME(first)(const char *text, int n) { // n + 1
    const char quote = '"'; /* "*" */
    for (int i = 0; i < n; ++i) {
        if (text[i] == quote && text[i] != '\'') return i;
        note("i < n; return 0;");
    }
    return n - 0x1p-3f;
}

int second(int a, int b) { return first(a, b) ? a : b; }
"""


def made(text=SNIPPET):
    return mutants_of("nn/snippet.c", text)


def changed(mutant, text=SNIPPET):
    """The new text of the lines that a mutant changes."""
    before, after = text.splitlines(), mutant.apply(text).splitlines()
    assert len(before) == len(after)
    return [new.strip() for old, new in zip(before, after, strict=True) if old != new]


def test_tokens_are_words_numbers_strings_and_marks():
    words = [token.text for token in tokens_of(SNIPPET)]
    assert "LIMIT" not in words and "define" not in words
    assert '"i < n; return 0;"' in words and "'\\''" in words and "'\"'" in words
    assert "0x1p-3f" in words and "&&" in words and "++" in words
    lines = SNIPPET.splitlines()
    assert all(token.text in lines[token.line - 1] for token in tokens_of(SNIPPET))


def test_functions_have_their_names():
    assert [f.name for f in functions_of(tokens_of(SNIPPET))] == ["first", "second"]
    entry = functions_of(tokens_of("FBP_THREAD_ENTRY(worker_main, arg) { f(arg); }"))
    assert [f.name for f in entry] == ["worker_main"]


def test_every_file_of_the_engine_has_tokens_and_functions():
    paths = [p for p in (ROOT / "csrc").rglob("*") if p.suffix in {".c", ".h", ".inc"}]
    functions = {p.name: functions_of(tokens_of(p.read_text())) for p in paths}
    assert {f.name for f in functions["clip.c"]} >= {"fbp_clip_factor", "square_of"}
    assert sum(map(len, functions.values())) > 1000


def test_only_code_is_changed():
    protected = ["/* a < b; return 0; */", "#define LIMIT", "((a) < (b) ?", "table[2] = {1, 2}"]
    protected += ["// n + 1", '/* "*" */', 'note("i < n; return 0;")']
    for mutant in made():
        text = mutant.apply(SNIPPET)
        kept = protected[:-1] if mutant.kind == "drop" else protected
        assert all(part in text for part in kept), mutant


def test_names_of_mutants_are_different():
    names = [mutant.id for mutant in made()]
    assert len(names) == len(set(names)) > 15


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("edge", "for (int i = 0; i <= n; ++i) {"),
        ("order", "for (int i = 0; i >= n; ++i) {"),
        ("end", "for (int i = 0; i + 1 < n; ++i) {"),
        ("sum", "for (int i = 0; i < n; --i) {"),
        ("more", "for (int i = 1; i < n; ++i) {"),
        ("equal", "if (text[i] != quote && text[i] != '\\'') return i;"),
        ("logic", "if (text[i] == quote || text[i] != '\\'') return i;"),
        ("index", "if (text[i + 1] == quote && text[i] != '\\'') return i;"),
        ("leave", "if (text[i] == quote && text[i] != '\\'') ;"),
        ("drop", ";"),
        ("sum", "return n + 0x1p-3f;"),
        ("factor", "return n - (1.01f * 0x1p-3f);"),
        ("swap", "int second(int a, int b) { return first(b , a) ? a : b; }"),
        ("choice", "int second(int a, int b) { return first(a, b) ? b : a; }"),
    ],
)
def test_each_kind_of_change(kind, line):
    assert [line] in [changed(mutant) for mutant in made() if mutant.kind == kind]


def test_operations_of_vectors_are_operators():
    text = "v_t f(v_t a, v_t b) { return v_fma(a, _mm256_add_ps(a, b), v_min_f32(a, b)); }"
    new = {mutant.new for mutant in made(text) if mutant.kind == "name"}
    assert new == {"v_fnma", "_mm256_sub_ps", "v_max_f32"}


@pytest.mark.skipif(sys.platform == "win32", reason="mutants are tested in forked processes")
def test_products_in_bfloat16_are_also_tested_where_the_engine_makes_them():
    pytest.importorskip("setuptools")
    pytest.importorskip("Cython")
    from mutant_build import isas_of

    assert isas_of("nn/factors.c") == isas_of("nn/products.c") == ["avx2", "amx_emulated"]
    assert isas_of("nn/clip.c") == ["avx2"]
    assert isas_of("kernels/bf16_tiles.inc") == ["amx_emulated"]


@pytest.mark.skipif(sys.platform == "win32", reason="mutants are tested in forked processes")
def test_a_change_of_a_vector_function_is_compiled_into_what_macros_call():
    pytest.importorskip("setuptools")
    pytest.importorskip("Cython")
    from mutant_build import kernels_that_reach

    assert {"vmath", "act_forward"} <= {*kernels_that_reach("v_min_f32", "simd/avx2.h")}
    assert {"vmath", "loss_rows"} <= {*kernels_that_reach("v_exponent_f64", "simd/avx2.h")}


# A project of one C file and one test, judged by the same code as the engine.
HALF = """int half(const int *x, int n) {
    int sum = 0;
    for (int i = 0; i < n; ++i) sum += x[i];
    if (sum > 1000) sum = sum + 0;
    return sum / 2;
}
"""
TEST_OF_HALF = """import ctypes
from pathlib import Path

def test_half():
    half = ctypes.CDLL(str(Path(__file__).with_name("half.so"))).half
    assert half((ctypes.c_int * 3)(4, 5, 7), 3) == 8
"""
JUDGE = """import subprocess, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from mutant_changes import mutants_of
from mutant_run import run_tests
folder = Path(sys.argv[2])
text = (folder / "half.c").read_text()
for mutant in mutants_of("half.c", text):
    if mutant.id in sys.argv[3:]:
        (folder / "mutant.c").write_text(mutant.apply(text))
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "half.so", folder / "mutant.c"],
                       check=True)
        outcome = run_tests(folder, ["test_half.py"], folder / "log", limit=20)
        print(mutant.id, outcome.verdict, outcome.test)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="mutants are tested in forked processes")
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_planted_mutants_are_killed_and_equivalent_ones_survive(tmp_path):
    (tmp_path / "half.c").write_text(HALF)
    (tmp_path / "test_half.py").write_text(TEST_OF_HALF)
    planted = ["half.c:half:end:1", "half.c:half:drop:1", "half.c:half:more:3", "half.c:half:sum:3"]
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, str(Path(__file__).parent), str(tmp_path), *planted],
        capture_output=True,
        text=True,
        check=True,
    )
    verdicts = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}
    assert verdicts == {
        "half.c:half:end:1": "killed",  # the last element is left out
        "half.c:half:drop:1": "killed",  # nothing is added up
        "half.c:half:more:3": "survived",  # 1001 for 1000
        "half.c:half:sum:3": "survived",  # sum - 0
    }
    assert "half.c:half:drop:1 killed test_half.py::test_half" in done.stdout
