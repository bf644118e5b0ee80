"""Public sets as the exo half: pairs, a short SUM-L training, validation and test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fvcore.common.config import CfgNode

from slowfast.config import load_config
from slowfast.datasets.pairing.pairs import PairTable, Tier
from slowfast.engine.preflight.run_rules import validate_run
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.run import run
from slowfast.semantics import encoder
from slowfast.semantics.build import mine_from_config
from slowfast.utils.errors import UserError
from tests.commands import CONFIGS
from tests.datasets.frames.test_video_forms import write_video
from tests.datasets.frames.tiny_videos import make_video
from tests.datasets.sources import test_charades_ego, test_egoexolearn, test_egtea
from tests.semantics.fake_encoder import WIDTH, make_fake

CSV_LIST = """id,video,start_sec,stop_sec,narration,verb,noun
a0,ego,0,1,trims the meat,trim,meat
a1,ego,1,2,grips a knife,grip,knife
"""


def short(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Keys of the smallest run whose lists and videos are all in `folder`."""
    monkeypatch.setattr(encoder, "load_encoder", make_fake)
    places = (
        "DATA.PATH_TO_DATA_DIR",
        "DATA.PATH_PREFIX",
        "EXO.PATH_TO_DATA_DIR",
        "EXO.PATH_PREFIX",
    )
    return {
        **dict.fromkeys(places, str(folder)),
        **{"OUTPUT_DIR": str(folder / "run"), "NUM_GPUS": 0, "LOG_PERIOD": 1},
        **{"SUML.EMBED_DIM": WIDTH, "SUML.CACHE_DIR": str(folder / "narrations")},
        **{"SUML.PAIRS.FILE": str(folder / "pairs.npz"), "SUML.ALIGN.THRESHOLD": -1.0},
        **{"DATA.NUM_FRAMES": 8, "EXO.NUM_FRAMES": 8, "DATA.SAMPLING_RATE": 1},
        **{"DATA.TRAIN_JITTER_SCALES": [32, 36], "DATA.TRAIN_CROP_SIZE": 32},
        **{"DATA.TEST_CROP_SIZE": 32, "DATA_LOADER.NUM_WORKERS": 0, "TENSORBOARD.ENABLE": False},
        **{"RESNET.WIDTH_PER_GROUP": 4, "SLOWFAST.BETA_INV": 2, "TRAIN.BATCH_SIZE": 2},
        **{"SOLVER.MAX_EPOCH": 1, "TEST.BATCH_SIZE": 2, "TEST.NUM_ENSEMBLE_VIEWS": 2},
        **{"BN.USE_PRECISE_STATS": False, "MODEL.NUM_CLASSES_LIST": [2, 2]},
        "EXO.NUM_CLASSES_LIST": [2, 2],
    }


def load(name: str, overrides: dict[str, object]) -> CfgNode:
    return load_config(CONFIGS / name, [part for item in overrides.items() for part in item])


def trained(cfg: CfgNode) -> tuple[dict[str, float], dict[str, float]]:
    """The values of the first step, and the results."""
    validate_run(cfg)
    run(cfg, ProcessInfo(0, 0, 1, None, torch.device("cpu")))
    output = Path(cfg.OUTPUT_DIR)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    step = next(line for line in lines if line["_type"] == "train_iter")
    return step, json.loads((output / "results.json").read_text())


def test_egoexolearn_with_videos_of_your_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs by label: the words of the taxonomies find the classes of the CSV list."""
    test_egoexolearn.write(tmp_path, 'v1,b1,0,1,[1],"[1, 0]",lab\nv1,b2,1,2,[0],[1],lab\n')
    (tmp_path / "videos.csv").write_text(CSV_LIST)
    for video in ("ego", "v1"):
        make_video(tmp_path / video, 60)
    cfg = load(
        "csv/SUML.yaml",
        {
            **short(tmp_path, monkeypatch),
            "EXO.DATASET": "egoexolearn",
            "SUML.PAIRS.MINING": "tiers",
            "SUML.WEIGHTS.ALIGN": 0.5,
        },
    )
    assert mine_from_config(cfg).ego_segments == 2
    table = PairTable.load(Path(cfg.SUML.PAIRS.FILE))
    assert table.indices[:, 0].tolist() == [1, 0]
    assert table.tier[:, 0].tolist() == [Tier.SAME, Tier.SUBSET]
    step, results = trained(cfg)
    assert {"ego_verb", "exo_verb", "exo_noun", "align", "ego_text"} <= step.keys()
    assert results["num_classes"] == {"verb": 2, "noun": 2}


def test_charades_ego_paired_and_unpaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test_charades_ego.write(tmp_path)
    for video in ("AAAAA", "AAAAAEGO", "BBBBB", "BBBBBEGO"):
        make_video(tmp_path / video, 72)
    counts = {"MODEL.NUM_CLASSES_LIST": [2], "EXO.NUM_CLASSES_LIST": [2]}
    overrides = {**short(tmp_path, monkeypatch), **counts}
    cfg = load("charades_ego/SUML_SLOWFAST_8x8_R50.yaml", overrides)
    mine_from_config(cfg)
    assert partners(cfg) == [{0, 1}, {0, 1}]
    overrides["SUML.PAIRS.PAIRED_FILE"] = str(tmp_path / "CharadesEgo_v1_train_only3rd.csv")
    cfg = load("charades_ego/SUML_paired_SLOWFAST_8x8_R50.yaml", overrides)
    mine_from_config(cfg)
    assert partners(cfg) == [{1}, {0}]
    step, results = trained(cfg)
    assert {"ego_action", "exo_action", "align"} <= step.keys()
    # Of the videos of the test list, one has no action.
    assert results["num_segments"] == 1
    assert {"action_mAP", "chance_action_mAP"} <= results.keys()


def test_official_clips_of_egtea(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two videos as trimmed clips, one of which is missing, the other as a whole."""
    clips = ["P1-R1-X-0-1000-F000000-F000023", "P1-R1-X-1000-2000-F000024-F000047"]
    clips.append("P2-R1-X-0-1000-F000001-F000024")
    test_egtea.write_official(tmp_path, "".join(f"{clip} 1 1 1 2\n" for clip in clips))
    write_video(tmp_path / "P1-R1-X" / f"{clips[1]}.mp4", 24, 47)
    write_video(tmp_path / "P2-R1-X.mp4", 1, 30)
    overrides = short(tmp_path, monkeypatch) | {
        "MODEL.NUM_CLASSES_LIST": [3, 4, 3],
        "EXO.NUM_CLASSES_LIST": [25, 64],
    }
    name = "egtea/Ego_official_SLOWFAST_8x8_R50.yaml"
    with pytest.raises(UserError, match=f"segment {clips[0]} has no clip .*P1-R1-X/{clips[0]}.mp4"):
        trained(load(name, overrides))
    step, results = trained(load(name, overrides | {"DATA.ON_MISSING_VIDEO": "skip"}))
    assert {"verb", "noun", "action"} <= step.keys()
    assert results["num_segments"] == 2
    assert "action_class_mean_recall_at_1" in results["ours"]


def partners(cfg: CfgNode) -> list[set[int]]:
    """Positions of the exo candidates of every ego segment."""
    table = PairTable.load(Path(cfg.SUML.PAIRS.FILE))
    return [set(row) - {-1} for row in table.indices.tolist()]
