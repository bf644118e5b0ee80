"""Agreement of pairs against loops over pairs, and over all combinations for chance."""

import numpy as np
import pytest

from slowfast.lab.diagnose.pairs import pair_agreement

# Class 3 is in no exo segment; the last ego segment has no label.
EGO = np.array([0, 1, 2, 3, 1, -1])
EXO = [{0}, {0, 1}, {2}, set(), {1}]
HAS = np.array([[k in classes for classes in EXO] for k in range(4)])
INDICES = np.array([[0, 2], [1, 4], [3, -1], [0, 1], [-1, -1], [2, 2]], np.int32)


def test_agreement_equals_loops():
    pairs = [
        EGO[row] in EXO[column]
        for row, columns in enumerate(INDICES[:-1])
        for column in columns
        if column >= 0
    ]
    everything = [label in classes for label in EGO[:-1] for classes in EXO]
    found = pair_agreement(INDICES, EGO, HAS)
    assert found.pairs == pytest.approx(100 * np.mean(pairs))
    assert found.chance == pytest.approx(100 * np.mean(everything))
    assert found.most == 80
