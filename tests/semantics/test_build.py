"""From a config to the pair table, and from the table to the joined data set."""

import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.datasets import build_dataset
from slowfast.datasets.ego_exo import EgoExoDataset, mining_settings
from slowfast.datasets.pairing.pairs import PairTable, Tier
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import PairedSample, SampleKey
from slowfast.semantics import encoder, text_search
from slowfast.semantics.build import import_from_config, mine_from_config, other_table
from slowfast.utils.errors import UserError
from tests.commands import assert_one_line_error, run_tool
from tests.datasets.frames.tiny_videos import make_video
from tests.datasets.sources.tiny_lemma import NOUNS, VERBS, write_annotations, write_frames
from tests.semantics.fake_encoder import WIDTH, make_fake

EGO_ROWS = [
    "P01_01_0,P01,P01_01,1,20,take cup,0,0",
    "P01_01_1,P01,P01_01,21,40,put plate,1,1",
    "P01_01_2,P01,P01_01,30,50,rinse knife,2,2",
    "P01_01_3,P01,P01_01,41,60,take cup,0,0",
]
HEADER = (
    "narration_id,participant_id,video_id,start_frame,stop_frame,narration,verb_class,noun_class"
)
VERB_TABLE = """id,key,instances,category
0,take,"['take', 'get']",a
1,put,"['put']",b
2,wash,"['wash', 'rinse']",c
3,open,"['open']",d
"""
NOUN_TABLE = """id,key,instances,category
0,cup,"['cup']",a
1,plate,"['plate']",b
2,knife,"['knife']",c
"""


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CfgNode:
    """Four ego segments and the tiny exo set; annotations only."""
    monkeypatch.setattr(encoder, "load_encoder", make_fake)
    ego = tmp_path / "ego"
    ego.mkdir()
    (ego / "EPIC_100_train.csv").write_text("\n".join([HEADER, *EGO_ROWS]) + "\n")
    (ego / "EPIC_100_verb_classes.csv").write_text(VERB_TABLE)
    (ego / "EPIC_100_noun_classes.csv").write_text(NOUN_TABLE)
    cfg = get_cfg()
    cfg.DATA.EPIC_100 = True
    cfg.DATA.PATH_TO_DATA_DIR = str(ego)
    cfg.DATA.PATH_PREFIX = str(tmp_path / "frames")
    cfg.DATA.FALLBACK_PATH_PREFIXES = []
    cfg.DATA.NUM_FRAMES = cfg.EXO.NUM_FRAMES = 8
    cfg.DATA.TRAIN_JITTER_SCALES = [28, 36]
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = 24
    cfg.MODEL.NUM_CLASSES_LIST = [4, 3]
    cfg.EXO.PATH_TO_DATA_DIR = str(write_annotations(tmp_path / "exo"))
    cfg.EXO.NUM_CLASSES_LIST = [len(VERBS), len(NOUNS)]
    cfg.SUML.ENABLE = True
    cfg.SUML.ENCODER = "fake"
    cfg.SUML.EMBED_DIM = WIDTH
    cfg.SUML.CACHE_DIR = str(tmp_path / "cache")
    cfg.SUML.PAIRS.FILE = str(tmp_path / "pairs.npz")
    cfg.SUML.PAIRS.TOP_K = 2
    return cfg


def add_frames(cfg: CfgNode) -> None:
    make_video(Path(cfg.DATA.PATH_PREFIX) / "P01" / "P01_01", 60)
    write_frames(Path(cfg.EXO.PATH_TO_DATA_DIR))


def table_of(cfg: CfgNode) -> PairTable:
    return PairTable.load(Path(cfg.SUML.PAIRS.FILE))


def test_mines_without_frames(cfg: CfgNode) -> None:
    report = mine_from_config(cfg)
    table = table_of(cfg)
    assert (table.ego_count, table.exo_count, report.pairs) == (4, 4, 8)
    assert (report.ego_narrations, report.exo_narrations) == (3, 3)
    assert report.verb_agreement is not None
    # "take cup" shares a word with "get cup" (exo 0 and 3), the fake encoder's only sense.
    assert set(table.indices[0]) == set(table.indices[3]) == {0, 3}
    # "get cup" in a segment where others act too is not the same action.
    tiers = dict(zip(table.indices[0].tolist(), table.tier[0].tolist(), strict=True))
    assert tiers == {0: Tier.SAME, 3: Tier.SUBSET}


def test_tiers(cfg: CfgNode) -> None:
    cfg.SUML.PAIRS.MINING = "tiers"
    report = mine_from_config(cfg)
    assert table_of(cfg).indices.tolist() == [[0, -1], [1, 3], [2, -1], [0, -1]]
    # Exo 2: an idle person (`null`, without ego class) stands beside the one who washes a knife.
    assert report.tier_pairs == {"same": 2, "subset": 3, "verb": 0, "noun": 0, "none": 0}


