"""Print the section of CHANGELOG.md about one version, as the text of its release.

With --tag v1.2.3, also check that the tag, fastbp/_version.py and the changelog agree.
"""

import argparse
import re
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\S+))?\s*$", re.MULTILINE)


class ReleaseError(Exception):
    """The tag, the version and the changelog do not agree; the message says what to do."""


def section(text, version):
    """Return the text below the heading `## [version] - YYYY-MM-DD`, without the heading."""
    headings = list(HEADING.finditer(text))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading["version"] != version:
            continue
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", heading["date"] or ""):
            raise ReleaseError(
                f"the heading of {version} in CHANGELOG.md has no date: expected "
                f"`## [{version}] - YYYY-MM-DD`"
            )
        found = text[heading.end() : following.start() if following else len(text)].strip()
        if not found:
            raise ReleaseError(f"CHANGELOG.md says nothing about {version} below its heading")
        return found + "\n"
    known = ", ".join(heading["version"] for heading in headings)
    raise ReleaseError(f"CHANGELOG.md has no section [{version}], only: {known}")


def check_tag(tag, version):
    """Raise ReleaseError unless the tag is that of the version: v1.2.3 of 1.2.3."""
    if tag != f"v{version}":
        raise ReleaseError(
            f"the tag is {tag}, but fastbp/_version.py has {version!r}: tag the commit "
            f"v{version}, or set the version first"
        )


def stated_version():
    """The version in fastbp/_version.py."""
    return runpy.run_path(str(ROOT / "fastbp" / "_version.py"))["__version__"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tag", help="the tag of the release, such as v1.2.3, to be checked")
    parser.add_argument("--out", type=Path, help="a file for the section, instead of printing it")
    chosen = parser.parse_args()
    try:
        if chosen.tag is not None:
            check_tag(chosen.tag, stated_version())
        text = (ROOT / "CHANGELOG.md").read_text("utf-8")
        found = section(text, stated_version())
    except ReleaseError as error:
        sys.exit(str(error))
    if chosen.out is not None:
        chosen.out.write_text(found, "utf-8")
    else:
        sys.stdout.write(found)


if __name__ == "__main__":
    main()
