"""Wrapper of a command's `main`: a user's mistake gives one line and exit status 2."""

import os
import sys
import time
import traceback
from collections.abc import Callable

from slowfast.utils.errors import UserError
from slowfast.utils.logging import log_to_file

# Delay in seconds before a local rank other than 0 reports a mistake. If all ranks make it, rank 0
# reports it first and the launcher stops the others, so it is printed once. If only one rank makes
# it, its report is just late.
OTHERS_WAIT_SEC = 3.0


def run_command(main: Callable[[], int | None]) -> None:
    """Call `main` and exit with its status, 0 for None.

    A UserError prints one line and gives status 2; a keyboard interrupt gives status 130. The
    error is also written to the log, if there is one.
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
