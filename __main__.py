"""`python -m dummy_forcing`: the same as the `dummy-forcing` command."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
