"""Wrapper of a command's `main`: a user's mistake gives one line and exit status 2."""

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable

from slowfast.utils.errors import UserError
from slowfast.utils.launcher import unset_empty_variables
from slowfast.utils.logging import log_to_file
from slowfast.utils.stop_signals import Stopped, exit_status, raising_on_signals, stopped_by
from slowfast.utils.streams import reader_left, tolerant_streams

# Delay in seconds before a local rank other than 0 reports a mistake. If all ranks make it, rank 0
# reports it first and the launcher stops the others, so it is printed once. If only one rank makes
# it, its report is just late.
OTHERS_WAIT_SEC = 3.0
# Errors of a path that the user must fix: wrong owner, read-only, full disk, name too long.
_OF_THE_SYSTEM = frozenset(
    (
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
        *(errno.ELOOP, errno.ENAMETOOLONG),
    )
)
# Exit status of a command whose printed result could not be written.
_RESULT_LOST = 1


def run_command(main: Callable[[], int | None], *, prints_result: bool = True) -> None:
    """Call `main` and exit with its status, 0 for None.

    A UserError prints one line and gives status 2. A signal prints one line and gives
    `exit_status`. The error is also written to the log, if there is one. A closed terminal or pipe
    does not end the command, see `tolerant_streams`.

    prints_result: the result of the command is on standard output, so a full disk there is an
        error. Not for runs, whose results are files.
    """
    unset_empty_variables()
    with tolerant_streams() as output, raising_on_signals():
        status = _status_of(main)
    lost = output.fault is not None and not reader_left(output.fault)
    sys.exit(status or (_RESULT_LOST if prints_result and lost else 0))


def _status_of(main: Callable[[], int | None]) -> int:
    try:
        return main() or 0
    except UserError as error:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            time.sleep(OTHERS_WAIT_SEC)
        sys.stderr.write(f"error: {error}\n")
        sys.stderr.flush()
        log_to_file(str(error))
        return 2
    except Stopped as stopped:
        sys.stderr.write(f"{stopped_by(stopped.signum)}\n")
        return exit_status(stopped.signum)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except Exception as error:
        log_to_file(traceback.format_exc())
        if not isinstance(error, OSError) or error.errno not in _OF_THE_SYSTEM:
            raise
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {place}{error.strerror}; check its owner and its disk\n")
        return 2
