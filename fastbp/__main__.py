"""`python -m fastbp`: the same as the command `fastbp`."""

import sys

from ._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
