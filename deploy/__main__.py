"""``python -m deploy`` in a checkout, ``python -m paragonsr`` and ``paragonsr`` once installed."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