def test_label_map_override(cfg: CfgNode, tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text("kind,exo,ego_class\nverb,wash,open\n")
    cfg.SUML.PAIRS.MINING = "tiers"
    cfg.SUML.PAIRS.LABEL_MAP = str(path)
    report = mine_from_config(cfg)
    assert report.tier_pairs is not None
    assert report.tier_pairs["noun"] == 1  # "rinse knife" shares but the knife now


def test_class_tables_are_needed_for_tiers_only(
    cfg: CfgNode, caplog: pytest.LogCaptureFixture
) -> None:
    (Path(cfg.DATA.PATH_TO_DATA_DIR) / "EPIC_100_noun_classes.csv").unlink()
    with caplog.at_level(logging.INFO):
        assert mine_from_config(cfg).verb_agreement is None
    assert "EPIC_100_noun_classes.csv does not exist" in caplog.text
    Path(cfg.SUML.PAIRS.FILE).unlink()
    cfg.SUML.PAIRS.MINING = "tiers"
    with pytest.raises(UserError, match=r"EPIC_100_noun_classes.csv does not exist; link EPIC's"):
        mine_from_config(cfg)
    assert not Path(cfg.SUML.PAIRS.FILE).exists()


def test_segment_without_narration(cfg: CfgNode) -> None:
    path = Path(cfg.DATA.PATH_TO_DATA_DIR) / "EPIC_100_train.csv"
    path.write_text(path.read_text().replace("put plate", " "))
    with pytest.raises(UserError, match=r"1 ego segment\(s\) such as P01_01_1 have no narration"):
        mine_from_config(cfg)


@pytest.mark.parametrize("mining", ["text", "tiers", "tiers_text"])
def test_training_set_over_the_mined_table(cfg: CfgNode, mining: str) -> None:
    cfg.SUML.PAIRS.MINING = mining
    mine_from_config(cfg)
    add_frames(cfg)
    dataset = build_dataset("ego_exo", cfg, "train")
    assert isinstance(dataset, EgoExoDataset)
    assert len(dataset) == 4
    table = table_of(cfg)
    for index in range(4):
        pair = dataset[SampleKey(1, index)]
        assert isinstance(pair, PairedSample)
        assert pair.exo.index in table.indices[index]
        assert pair.ego.text is not None
        assert pair.exo.text is not None
        place = table.indices[index].tolist().index(pair.exo.index)
        similarity = float(pair.ego.text @ pair.exo.text)
        assert similarity == pytest.approx(table.similarity[index, place], abs=1e-6)


def test_validation_of_the_joined_set_is_the_ego_set(cfg: CfgNode) -> None:
    make_video(Path(cfg.DATA.PATH_PREFIX) / "P01" / "P01_01", 60)
    cfg.TRAIN.VAL_DATA_LIST = cfg.TEST.DATA_LIST = "EPIC_100_train.csv"
    for split in ("val", "test"):
        assert isinstance(build_dataset("ego_exo", cfg, split), SegmentDataset)


def test_a_table_for_other_data_is_refused(cfg: CfgNode) -> None:
    mine_from_config(cfg)
    add_frames(cfg)
    path = Path(cfg.DATA.PATH_TO_DATA_DIR) / "EPIC_100_train.csv"
    path.write_text(path.read_text().replace("put plate", "drop plate"))
    with pytest.raises(UserError, match=r"pairs.npz is for other ego segments.*tools/mine_pairs"):
        build_dataset("ego_exo", cfg, "train")
    path.write_text("\n".join([HEADER, *EGO_ROWS[:2]]) + "\n")
    with pytest.raises(UserError, match=r"is for 4 ego segments, but the data set has 2"):
        build_dataset("ego_exo", cfg, "train")


def test_a_removed_cache_names_the_command(cfg: CfgNode) -> None:
    mine_from_config(cfg)
    add_frames(cfg)
    shutil.rmtree(cfg.SUML.CACHE_DIR)
    with pytest.raises(UserError, match=r"no narration embeddings of encoder fake.*mine_pairs.py"):
        build_dataset("ego_exo", cfg, "train")


def test_training_never_calls_the_encoder(cfg: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    mine_from_config(cfg)
    add_frames(cfg)
    monkeypatch.setattr(encoder, "load_encoder", None)
    assert build_dataset("ego_exo", cfg, "train")[0] is not None


def test_imported_pairs_train(cfg: CfgNode, tmp_path: Path) -> None:
    def candidate(entry: int, video: str, start: int) -> dict:
        frames = [max(start + step, 0) for step in range(-8, 8, 2)]
        images = [[f"/author/frames/{video}/{frame:05d}.jpg"] for frame in frames]
        return {str(entry): [[0], [0], images, "get cup"]}

    empty = {"same": [], "sub": [], "sub_verb": [], "sub_noun": []}
    same = [candidate(copy, "v1", 0) for copy in range(3)]
    sub = [candidate(9, "v2", 12), candidate(3, "v1", 14)]
    content = {"0": {**empty, "same": same}, "1": {**empty, "sub": sub}, "2": empty}
    path = tmp_path / "published.json"
    path.write_text(json.dumps(content))
    report = import_from_config(cfg, path, None)
    table = table_of(cfg)
    assert table.indices.tolist() == [[0, -1], [3, 1], [-1, -1], [-1, -1]]
    assert (report.pairs, report.rows_without_pair) == (3, 2)
    assert table.tier[0, 0] == Tier.SAME
    add_frames(cfg)
    dataset = build_dataset("ego_exo", cfg, "train")
    assert isinstance(dataset, EgoExoDataset)
    assert {dataset.partner(SampleKey(epoch, 1)) for epoch in range(20)} == {1, 3}


def test_table_that_cannot_be_written(cfg: CfgNode, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cfg.SUML.PAIRS.FILE = str(tmp_path / "file" / "pairs.npz")
    with pytest.raises(UserError, match=r"file/pairs.npz cannot be written: .*SUML.PAIRS.FILE"):
        mine_from_config(cfg)


def test_mining_twice_gives_the_same_file(cfg: CfgNode) -> None:
    path = Path(cfg.SUML.PAIRS.FILE)
    mine_from_config(cfg)
    first = path.read_bytes()
    mine_from_config(cfg)
    assert path.read_bytes() == first
    assert np.load(path).files == ["header", "indices", "similarity", "tier"]


def test_command_reports_mistakes_in_one_line(tmp_path: Path) -> None:
    ended = run_tool("mine_pairs.py", "--cfg", tmp_path / "none.yaml", cwd=tmp_path)
    assert_one_line_error(ended, "none.yaml", "does not exist")
    config = tmp_path / "config.yaml"
    config.write_text("TRAIN:\n  DATASET: epickitchen\n")
    ended = run_tool("mine_pairs.py", "--cfg", config, "--import-text", "pairs.txt", cwd=tmp_path)
    assert_one_line_error(ended, "--import-text", "--import-json")


def test_an_approximate_index_is_logged_and_recorded(
    cfg: CfgNode, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("faiss", reason="needs faiss (extra: ivf)")
    mine_from_config(cfg)
    exact = table_of(cfg)
    cfg.SUML.PAIRS.INDEX = "ivf"
    with caplog.at_level(logging.INFO):
        mine_from_config(cfg)
    assert "ivf finds 100.0 % of the 2 nearest exo narrations (sample: 3 ego" in caplog.text
    table = table_of(cfg)
    np.testing.assert_array_equal(table.indices, exact.indices)
    assert table.settings["index"] == "ivf of 0 lists, 32 probes"
    assert mining_settings(cfg) == table.settings
    cfg.SUML.PAIRS.INDEX = "exact"
    add_frames(cfg)
    with pytest.raises(UserError, match=r"mined with index 'ivf of .*, but the config has 'exact'"):
        build_dataset("ego_exo", cfg, "train")


def test_an_index_without_faiss_stops_before_any_work(
    cfg: CfgNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    cfg.SUML.PAIRS.INDEX = "ivf"
    with pytest.raises(UserError, match=r"needs faiss; pip install 'suml-slowfast\[ivf\]'"):
        mine_from_config(cfg)
    assert not Path(cfg.SUML.CACHE_DIR).exists()
    cfg.SUML.PAIRS.MINING = "tiers"
    assert mine_from_config(cfg).pairs


def test_every_narration_is_encoded_and_compared_once(
    cfg: CfgNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    compared: list[tuple[int, int]] = []
    fake, search = make_fake("fake"), text_search.nearest_vectors

    def load(name: str) -> encoder.Encode:
        return lambda texts: fake(encoded.extend(texts) or texts)

    def count(queries: np.ndarray, keys: np.ndarray, *rest: object) -> np.ndarray:
        compared.append((len(queries), len(keys)))
        return search(queries, keys, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder, "load_encoder", load)
    monkeypatch.setattr(text_search, "nearest_vectors", count)
    mine_from_config(cfg)
    mine_from_config(cfg)
    # Four segments each, of three narrations.
    assert compared == [(3, 3)] * 2
    assert len(encoded) == len(set(encoded)) == 6


def test_a_table_of_other_settings_is_reported(cfg):
    assert other_table(cfg) == ""
    mine_from_config(cfg)
    assert other_table(cfg) == ""
    other = cfg.clone()
    other.defrost()
    other.SUML.PAIRS.TOP_K += 1
    assert f"{cfg.SUML.PAIRS.FILE} exists, with mining" in other_table(other)
    Path(cfg.SUML.PAIRS.FILE).write_text("something else")
    assert "is not a readable pair table" in other_table(cfg)
