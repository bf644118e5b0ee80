"""A user's mistake ends in one line that names it and the fix, with status 2, before any step."""

import re
import shlex
import shutil

import pandas as pd
import pytest
import torch

from slowfast.config import load_config
from slowfast.engine.checkpoint import save_checkpoint
from slowfast.engine.preflight.run_rules import validate_run
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.run import run
from slowfast.models import build_model
from slowfast.utils.errors import UserError
from tests.commands import (
    CONFIGS,
    EGO_TINY,
    SHORT_RUN,
    SUML_TINY,
    assert_one_line_error,
    launch_tool,
    run_tool,
)
from tests.documented import blocks


@pytest.fixture
def home(sample_home, tmp_path):
    """A separate working directory, with the annotations copied and the frames linked."""
    sample = tmp_path / "data" / "sample"
    (sample / "epic-100").mkdir(parents=True)
    for name in ("epic-55", "lemma", "narrations", "pairs.npz"):
        (sample / name).symlink_to(sample_home / "data" / "sample" / name)
    source = sample_home / "data" / "sample" / "epic-100"
    (sample / "epic-100" / "dataset").symlink_to(source / "dataset")
    shutil.copytree(source / "annotations", sample / "epic-100" / "annotations")
    return tmp_path


def annotations(home):
    return home / "data" / "sample" / "epic-100" / "annotations"


def run_net(home, *args, cfg=EGO_TINY):
    common = ("--cfg", cfg, *SHORT_RUN, "SOLVER.MAX_EPOCH", "1", "TEST.ENABLE", "False")
    return run_tool("run_net.py", *common, *args, cwd=home)


def test_missing_config(home):
    ended = run_tool("run_net.py", "--cfg", "configs/none.yaml", cwd=home)
    assert_one_line_error(ended, "configs/none.yaml")


def test_unknown_key(home):
    assert_one_line_error(run_net(home, "TRAIN.BATCHSIZE", "8"), "TRAIN.BATCHSIZE", "BATCH_SIZE")


def test_wrong_type(home):
    ended = run_net(home, "TRAIN.BATCH_SIZE", "eight")
    assert_one_line_error(ended, "TRAIN.BATCH_SIZE", "eight")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_gpus_that_are_not_there(home):
    assert_one_line_error(run_net(home, "NUM_GPUS", "4"), "NUM_GPUS 4", "NUM_GPUS 0")


def test_batch_size_that_does_not_divide(home):
    """Under torchrun, whose status and report follow ours."""
    args = ("--cfg", EGO_TINY, *SHORT_RUN, "TRAIN.BATCH_SIZE", "9")
    ended = launch_tool("run_net.py", *args, processes=2, cwd=home)
    assert ended.returncode != 0
    (line,) = {line for line in ended.stderr.splitlines() if line.startswith("error: ")}
    assert "TRAIN.BATCH_SIZE 9" in line


def test_missing_frame_list(home):
    ended = run_net(home, "TRAIN.TRAIN_DATA_LIST", "EPIC_100_trian.csv")
    assert_one_line_error(ended, "EPIC_100_trian.csv")


def test_empty_frame_list(home):
    path = annotations(home) / "EPIC_100_train.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert_one_line_error(run_net(home), "EPIC_100_train.csv")


def test_frame_list_without_a_column(home):
    path = annotations(home) / "EPIC_100_train.csv"
    pd.read_csv(path).drop(columns="stop_frame").to_csv(path, index=False)
    assert_one_line_error(run_net(home), "EPIC_100_train.csv", "stop_frame")


def test_label_beyond_the_head(home):
    ended = run_net(home, "MODEL.NUM_CLASSES_LIST", "[3, 8]")
    assert_one_line_error(ended, "EPIC_100_train.csv", "NUM_CLASSES_LIST")


def test_video_without_a_folder(home):
    path = annotations(home) / "EPIC_100_train.csv"
    table = pd.read_csv(path)
    table.loc[0, "video_id"] = "P99_99"
    table.to_csv(path, index=False)
    assert_one_line_error(run_net(home), "P99_99")


