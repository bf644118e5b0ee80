"""The check of a GPU: limits, failures and results of its parts, and a rehearsal of all of them."""

import json

import pytest

from slowfast.lab.gpu_check.parts import JSON, Part, many_gpus, one_gpu
from slowfast.lab.gpu_check.runner import FAILED, KILLED, NOT_STARTED, OK, OVER_LIMIT, run_parts
from tests.commands import ROOT, assert_one_line_error, run_tool

REPORT = '{"figures": {"bf16": {"pairs/s": 117.0}}}'
HANGS_WITH_A_CHILD = """
import subprocess, sys, threading
subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
threading.Event().wait()
"""


def python(name, code, *more, limit_sec=60.0):
    return Part(name, limit_sec, ("-c", code, *more))


def test_no_part_stops_the_next(tmp_path):
    parts = [
        python("fails", "raise SystemExit('no such kernel')"),
        python("hangs", HANGS_WITH_A_CHILD, limit_sec=0.5),
        python("dies", "import os; os.kill(os.getpid(), 9)"),
        python("measures", f"import sys; open(sys.argv[1], 'w').write('{REPORT}')", JSON),
    ]
    written = []

    def read(_):
        written.append(len(json.loads((tmp_path / "check.json").read_text())["parts"]))

    outcomes = run_parts(parts, tmp_path, 240, read)
    assert [outcome.status for outcome in outcomes] == [FAILED, OVER_LIMIT, KILLED, OK]
    assert written == [1, 2, 3, 4]
    table = (tmp_path / "check.md").read_text()
    assert "| fails | failed |" in table
    assert "no such kernel" in table
    assert "| measures | pairs/s |\n| --- | --- |\n| bf16 | 117 |" in table


def test_a_part_has_what_is_left_of_the_whole_limit(tmp_path):
    parts = [python("hangs", HANGS_WITH_A_CHILD), python("late", "")]
    outcomes = run_parts(parts, tmp_path, 0.5)
    assert [outcome.status for outcome in outcomes] == [OVER_LIMIT, NOT_STARTED]


def test_an_old_report_is_not_taken_for_a_new_one(tmp_path):
    (tmp_path / "part_00.json").write_text(REPORT)
    assert run_parts([python("silent", "")], tmp_path, 60)[0].report == {}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_names_and_files(device, tmp_path):
    parts = [*one_gpu(device, tmp_path), *many_gpus(device, 2, tmp_path)]
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        files = [w for w in part.arguments if w.startswith(("tools/", "configs/", "tests/"))]
        assert all((ROOT / file).exists() for file in files), part


def test_rehearsal_of_the_short_parts(tmp_path):
    """The other parts take longer: `tools/gpu_check.py --device cpu` rehearses them."""
    short = [
        part for part in one_gpu("cpu", tmp_path) if part.name in ("environment", "checkpoint")
    ]
    outcomes = run_parts(short, tmp_path, 400)
    assert [outcome.status for outcome in outcomes] == [OK, OK], outcomes
    assert "stall per save" in (tmp_path / "check.md").read_text()


def test_without_a_gpu_the_rehearsal_is_named(tmp_path):
    ended = run_tool("gpu_check.py", "--gpus", 99, cwd=tmp_path)
    assert_one_line_error(ended, "99 CUDA device(s)", "--device cpu")
