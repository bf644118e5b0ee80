"""Division of a global batch among processes and parts.

A resumed run may use another number of processes if the parts stay the same, such as fewer devices
with more accumulation.

Every part has its own batch-norm statistics and dropout, and the gradients of the parts are
averaged, whichever process computes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# Keys of the config that decide the division, together with the number of processes.
DIVISION_KEYS = ("SOLVER.ACCUMULATE", "SUML.GRAD_CACHE", "SUML.GATHER")


class Division(NamedTuple):
    """Division of a global batch.

    parts: clips of each part, in the order of the batch.
    contrasted: number of parts whose clips are negatives of each other; 0 without contrasts.
    """

    parts: tuple[int, ...]
    contrasted: int

    @classmethod
    def of(cls, values: Mapping[str, Any], processes: int) -> Division:
        """values: of the config, by dotted key. processes: of the run."""
        clips, count = values["TRAIN.BATCH_SIZE"] // processes, values["SOLVER.ACCUMULATE"]
        size = max(-(-clips // count), 1)
        own = [min(size, clips - start) for start in range(0, clips, size)]
        joined = len(own) if values["SUML.GRAD_CACHE"] else 1
        gathered = processes if values["SUML.GATHER"] else 1
        return cls(tuple(own) * processes, joined * gathered if values["SUML.ENABLE"] else 0)
