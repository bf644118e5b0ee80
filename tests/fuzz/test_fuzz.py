"""A few hundred damaged files for every reader; SUML_FUZZ_MINUTES makes it minutes of them."""

import os
import time

import pytest

from tests.fuzz import Outcome, fuzz, load_targets

_MINUTES = float(os.environ.get("SUML_FUZZ_MINUTES", "0"))
_INPUTS = 150


@pytest.mark.parametrize("name", sorted(load_targets()))
def test_a_damaged_file_is_read_or_refused_in_one_line(name: str, tmp_path) -> None:
    end = time.monotonic() + 60 * _MINUTES

    def go_on(outcome: Outcome) -> bool:
        return outcome.inputs < _INPUTS or time.monotonic() < end

    outcome = fuzz(load_targets()[name], tmp_path, go_on)
    assert not outcome.faults, "\n".join(outcome.faults[:5])
    assert outcome.refused > _INPUTS // 10
