"""The words of `tools/run_net.py`."""

import importlib.util
import sys

import pytest

from tests.commands import TOOLS

PAIRS = ["TRAIN.ENABLE", "False"]


@pytest.fixture
def parse(monkeypatch):
    spec = importlib.util.spec_from_file_location("run_net", TOOLS / "run_net.py")
    run_net = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run_net)

    def parse(*words):
        monkeypatch.setattr(sys, "argv", ["run_net.py", "--cfg", "a.yaml", *words])
        return run_net.parse_args()

    return parse


@pytest.mark.parametrize("words", [PAIRS, ["--opts", *PAIRS]])
def test_pairs_with_and_without_the_word_of_pyslowfast(parse, words):
    assert parse(*words).opts == PAIRS


@pytest.mark.parametrize(
    "words",
    [
        [*PAIRS, "--opts", "NUM_GPUS", "0"],
        ["--num_shards", "2", "--opts", *PAIRS, "NUM_GPUS", "0"],
        ["--opts", *PAIRS, "NUM_GPUS", "0", "--dry-run"],
    ],
)
def test_pairs_among_other_options(parse, words):
    args = parse(*words)
    assert args.opts == [*PAIRS, "NUM_GPUS", "0"]
    assert args.dry_run == ("--dry-run" in words)
