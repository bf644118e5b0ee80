"""Every input file by URL: each reader, and a whole run from a server."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.config import get_cfg, load_config
from slowfast.datasets.pairing.label_map import build_label_map, read_class_table
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.datasets.registry import build_source
from slowfast.datasets.sources.epic_55_split import write_epic_55_split
from slowfast.datasets.sources.epic_annotations import read_segments
from slowfast.datasets.sources.labelled_list import read_labelled_list
from slowfast.engine.checkpoint import load_initial_weights
from slowfast.engine.checkpoints.convert import convert_checkpoint
from slowfast.engine.checkpoints.formats import read_checkpoint
from slowfast.engine.tester import checkpoint_to_test, plan_test
from slowfast.engine.testing.retrieval import read_retrieval_lists
from slowfast.evaluation.epic import read_subsets
from slowfast.evaluation.predictions import Predictions, read_predictions, write_predictions
from slowfast.models.published_names import published_state_dict
from slowfast.semantics.build import mine_from_config
from slowfast.semantics.published_pairs import read_members
from slowfast.utils.errors import UserError
from slowfast.utils.paths import local_path
from tests.commands import CONFIGS, SHORT_RUN, assert_one_line_error, launch_tool, run_tool
from tests.engine.tiny_models import assert_same, copied, tiny_cfg, tiny_model
from tests.file_server import FileServer, running_server

LIST = (
    b"narration_id,participant_id,video_id,start_frame,stop_frame,narration,verb_class,noun_class\n"
    b"P01_01_0,P01,P01_01,8,202,open door,3,5\n"
    b"P02_01_0,P02,P02_01,1,60,take cup,0,1\n"
)
VERBS = b"id,key,instances\n0,take,\"['take', 'get']\"\n1,open,\"['open']\"\n"
NOUNS = b"id,key,instances\n0,cup,\"['cup', 'mug']\"\n1,door,\"['door']\"\n"
SETTINGS = {"mining": "text", "top_k": 1, "encoder": "fake", "label_map": ""}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("SUML_CACHE", str(tmp_path / "cache"))
    with running_server() as running:
        yield running


# ---------------------------------------------------------------------------------------------
# Configs
# ---------------------------------------------------------------------------------------------
def test_a_config_and_its_bases(server: FileServer) -> None:
    url = server.add("/c/epic/run.yaml", b"_BASE_: ../_base_/a.yaml\nLOG_PERIOD: 7\n")
    server.add("/c/_base_/a.yaml", b"_BASE_: [b.yaml]\nSOLVER: {MAX_EPOCH: 5}\nLOG_PERIOD: 1\n")
    server.add("/c/_base_/b.yaml", b"SOLVER: {MAX_EPOCH: 4, BASE_LR: 0.25}\n")
    cfg = load_config(url, ["RNG_SEED", "3"])
    values = cfg.LOG_PERIOD, cfg.SOLVER.MAX_EPOCH, cfg.SOLVER.BASE_LR, cfg.RNG_SEED
    assert values == (7, 5, 0.25, 3)
    assert server.requests == ["/c/epic/run.yaml", "/c/_base_/a.yaml", "/c/_base_/b.yaml"]


def test_the_shipped_configs_from_a_server(server: FileServer) -> None:
    url = server.add_folder("/configs", CONFIGS)
    name = "epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101_TPV.yaml"
    assert load_config(f"{url}/{name}").dump() == load_config(CONFIGS / name).dump()


def test_a_local_config_with_a_base_on_a_server(server: FileServer, tmp_path: Path) -> None:
    base = server.add("/base.yaml", b"LOG_PERIOD: 7\n")
    (tmp_path / "run.yaml").write_text(f"_BASE_: {base}\n")
    assert load_config(tmp_path / "run.yaml").LOG_PERIOD == 7


def test_configs_that_cannot_be_read(server: FileServer) -> None:
    url = f"{server.base}/none.yaml"
    with pytest.raises(UserError, match=r"none\.yaml cannot be downloaded \(HTTP 404.*set --cfg"):
        load_config(url)
    lost = server.add("/lost.yaml", b"_BASE_: d/none.yaml\n")
    with pytest.raises(UserError, match=rf"/d/none\.yaml cannot .*set _BASE_ of {lost} to a"):
        load_config(lost)
    circle = server.add("/circle.yaml", b"_BASE_: ./d/../circle.yaml\n")
    with pytest.raises(UserError, match="_BASE_ leads back to this file"):
        load_config(circle)


# ---------------------------------------------------------------------------------------------
# Lists and tables
# ---------------------------------------------------------------------------------------------
def test_a_frame_list_and_the_tables_of_its_folder(server: FileServer) -> None:
    server.add("/epic/list.csv", LIST)
    server.add("/epic/EPIC_100_verb_classes.csv", VERBS)
    server.add("/epic/EPIC_100_noun_classes.csv", NOUNS)
    server.add("/epic/EPIC_100_tail_verbs.csv", b"verb\n3\n")
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR = f"{server.base}/epic"
    cfg.DATA.EPIC_100, cfg.TRAIN.TRAIN_DATA_LIST = True, "list.csv"
    source = build_source("epickitchen", cfg, "train", "ego")
    assert [s.segment_id for s in source.annotations().segments] == ["P01_01_0", "P02_01_0"]
    verbs, nouns = source.class_tables()
    assert (verbs.ids["get"], nouns.ids["door"]) == (0, 1)
    # Tables that are not on the server are left out.
    subsets = read_subsets(cfg.DATA.PATH_TO_DATA_DIR)
    assert subsets.tail_verbs == {3}
    assert not subsets.tail_nouns | subsets.unseen_participants
    del server.files["/epic/EPIC_100_noun_classes.csv"]
    local_path(f"{server.base}/epic/EPIC_100_noun_classes.csv", "").unlink()
    with pytest.raises(UserError, match=r"/epic/EPIC_100_noun_classes\.csv does not exist"):
        source.class_tables()


def test_a_frame_list_alone(server: FileServer) -> None:
    url = server.add("/list.csv", LIST) + "?token=1"
    settings: dict = {"epic_100": True, "num_classes": (97, 300), "labelled": True}
    assert len(read_segments(url, **settings)) == 2
    with pytest.raises(UserError, match=r"none\.csv .*404.*DATA\.PATH_TO_DATA_DIR or the list"):
        read_segments(f"{server.base}/none.csv", **settings)


def test_a_label_map(server: FileServer) -> None:
    override = server.add("/map.csv", b"kind,exo,ego_class\nverb,grab,take\n")
    tables = [server.add("/v.csv", VERBS), server.add("/n.csv", NOUNS)]
    assert build_label_map([["grab"], ["mug"]], tables, override) == ((0,), (0,))
    assert read_class_table(tables[0]).num_classes == 2


def test_retrieval_sentences(server: FileServer) -> None:
    server.add("/epic/list.csv", LIST)
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR, cfg.TEST.DATA_LIST = f"{server.base}/epic", "list.csv"
    segments = read_segments(
        f"{server.base}/epic/list.csv", epic_100=True, num_classes=(97, 300), labelled=True
    )

    def sentences(texts: list[str], cfg: object) -> np.ndarray:
        asked.append(texts)
        return np.ones((len(texts), 2), np.float32)

    asked: list[list[str]] = []
    read_retrieval_lists(cfg, segments, sentences)
    public = "EPIC_100_retrieval_test_sentence.csv"
    server.add(f"/epic/{public}", b"narration_id,narration\nP02_01_0,take a cup\n")
    read_retrieval_lists(cfg, segments, sentences)
    cfg.TEST.RETRIEVAL.SENTENCES = "mine.csv"
    with pytest.raises(UserError, match=r"mine\.csv .*TEST\.RETRIEVAL\.SENTENCES"):
        read_retrieval_lists(cfg, segments, sentences)
    assert asked == [["open door", "take cup"], ["take a cup"]]


def test_the_split_of_epic_55(server: FileServer, tmp_path: Path) -> None:
    url = server.add("/all.csv", LIST)
    with pytest.raises(UserError, match="no rows of 14 validation"):
        write_epic_55_split(url, tmp_path / "split")


# ---------------------------------------------------------------------------------------------
# Pair tables
# ---------------------------------------------------------------------------------------------
def pair_table() -> PairTable:
    return PairTable(
        indices=np.zeros((2, 1), np.int32),
        similarity=np.ones((2, 1), np.float32),
        tier=np.zeros((2, 1), np.uint8),
        settings=SETTINGS,
        ego_hash="e",
        exo_hash="x",
        exo_count=1,
    )


def test_a_pair_table(server: FileServer, tmp_path: Path) -> None:
    pair_table().save(tmp_path / "pairs.npz")
    url = server.add("/pairs.npz", (tmp_path / "pairs.npz").read_bytes())
    assert PairTable.load(url).settings == SETTINGS
    with pytest.raises(UserError, match=r"none\.npz cannot .* set SUML\.PAIRS\.FILE to a"):
        PairTable.load(f"{server.base}/none.npz")


def test_a_pair_table_is_not_mined_onto_a_server(server: FileServer) -> None:
    cfg = get_cfg()
    cfg.SUML.PAIRS.FILE = f"{server.base}/pairs.npz"
    with pytest.raises(UserError, match=r"SUML\.PAIRS\.FILE is http.*set it to a local file"):
        mine_from_config(cfg)
    assert server.requests == []


def test_published_pairs(server: FileServer) -> None:
    url = server.add("/pairs.json", json.dumps({"0": {"same": []}}).encode())
    assert list(read_members(local_path(url, "--import-json"))) == [("0", {"same": []})]


# ---------------------------------------------------------------------------------------------
# Checkpoints
# ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", ["pyth", "safetensors"])
def test_a_checkpoint(suffix: str, server: FileServer, tmp_path: Path) -> None:
    weights = copied(published_state_dict(tiny_model(tiny_cfg())))
    torch.save({"model_state": weights}, tmp_path / "w.pyth")
    convert_checkpoint(tmp_path / "w.pyth", tmp_path / f"out.{suffix}")
    url = server.add(f"/w.{suffix}", (tmp_path / f"out.{suffix}").read_bytes()) + "?sig=a.pkl"
    found = read_checkpoint(url).weights.tensors
    assert_same(dict(sorted(found.items())), dict(sorted(weights.items())))
    convert_checkpoint(url, tmp_path / "again.pyth")
    assert (tmp_path / "again.pyth").is_file()


def test_a_checkpoint_that_cannot_be_downloaded(server: FileServer) -> None:
    url = f"{server.base}/w.pyth"
    with pytest.raises(UserError, match=rf"{url} cannot be .*set TRAIN\.CHECKPOINT_FILE_PATH to"):
        read_checkpoint(url, key="TRAIN.CHECKPOINT_FILE_PATH")
    cfg = tiny_cfg(TEST__CHECKPOINT_FILE_PATH=url)
    with pytest.raises(UserError, match=rf"{url} cannot be .*set TEST\.CHECKPOINT_FILE_PATH to"):
        plan_test(cfg)


def test_initial_weights_of_both_views(server: FileServer, tmp_path: Path) -> None:
    dual = tiny_model(tiny_cfg("EgoExoSlowFast"), seed=5)
    torch.save({"model_state": published_state_dict(dual)}, tmp_path / "w.pyth")
    url = server.add("/w.pyth", (tmp_path / "w.pyth").read_bytes())
    keys = {"TRAIN__CHECKPOINT_FILE_PATH": url, "EXO__CHECKPOINT_FILE_PATH": f"{url}?exo"}
    model = tiny_model(tiny_cfg("EgoExoSlowFast"), seed=6)
    load_initial_weights(model, tiny_cfg("EgoExoSlowFast", **keys))
    assert_same(published_state_dict(model), published_state_dict(dual))
    assert server.requests == ["/w.pyth", "/w.pyth?exo"]


def test_the_tested_checkpoint_keeps_its_url(server: FileServer) -> None:
    url = f"{server.base}/w.pyth"
    assert checkpoint_to_test(tiny_cfg(TRAIN__CHECKPOINT_FILE_PATH=url), None) == url
    assert server.requests == []


# ---------------------------------------------------------------------------------------------
# Predictions
# ---------------------------------------------------------------------------------------------
def test_predictions_and_their_list(server: FileServer, tmp_path: Path) -> None:
    ids = [row["narration_id"] for row in csv.DictReader(LIST.decode().splitlines())]
    sizes = {"verb": 97, "noun": 300}
    scores = {head: np.log(np.full((2, count), 1 / count)) for head, count in sizes.items()}
    write_predictions(tmp_path / "p.pkl", Predictions(scores, np.asarray(ids)))
    predictions = server.add("/run/p.pkl", (tmp_path / "p.pkl").read_bytes()) + "?v=1"
    assert len(read_predictions(predictions)) == 2
    annotations = server.add("/epic/list.csv", LIST)
    server.add("/epic/EPIC_100_tail_verbs.csv", b"verb\n3\n")
    labelled = read_labelled_list([annotations], (97, 300))
    assert labelled.ids == ids
    command = ("evaluate.py", "--predictions", predictions, "--annotations")
    ended = run_tool(*command, annotations, "--out", "e.json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "e.json").read_text())["num_segments"] == 2
    without_out = run_tool(*command, annotations, cwd=tmp_path)
    assert_one_line_error(without_out, "--predictions http", "--out")
    missing = f"{server.base}/epic/none.csv"
    ended = run_tool(*command, missing, "--out", "e.json", cwd=tmp_path)
    assert_one_line_error(ended, missing, "HTTP 404", "set --annotations to a local copy")


# ---------------------------------------------------------------------------------------------
# A run
# ---------------------------------------------------------------------------------------------
def test_a_training_whose_inputs_are_all_on_a_server(
    sample_home: Path, server: FileServer, tmp_path: Path
) -> None:
    """Two processes, one download of each file; frames and narration cache stay local."""
    sample = sample_home / "data" / "sample"
    home = tmp_path / "home"
    (home / "data" / "sample").mkdir(parents=True)
    for name in ("epic-55", "narrations"):
        (home / "data" / "sample" / name).symlink_to(sample / name)
    (home / "data" / "sample" / "epic-100").mkdir()
    frames = home / "data" / "sample" / "epic-100" / "dataset"
    frames.symlink_to(sample / "epic-100" / "dataset")
    shutil.copytree(sample / "lemma", tmp_path / "lemma")
    shutil.move(tmp_path / "lemma" / "annotations", tmp_path / "exo" / "annotations")
    configs = server.add_folder("/configs", CONFIGS)
    epic = server.add_folder("/epic", sample / "epic-100" / "annotations")
    exo = server.add_folder("/exo", tmp_path / "exo")
    pairs = server.add("/pairs.npz", (sample / "pairs.npz").read_bytes())
    args = (
        *("--cfg", f"{configs}/sample/SUML_tiny.yaml", *SHORT_RUN, "SOLVER.MAX_EPOCH", 1),
        *("OUTPUT_DIR", "run", "DATA.PATH_TO_DATA_DIR", epic, "SUML.PAIRS.FILE", pairs),
        *("EXO.PATH_TO_DATA_DIR", exo, "TENSORBOARD.ENABLE", False),
    )
    ended = run_tool("run_net.py", *args, cwd=home)
    assert_one_line_error(ended, f"EXO.PATH_TO_DATA_DIR is {exo}", "set EXO.PATH_PREFIX")
    args += ("EXO.PATH_PREFIX", tmp_path / "lemma")
    ended = launch_tool("run_net.py", *args, processes=2, cwd=home)
    assert ended.returncode == 0, ended.stderr[-4000:]
    results = json.loads((home / "run" / "results.json").read_text())
    assert results["num_segments"] == 10
    assert "/pairs.npz" in server.requests
    optional = [path for path in server.requests if server.content(path) is None]
    assert len(set(server.requests) - set(optional)) == len(server.requests) - len(optional)
    weights = (home / "run" / "checkpoints" / "checkpoint_epoch_00001.pyth").read_bytes()
    tested = server.add("/w.pyth", weights)
    args += ("TRAIN.ENABLE", False, "TRAIN.CHECKPOINT_FILE_PATH", tested, "OUTPUT_DIR", "test")
    ended = run_tool("run_net.py", *args, cwd=home)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert f"testing checkpoint {tested} (TRAIN.CHECKPOINT_FILE_PATH)" in ended.stderr
    again = json.loads((home / "test" / "results.json").read_text())
    assert again["num_segments"] == 10
    assert again["verb_top1"] == results["verb_top1"]
