"""What sanitizers have written about the processes of a run: errors, and leaks of the extension.

Python, NumPy and other libraries keep memory until their process ends, and LeakSanitizer reports
much of it. No list suppresses these leaks, because the stack of each leak of the extension has
frames of Python, too. Instead, a leak counts if a frame of its stack is in fastbp/_core.
"""

import re

CORE = re.compile(r"^\s*#\d+ .*\b(?:_core\.|csrc/)", re.MULTILINE)
LEAK = re.compile(r"^(?:Direct|Indirect) leak of ", re.MULTILINE)
SECTION = re.compile(r"^==\d+==ERROR: LeakSanitizer: detected memory leaks$", re.MULTILINE)
NOTE = re.compile(r"^==\d+==(?:WARNING|HINT).*$", re.MULTILINE)


def leaks_of_core(text):
    """The leaks in the text of LeakSanitizer that have a frame of fastbp/_core."""
    starts = [found.start() for found in LEAK.finditer(text)]
    leaks = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    stacks = [leak.split("\n\n")[0] for leak in leaks]
    return [stack for stack in stacks if CORE.search(stack)]


def faults_in(text):
    """The faults that one process has reported: its error, if there is one, and its leaks."""
    error, *leaks = SECTION.split(text)
    error = NOTE.sub("", error).strip(" \n=")
    return ([error] if error else []) + [leak for part in leaks for leak in leaks_of_core(part)]


def faults_of(folder):
    """All faults of the processes that wrote their reports to a folder, by file."""
    found = []
    for path in sorted(folder.glob("report.*")):
        found += [(path, fault) for fault in faults_in(path.read_text("utf-8", "replace"))]
    return found
