"""``python -m jaxlqr`` is ``jaxlqr``."""

import sys

from jaxlqr.cli import main

if __name__ == "__main__":
    sys.exit(main())
