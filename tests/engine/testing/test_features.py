"""Features of both views: their content, and the tasks that read them."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from slowfast.datasets.build import build_dataset, load_clip
from slowfast.datasets.pairing.pairs import PairTable, narration_hash
from slowfast.engine import tester
from slowfast.engine.checkpoint import load_test_weights
from slowfast.engine.testing import feature_tasks, shards
from slowfast.engine.testing import features as features_module
from slowfast.engine.testing.cross_view import read_cross_view_labels
from slowfast.engine.testing.features import features_folder
from slowfast.evaluation.predictions import read_predictions
from slowfast.models import build_model
from slowfast.models.published_names import published_state_dict
from slowfast.utils.errors import UserError
from tests.engine import tiny_run
from tests.engine.tiny_run import SEGMENTS, make_home, run_test, tiny_run_cfg


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def both(home: Path) -> Path:
    """OUTPUT_DIR with the features of both views."""
    cfg = tiny_run_cfg(home, "both", TEST__TASK="features", TEST__DATASET="ego_exo")
    run_test(cfg)
    return Path(cfg.OUTPUT_DIR)


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="slowfast")


def _records(folder: Path) -> dict[int, shards.Record]:
    return dict(shards.read_records(sorted(folder.glob("part-*.npz"))))


def _with_features(cfg: CfgNode, both: Path) -> CfgNode:
    cfg.TEST.FEATURES.DIR = str(both / "features")
    return cfg


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if the backbone runs."""

    def fail(*args: object) -> None:
        raise AssertionError("the model was run")

    monkeypatch.setattr(features_module.FeatureExtractor, "__call__", fail)
    monkeypatch.setattr(tester.SegmentScorer, "__call__", fail)


@pytest.mark.parametrize("view", ["ego", "exo"])
def test_a_record_holds_what_single_views_give(home: Path, both: Path, view: str) -> None:
    cfg = tiny_run_cfg(home)
    records = _records(both / "features" / view)
    dataset = build_dataset("epickitchen" if view == "ego" else "lemma", cfg, "test")
    assert sorted(records) == list(range(len(dataset)))
    model = build_model(cfg)
    load_test_weights(model, home / "checkpoint.pyth", cfg)
    model.eval()
    recognizer = getattr(model, view)
    projection = getattr(model, f"{view}_projection")
    for index in (0, 1, len(dataset) - 1):
        clips = [load_clip(dataset, index, number) for number in range(6)]
        with torch.no_grad():
            pooled = torch.cat([recognizer.features([p[None] for p in clip]) for clip in clips])
            projected = projection(pooled).mean(0)
        record = records[index]
        # 1e-5: float32 passes of other batch sizes.
        np.testing.assert_allclose(record["pooled"], pooled.mean(0), atol=1e-5)
        np.testing.assert_allclose(record["projected"], projected / projected.norm(), atol=1e-5)
        assert record["weights"].sum() == 6
        assert len(record["views"]) == len(record["weights"]) <= 6
        assert str(record["segment_id"]) == dataset.segments[index].segment_id
    labels = [records[index]["labels0"] for index in sorted(records)]
    if view == "ego":
        assert [int(label) for label in labels] == [segment[3] for segment in SEGMENTS]
    else:
        assert all(label.shape == (4,) and label.any() for label in labels)