@pytest.mark.parametrize("damage", ["missing", "truncated", "not a JPEG"])
def test_bad_frame_in_the_middle_of_an_epoch(home, damage):
    dataset = annotations(home).parent / "dataset"
    source = dataset.resolve()
    dataset.unlink()
    shutil.copytree(source, dataset)
    for frame in dataset.glob("*/*/frame_*.jpg"):
        if int(frame.stem.split("_")[1]) % 10 != 5:
            continue
        if damage == "missing":
            frame.unlink()
        elif damage == "truncated":
            frame.write_bytes(frame.read_bytes()[: frame.stat().st_size // 2])
        else:
            frame.write_bytes(b"a text file\n" * 20)
    ended = run_net(home, "OUTPUT_DIR", "runs/bad")
    assert_one_line_error(ended, "frame_", ".jpg")
    assert not list((home / "runs" / "bad").glob("checkpoints/*"))


def test_pairs_of_other_data(home):
    path = annotations(home) / "EPIC_100_train.csv"
    pd.read_csv(path).iloc[:-1].to_csv(path, index=False)
    assert_one_line_error(run_net(home, cfg=SUML_TINY), "pairs.npz", "mine_pairs.py")


def test_pairs_that_were_never_mined(home):
    (home / "data" / "sample" / "pairs.npz").unlink()
    assert_one_line_error(run_net(home, cfg=SUML_TINY), "pairs.npz", "mine_pairs.py")


class TestCheckpoints:
    """Values of TEST.CHECKPOINT_FILE_PATH that cannot be tested."""

    @staticmethod
    def run(home, path, *args):
        args = ("TRAIN.ENABLE", "False", "TEST.ENABLE", "True", *args)
        return run_net(home, *args, "TEST.CHECKPOINT_FILE_PATH", path)

    @pytest.fixture
    def checkpoint(self, suml_run):
        return suml_run.output / "checkpoints" / "checkpoint_epoch_00001.pyth"

    def test_none_at_all(self, home):
        ended = run_net(home, "TRAIN.ENABLE", "False", "TEST.ENABLE", "True")
        assert_one_line_error(ended, "TEST.CHECKPOINT_FILE_PATH")

    def test_missing(self, home):
        assert_one_line_error(self.run(home, "ckpts/none.pyth"), "ckpts/none.pyth")

    def test_truncated(self, home, checkpoint):
        path = home / "half.pyth"
        data = checkpoint.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        assert_one_line_error(self.run(home, path), "half.pyth")

    def test_of_another_architecture(self, home, checkpoint):
        ended = self.run(home, checkpoint, "RESNET.WIDTH_PER_GROUP", "8")
        assert_one_line_error(ended, checkpoint.name)

    def test_of_other_class_counts(self, home, checkpoint):
        ended = self.run(home, checkpoint, "MODEL.NUM_CLASSES_LIST", "[6, 9]")
        assert_one_line_error(ended, checkpoint.name, "9")

    def test_without_an_ego_weight(self, home, checkpoint):
        state = torch.load(checkpoint, weights_only=True)
        del state["model_state"]["s3.pathway0_res1.branch2.b.weight"]
        path = home / "partial.pyth"
        torch.save(state, path)
        ended = self.run(home, path)
        assert_one_line_error(ended, "partial.pyth", "s3.pathway0_res1.branch2.b.weight")


def test_a_failing_test_writes_nothing(home, suml_run):
    checkpoint = suml_run.output / "checkpoints" / "checkpoint_epoch_00001.pyth"
    for root in (annotations(home).parent / "dataset", home / "data" / "sample" / "epic-55"):
        source = root.resolve()
        root.unlink()
        shutil.copytree(source, root)
        for frame in root.rglob("frame_*7.jpg"):
            frame.write_bytes(b"")
    ended = TestCheckpoints.run(home, checkpoint, "OUTPUT_DIR", "runs/bad")
    assert_one_line_error(ended, "frame_", ".jpg")
    assert not (home / "runs" / "bad" / "results.json").exists()
    assert not (home / "runs" / "bad" / "predictions.pkl").exists()


@pytest.fixture(scope="module")
def demo(sample_home, tmp_path_factory):
    """A working directory with the sample, the configs, and a checkpoint of random weights."""
    home = tmp_path_factory.mktemp("demo")
    (home / "data").symlink_to(sample_home / "data")
    (home / "configs").symlink_to(CONFIGS)
    path = home / "runs/demo/checkpoints/checkpoint_epoch_00018.pyth"
    path.parent.mkdir(parents=True)
    cfg = load_config(SUML_TINY)
    model = build_model(cfg)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    text = cfg.dump()
    save_checkpoint(path, model=model, optimizer=optimizer, epoch=17, cfg_text=text, extra={})
    return home


def start(config, overrides):
    """As tools/run_net.py, in this process on the CPU."""
    cfg = load_config(config, overrides)
    validate_run(cfg)
    run(cfg, ProcessInfo(0, 0, 1, None, torch.device("cpu")))


@pytest.mark.parametrize("shown", blocks("docs/troubleshooting.md", "console"))
def test_commands_of_the_troubleshooting_page_end_in_its_lines(demo, monkeypatch, shown):
    command, line = shown.splitlines()
    _, _, config, *overrides = shlex.split(command.removeprefix("$ python "))
    monkeypatch.chdir(demo)
    with pytest.raises(UserError) as caught:
        start(config, overrides)
    expected = re.escape(line.removeprefix("error: ")).replace(r"\.\.\.", ".*")
    # The sample of the tests has fewer segments than that of the demo.
    assert re.fullmatch(re.sub(r"\d+", r"\\d+", expected), str(caught.value)), caught.value
