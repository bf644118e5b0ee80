"""`python -m tests.fuzz READER [--minutes 60]`: damaged files for one reader, or for all."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import Outcome, Target, fuzz, load_targets

# A read in C that no signal interrupts is shown and ended.
_HANG_SEC = 120


def main() -> int:
    """Exit status 1 where a file showed a fault."""
    targets = load_targets()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("reader", choices=(*targets, "all"))
    parser.add_argument("--minutes", type=float, default=1.0, help="for each reader")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    names = list(targets) if options.reader == "all" else [options.reader]
    faults = 0
    for name in names:
        faults += _run(targets[name], options.minutes * 60, options.seed)
    return 1 if faults else 0


def _run(target: Target, seconds: float, seed: int) -> int:
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz_{target.name}_"))
    end = time.monotonic() + seconds

    def go_on(outcome: Outcome) -> bool:
        faulthandler.dump_traceback_later(_HANG_SEC, exit=True)
        return time.monotonic() < end and len(outcome.faults) < 20

    outcome = fuzz(target, folder, go_on, seed)
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.write(
        f"{target.name}: {outcome.inputs} inputs, {outcome.refused} refused, "
        f"{outcome.accepted} accepted, {len(outcome.faults)} faults, peak "
        f"{outcome.peak_bytes >> 20} MB (seed {seed})\n"
    )
    sys.stdout.writelines(f"{fault}\n" for fault in outcome.faults)
    return len(outcome.faults)


if __name__ == "__main__":
    sys.exit(main())
