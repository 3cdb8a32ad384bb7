"""Run the attacks from many threads in this Python, and end with a line of counts.

If this Python was built with ThreadSanitizer, sanitizer_run.py runs them, and reports are faults,
too. Further arguments are passed to pytest.
"""

import argparse
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ET
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SANITIZERS = HERE.with_name("sanitizers")
RESULTS = ROOT / "build" / "freethreaded.xml"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with-gil", action="store_true", help="accept a Python with a GIL")
    options, others = parser.parse_known_args()
    if getattr(sys, "_is_gil_enabled", lambda: True)() and not options.with_gil:
        sys.exit(
            f"{sys.executable} has a GIL: name a free-threaded Python, such as python3.14t, or "
            "pass --with-gil"
        )
    if "--with-thread-sanitizer" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        command = [SANITIZERS / "sanitizer_run.py", "tsan", "--folder", "attacks/threads", *others]
        sys.exit(subprocess.run([sys.executable, *command], check=False).returncode)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.unlink(missing_ok=True)
    command = ["-m", "pytest", "-q", f"--junitxml={RESULTS}", str(HERE), *others]
    code = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
    if not RESULTS.exists():
        sys.exit("freethreaded: pytest has ended without results")
    total = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in ET.parse(RESULTS).iter("testsuite"):
        total = {name: n + int(suite.get(name, 0)) for name, n in total.items()}
    run, faults = total["tests"] - total["skipped"], total["failures"] + total["errors"]
    print(f"freethreaded: {run:,} tests, {total['skipped']:,} skipped, {faults:,} faults")
    sys.exit(code if run else "no test has run: the arguments choose none")


if __name__ == "__main__":
    main()
