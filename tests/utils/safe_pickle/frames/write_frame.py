"""Writes one small table as a pickle of whichever pandas runs this, Python 2.7 or newer.

    python write_frame.py FOLDER        writes FOLDER/pandas_<version>[_pyarrow].pkl

The tests read the files and compare them with `CELLS`.
"""

# Python 2.7 runs it too.
# ruff: noqa: PTH118, PTH123, RUF005, UP010
from __future__ import unicode_literals

import collections
import os
import pickle
import sys

MISSING = float("nan")
IDS = ["P01_01_0", "P01_01_1", "P01_02_0", "P02_01_9"]
# Column -> cells.
CELLS = collections.OrderedDict(
    [
        ("participant_id", ["P01", "P01", None, "P02"]),
        ("start_frame", [1, 20, 300, -4]),
        ("narration", ["open caf\u00e9", "take plate", "", "put-down cup"]),
        ("stop_frame", [9, 80, 700, 6]),
        ("score", [0.5, MISSING, 2.0, 3.25]),
        ("labelled", [True, False, True, True]),
        ("all_nouns", [["a", "b"], [], ["c"], ["d"]]),
        ("all_noun_classes", [[1, 2], [], [3], [4]]),
        ("small", [1, 2, 3, 200]),
        ("noun_class", [7, 0, 3, 5]),
    ]
)
# Cells of columns of special types, where this pandas has them.
DATES = ["2020-01-01 10:00:00.500", "2021-02-03 00:00:00.000", "1999-12-31 23:59:59.999"]
SECONDS = [0.56, 1.5, 61.25, 3600.0]
CATEGORY = ["a", "b", None, "a"]
INTEGERS = [1, 2, None, 4]
TEXT = ["x", None, "\u00e9\u00e9", ""]


def build():
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(CELLS, columns=list(CELLS))
    frame["small"] = frame["small"].astype(np.uint8)
    frame.index = pd.Index(IDS, name="narration_id")
    frame["date"] = pd.to_datetime(DATES + [None])
    frame["duration"] = pd.to_timedelta(SECONDS, unit="s")
    frame["category"] = pd.Categorical(CATEGORY)
    if hasattr(pd, "array") and hasattr(pd, "NA"):
        frame["integers"] = pd.array(INTEGERS, dtype="Int64")
        frame["text"] = pd.array(TEXT, dtype="string")
    # A column that goes leaves its block with gaps.
    del frame["noun_class"]
    return frame


def main():
    import pandas as pd

    arrow = "_pyarrow" if "pyarrow" in sys.modules else ""
    path = os.path.join(sys.argv[1], "pandas_" + pd.__version__ + arrow + ".pkl")
    with open(path, "wb") as file:
        pickle.dump(build(), file, protocol=pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    main()
