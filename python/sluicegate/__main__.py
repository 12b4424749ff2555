"""`python -m sluicegate`."""

import sys

from sluicegate._cli import main

if __name__ == "__main__":
    sys.exit(main())
