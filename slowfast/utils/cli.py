"""Runs a command's `main`: a user's mistake ends in one line and exit status 2."""

import sys
from collections.abc import Callable

from slowfast.utils.errors import UserError


def run_command(main: Callable[[], int | None]) -> None:
    """Call `main` and exit with its status, 0 for None; a UserError is one line, status 2."""
    try:
        status = main()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    sys.exit(status or 0)
