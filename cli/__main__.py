"""`python -m harmonyrt.cli` is `harmonyrt`."""

import sys

from harmonyrt.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
