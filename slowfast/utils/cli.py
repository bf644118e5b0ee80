"""Runs a command's `main`: a user's mistake ends in one line and exit status 2."""

import os
import sys
import time
import traceback
from collections.abc import Callable

from slowfast.utils.errors import UserError
from slowfast.utils.logging import log_to_file

# A mistake that all processes see is told by the first one, whose end makes the launcher stop the
# others; one that a single process sees is told by that one, this much later.
OTHERS_WAIT_SEC = 3.0


def run_command(main: Callable[[], int | None]) -> None:
    """Call `main` and exit with its status, 0 for None.

    A UserError is one line and status 2, an interruption from the keyboard status 130. What ends
    the command stands in the log too, if there is one.
    """
    try:
        status = main()
    except UserError as error:
        if int(os.environ.get("LOCAL_RANK", "0")) > 0:
            time.sleep(OTHERS_WAIT_SEC)
        sys.stderr.write(f"error: {error}\n")
        sys.stderr.flush()
        log_to_file(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except Exception:
        log_to_file(traceback.format_exc())
        raise
    sys.exit(status or 0)