@pytest.mark.parametrize(
    "changes",
    [{}, {"DATA__ENSEMBLE_METHOD": "max"}, {"TEST__NO_ACT": True}],
    ids=["mean", "max", "logits"],
)
def test_recognition_from_features_equals_the_direct_run(
    home: Path,
    both: Path,
    changes: dict,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = "_".join(changes)
    direct = tiny_run_cfg(home, f"direct{names}", **changes)
    run_test(direct)
    reused = _with_features(tiny_run_cfg(home, f"reused{names}", **changes), both)

    def fail(*args: object) -> None:
        raise AssertionError("the model was run")

    monkeypatch.setattr(tester.SegmentScorer, "__call__", fail)
    run_test(reused)
    assert "recognition from the features" in caplog.text
    ours, theirs = (
        read_predictions(Path(cfg.OUTPUT_DIR) / "predictions.pkl") for cfg in (reused, direct)
    )
    assert ours.narration_id.tolist() == theirs.narration_id.tolist()
    np.testing.assert_allclose(ours.scores["verb"], theirs.scores["verb"], atol=1e-5)
    np.testing.assert_allclose(ours.scores["noun"], theirs.scores["noun"], atol=1e-5)
    assert np.ptp(theirs.scores["verb"], axis=0).max() > 0.01  # the segments differ
    results = [
        json.loads((Path(c.OUTPUT_DIR) / "results.json").read_text()) for c in (reused, direct)
    ]
    assert results[0]["verb_top1"] == results[1]["verb_top1"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"TEST__NUM_ENSEMBLE_VIEWS": 3}, "TEST.NUM_ENSEMBLE_VIEWS 2 instead of 3"),
        ({"DATA__SAMPLING_RATE": 1}, "DATA.SAMPLING_RATE 2 instead of 1"),
        ({"DATA__MEAN": [0.4, 0.4, 0.4]}, "DATA.MEAN"),
    ],
)
def test_stale_features_are_refused(
    home: Path, both: Path, changes: dict, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused if the config names them; recognition, which does not need them, logs it."""
    cfg = _with_features(tiny_run_cfg(home, "stale", TEST__TASK="features", **changes), both)
    with pytest.raises(UserError, match=r"of another test .*TEST\.FEATURES\.DIR") as error:
        run_test(cfg)
    assert reason in str(error.value)
    cfg = _with_features(tiny_run_cfg(home, "stale", **changes), both)
    run_test(cfg)
    assert "not used" in caplog.text
    assert reason in caplog.text


def test_other_weights_make_features_stale(home: Path, both: Path) -> None:
    content = torch.load(home / "checkpoint.pyth", weights_only=True)
    state = content["model_state"]
    for name in ("s5.pathway0_res0.branch2.a_bn.bias", "global_con_head.fpv_global_proj.bias"):
        changed = {**state, name: state[name] + 1e-3}
        torch.save({"model_state": changed}, home / "other.pyth")
        cfg = tiny_run_cfg(
            home,
            "stale",
            TEST__TASK="features",
            TEST__CHECKPOINT_FILE_PATH=str(home / "other.pyth"),
        )
        with pytest.raises(UserError, match=r"other (weights|projection)"):
            run_test(_with_features(cfg, both))


def test_the_runs_own_features_are_replaced(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    for views in (1, 2):
        cfg = tiny_run_cfg(home, "replaced", TEST__TASK="features", TEST__NUM_ENSEMBLE_VIEWS=views)
        run_test(cfg)
    assert "TEST.NUM_ENSEMBLE_VIEWS 1 instead of 2): not used" in caplog.text
    records = _records(features_folder(cfg, "ego"))
    assert [int(records[index]["weights"].sum()) for index in range(len(SEGMENTS))] == [6] * 7


def test_features_without_views_are_small_and_need_the_model_again(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = tiny_run_cfg(home, "small", TEST__TASK="features", TEST__FEATURES__PER_VIEW=False)
    run_test(cfg)
    records = _records(features_folder(cfg, "ego"))
    assert "views" not in records[0]
    cfg.TEST.TASK = "recognition"
    run_test(cfg)
    assert "views 'averaged' instead of 'kept'" in caplog.text
    assert (Path(cfg.OUTPUT_DIR) / "results.json").exists()


def test_an_interrupted_extraction_goes_on(
    home: Path, both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_run_cfg(home, "part", TEST__TASK="features", TEST__DATASET="lemma")
    before = features_module.FeatureExtractor.__call__
    done: list[int] = []

    def fail_at_three(self: object, segment) -> shards.Record:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(segment.index)
        return before(self, segment)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(features_module.FeatureExtractor, "__call__", fail_at_three)
        with pytest.raises(KeyboardInterrupt):
            run_test(cfg)
    first = {path: path.read_bytes() for path in features_folder(cfg, "exo").iterdir()}
    run_test(cfg)
    assert {path: path.read_bytes() for path in first} == first
    ours, whole = _records(features_folder(cfg, "exo")), _records(both / "features" / "exo")
    assert sorted(ours) == sorted(whole)
    for index, record in whole.items():
        for name in record:
            np.testing.assert_array_equal(ours[index][name], record[name])


def _result(cfg: CfgNode) -> dict:
    return json.loads((Path(cfg.OUTPUT_DIR) / f"results_{cfg.TEST.TASK}.json").read_text())


@pytest.fixture
def word_vectors(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], np.ndarray]:
    """Stand-in for the sentence encoder: a vector of norm 1 per text."""

    def vector(text: str) -> np.ndarray:
        seed = int.from_bytes(text.encode()[:12], "little") + len(text)
        drawn = np.random.default_rng(seed).standard_normal(8).astype(np.float32)
        return drawn / np.linalg.norm(drawn)

    def encode(texts: list[str], cfg: CfgNode) -> np.ndarray:
        return np.stack([vector(text) for text in texts])

    planned = functools.partial(tiny_run.plan_test, encode=encode)
    monkeypatch.setattr(tiny_run, "plan_test", planned)
    return vector


def test_retrieval_equals_a_naive_ranking(
    home: Path, both: Path, word_vectors: Callable[[str], np.ndarray], no_model: None
) -> None:
    cfg = _with_features(tiny_run_cfg(home, "retrieval", TEST__TASK="retrieval"), both)
    run_test(cfg)
    results = _result(cfg)
    records = _records(both / "features" / "ego")
    clips = np.stack([records[index]["projected"] for index in range(len(SEGMENTS))])
    with (home / "lists" / "EPIC_100_validation.csv").open() as file:
        texts = [row.split(",")[8] for row in file.read().splitlines()[1:]]
    distinct = list(dict.fromkeys(texts))
    assert (results["num_segments"], results["num_sentences"]) == (7, len(distinct)) == (7, 6)
    vectors = np.stack([word_vectors(text) for text in distinct])
    said = [(s[3], set(s[4])) for s in SEGMENTS]
    sentences = [said[texts.index(text)] for text in distinct]
    relevance = np.array([[_relevance(a, b) for b in sentences] for a in said])
    similarity = clips @ vectors.T
    for direction, sim, rel in (
        ("vt", similarity, relevance),
        ("tv", similarity.T, relevance.T),
    ):
        gains, precisions = [], []
        for row in range(len(sim)):
            ranked = rel[row][np.argsort(-sim[row])]
            discounts = 1 / np.log2(np.arange(2, len(ranked) + 2))
            related = (ranked > 0).sum()
            ideal = np.sort(ranked)[::-1]
            gains.append((ranked * discounts)[:related].sum() / (ideal * discounts).sum())
            hits = ranked == 1
            if hits.any():
                precisions.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
        assert results[f"{direction}_nDCG"] == pytest.approx(100 * np.mean(gains))
        assert results[f"{direction}_mAP"] == pytest.approx(100 * np.mean(precisions))
    assert results["avg_mAP"] == pytest.approx((results["vt_mAP"] + results["tv_mAP"]) / 2)
    assert 0 < results["chance_avg_nDCG"] < 100


def _relevance(first: tuple[int, set[int]], second: tuple[int, set[int]]) -> float:
    overlap = len(first[1] & second[1]) / len(first[1] | second[1])
    return (float(first[0] == second[0]) + overlap) / 2


def test_cross_view_by_the_label_map(home: Path, both: Path, no_model: None) -> None:
    """LEMMA's verbs get, put, wash and its nouns by the class tables; null has no ego class."""
    cfg = _with_features(tiny_run_cfg(home, "cross", TEST__TASK="cross_view"), both)
    run_test(cfg)
    results = _result(cfg)
    ego, exo = (_records(both / "features" / view) for view in ("ego", "exo"))
    assert (results["num_segments"], results["num_exo_segments"]) == (len(ego), len(exo))
    verb_of = {0: 3, 2: 1, 3: 2}  # get, put, wash
    agrees = np.zeros((len(ego), len(exo)), bool)
    for i, (_, _, _, verb, nouns) in enumerate(SEGMENTS):
        for j, record in exo.items():
            verbs = {verb_of.get(v) for v in np.flatnonzero(record["labels0"])}
            # cup, knife, plate, sink, table have the same ids; a segment counts with its first.
            agrees[i, j] = verb in verbs and nouns[0] in np.flatnonzero(record["labels1"])
    assert agrees.any()
    z = [np.stack([records[i]["projected"] for i in range(len(records))]) for records in (ego, exo)]
    similarity = z[0] @ z[1].T
    for name, sim, agree in (
        ("ego_to_exo", similarity, agrees),
        ("exo_to_ego", similarity.T, agrees.T),
    ):
        answerable = agree.any(1)
        found = agree[np.arange(len(sim)), sim.argmax(1)][answerable]
        assert results[f"num_{name}_queries"] == answerable.sum()
        assert results[f"{name}_recall_at_1"] == pytest.approx(100 * found.mean())
        assert 0 < results[f"chance_{name}_recall_at_1"] <= 100
    assert results["num_label_pairs"] == agrees.sum()
    assert results["label_pairs_positive"] == pytest.approx(similarity[agrees].mean(), abs=1e-5)
    assert "table_pairs_positive" not in results


def test_cross_view_of_a_factorised_alignment_is_warned_of(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The checkpoint decides, not the config of the test."""
    cfg = tiny_run_cfg(home, "by_factor", TEST__TASK="cross_view")
    plain = cfg.clone()
    for key, value in (("ALIGN.KIND", "factorised"), ("PAIRS.MINING", "factors")):
        cfg.merge_from_list([f"SUML.{key}", value])
    state = {"model_state": published_state_dict(build_model(cfg))}
    path = Path(cfg.OUTPUT_DIR) / "by_factor.pyth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    for asked in (plain, cfg):
        caplog.clear()
        feature_tasks.tested_views(asked, {}, path, torch.device("cpu"))
        assert "aligned by verb and by noun" in caplog.text


def test_cross_view_of_a_pair_table(home: Path, both: Path, no_model: None) -> None:
    cfg = _with_features(tiny_run_cfg(home, "table", TEST__TASK="cross_view"), both)
    views = [build_dataset(name, cfg, "test").segments for name in ("epickitchen", "lemma")]
    indices = np.full((len(SEGMENTS), 2), -1, np.int32)
    indices[:, 0] = np.arange(len(SEGMENTS)) % len(views[1])
    path = home / "pairs.npz"

    def save(exo_hash: str) -> None:
        PairTable(
            indices,
            np.zeros(indices.shape, np.float32),
            np.zeros(indices.shape, np.uint8),
            {"mining": "text"},
            narration_hash(views[0]),
            exo_hash,
            len(views[1]),
        ).save(path)

    cfg.TEST.CROSS_VIEW.PAIRS = str(path)
    save(narration_hash(views[1]))
    run_test(cfg)
    results = _result(cfg)
    ego, exo = (_records(both / "features" / view) for view in ("ego", "exo"))
    cosines = [float(ego[i]["projected"] @ exo[int(indices[i, 0])]["projected"]) for i in ego]
    assert results["num_table_pairs"] == len(SEGMENTS)
    assert results["table_pairs_positive"] == pytest.approx(np.mean(cosines), abs=1e-5)
    save("other")
    with pytest.raises(UserError, match="other exo segments"):
        run_test(cfg)


def test_cross_view_leaves_out_exo_segments_that_are_missing(home: Path, both: Path) -> None:
    """Labels and pairs of the others, under their positions among those that are left."""
    cfg = _stored(home, both, "part", TEST__TASK="cross_view")
    whole = feature_tasks.feature_datasets(cfg)
    lists = [whole[view].segments for view in ("ego", "exo")]
    indices = (np.arange(len(lists[0]), dtype=np.int32) % len(lists[1]))[:, None]
    hashes = [narration_hash(segments) for segments in lists]
    similarity, tier = np.zeros(indices.shape, np.float32), np.zeros(indices.shape, np.uint8)
    table = PairTable(indices, similarity, tier, {"mining": "text"}, *hashes, len(lists[1]))
    cfg.TEST.CROSS_VIEW.PAIRS = str(home / "part.npz")
    table.save(home / "part.npz")
    expected = read_cross_view_labels(cfg, whole["ego"], whole["exo"])

    rest = list(_records(both / "features" / "exo").values())[1:]
    np.savez(
        home / "rest.npz",
        segment_id=[record["segment_id"] for record in rest],
        pooled=[record["pooled"] for record in rest],
    )
    cfg.FEATURES.EXO = [str(home / "rest.npz")]
    cfg.DATA.ON_MISSING_VIDEO = "skip"
    part = feature_tasks.feature_datasets(cfg)
    (gone,) = {s.segment_id for s in lists[1]} - {s.segment_id for s in part["exo"].segments}
    kept = [k for k, segment in enumerate(lists[1]) if segment.segment_id != gone]
    found = read_cross_view_labels(cfg, part["ego"], part["exo"])
    for classes, of_all in zip(found.exo, expected.exo, strict=True):
        np.testing.assert_array_equal(classes, of_all[kept])
    assert found.pairs is not None
    assert found.pairs.tolist() == [
        [row, kept.index(k)] for row, (k,) in enumerate(indices.tolist()) if k in kept
    ]
    run_test(cfg)
    assert _result(cfg)["num_exo_segments"] == len(kept)


def test_zero_shot_by_class_names(
    home: Path, both: Path, word_vectors: Callable[[str], np.ndarray], no_model: None
) -> None:
    prompts = ["{}", "a person does {}"]
    cfg = tiny_run_cfg(home, "zero", TEST__TASK="zero_shot", TEST__ZERO_SHOT__NOUN_PROMPTS=prompts)
    run_test(_with_features(cfg, both))
    results = _result(cfg)
    ego = _records(both / "features" / "ego")
    z = np.stack([ego[index]["projected"] for index in range(len(SEGMENTS))])
    verbs = np.stack([word_vectors(w) for w in ("take", "put", "wash", "get", "open")])
    names = ("cup", "knife", "plate", "sink", "table", "tap", "chopping board")
    nouns = np.stack([sum(word_vectors(p.format(w)) for p in prompts) for w in names])
    nouns /= np.linalg.norm(nouns, axis=1, keepdims=True)
    right = [
        (z @ verbs.T).argmax(1) == [segment[3] for segment in SEGMENTS],
        (z @ nouns.T).argmax(1) == [segment[4][0] for segment in SEGMENTS],
    ]
    assert results["verb_top1"] == pytest.approx(100 * right[0].mean())
    assert results["noun_top1"] == pytest.approx(100 * right[1].mean())
    assert results["action_top1"] == pytest.approx(100 * (right[0] & right[1]).mean())
    assert "chance_verb_top1" in results


def test_a_task_extracts_the_features_that_it_lacks(
    home: Path, both: Path, word_vectors: Callable[[str], np.ndarray]
) -> None:
    cfg = tiny_run_cfg(home, "alone", TEST__TASK="zero_shot")
    run_test(cfg)
    again = _with_features(tiny_run_cfg(home, "with", TEST__TASK="zero_shot"), both)
    run_test(again)
    assert _result(cfg) == _result(again)
    assert features_folder(cfg, "ego").is_dir()
    assert not features_folder(cfg, "exo").exists()


def _stored(home: Path, both: Path, output: str, **changes: object) -> CfgNode:
    """The test on the features of `both` instead of frames: the same heads without a backbone."""
    width = len(_records(both / "features" / "ego")[0]["pooled"])
    return tiny_run_cfg(
        home,
        output,
        TRAIN__ON_FEATURES=True,
        MODEL__BACKBONE=f"features:{width}",
        FEATURES__EGO=[str(both / "features" / "ego")],
        FEATURES__EXO=[str(both / "features" / "exo")],
        # Nothing looks for frames.
        DATA__PATH_PREFIX=str(home / "nowhere"),
        EXO__PATH_PREFIX=str(home / "nowhere"),
        **changes,
    )


def test_recognition_on_stored_features_equals_that_on_frames(home: Path, both: Path) -> None:
    direct, stored = tiny_run_cfg(home, "frames"), _stored(home, both, "stored")
    for cfg in (direct, stored):
        run_test(cfg)
    found, expected = (
        read_predictions(Path(cfg.OUTPUT_DIR) / "predictions.pkl") for cfg in (stored, direct)
    )
    for name in found.scores:
        np.testing.assert_allclose(found.scores[name], expected.scores[name], atol=1e-5)


@pytest.mark.parametrize("task", ["retrieval", "zero_shot", "cross_view"])
def test_a_task_on_stored_features_equals_the_one_on_frames(
    home: Path, both: Path, task: str, word_vectors: Callable[[str], np.ndarray]
) -> None:
    direct = _with_features(tiny_run_cfg(home, f"frames_{task}", TEST__TASK=task), both)
    stored = _stored(home, both, f"stored_{task}", TEST__TASK=task)
    values = []
    for cfg in (direct, stored):
        run_test(cfg)
        values.append({k: v for k, v in _result(cfg).items() if isinstance(v, float)})
    assert len(values[0]) > 5
    # The views are projected in batches of other sizes.
    assert values[1] == pytest.approx(values[0], abs=1e-4)


def test_cross_view_on_stored_features_needs_those_of_both_views(home: Path, both: Path) -> None:
    stored = _stored(home, both, "ego_alone", TEST__TASK="cross_view")
    stored.FEATURES.EXO = []
    with pytest.raises(UserError, match=r"FEATURES.EXO is empty, but TRAIN.ON_FEATURES True"):
        run_test(stored)
    stored.FEATURES.EXO = [str(both / "features" / "ego")]
    with pytest.raises(UserError, match=r"segment .* has no features in .*; extract those of this"):
        run_test(stored)


def test_a_test_on_other_features_projects_them_again(home: Path, both: Path) -> None:
    """What is kept under OUTPUT_DIR belongs to the features that were read."""
    stored = _stored(home, both, "changed", TEST__TASK="features")
    run_test(stored)
    first = _records(features_folder(stored, "ego"))[0]["projected"]
    records = _records(both / "features" / "ego").values()
    ids, views = (
        np.stack([record[name] for record in records]) for name in ("segment_id", "pooled")
    )
    changed = home / "changed.npz"
    np.savez(changed, segment_id=ids, pooled=-views)
    stored.FEATURES.EGO = [str(changed)]
    run_test(stored)
    assert np.abs(_records(features_folder(stored, "ego"))[0]["projected"] - first).max() > 0.1
