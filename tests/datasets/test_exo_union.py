"""Several exo sets: their joined list, heads and labels, draws by weight, and bad configs."""

import logging
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fvcore.common.config import CfgNode

from slowfast.config.heads import exo_heads
from slowfast.config.validate import validate
from slowfast.datasets import build_dataset
from slowfast.datasets.ego_exo import EgoExoDataset
from slowfast.datasets.pairing.ego_labels import shared_classes
from slowfast.datasets.registry import build_source
from slowfast.datasets.types import PairedSample, SampleKey, UnionAnnotations
from slowfast.engine.checkpoints.weights import Weights
from slowfast.losses.classification import multilabel, multilabel_of_own_set
from slowfast.losses.negatives import same_classes
from slowfast.models import build_model
from slowfast.models.published_names import published_state_dict
from slowfast.semantics.build import mine_from_config
from slowfast.tasks.terms.recognition import exo_recognition
from slowfast.utils.errors import UserError
from tests.datasets.sources.tiny_lemma import NOUNS, VERBS, write_annotations, write_frames
from tests.semantics.test_build import add_frames, cfg  # noqa: F401 (a fixture)


def wall(tmp_path: Path, **keys: Any) -> dict[str, Any]:
    return {"NAME": "wall", "PATH_TO_DATA_DIR": str(tmp_path / "wall"), **keys}


@pytest.fixture
def two_sets(cfg: CfgNode, tmp_path: Path) -> CfgNode:  # noqa: F811
    """The tiny exo set and a copy of it."""
    write_annotations(tmp_path / "wall")
    cfg.EXO.MORE = [wall(tmp_path)]
    cfg.SUML.PAIRS.MINING = "tiers_text"
    cfg.SUML.PAIRS.TOP_K = 4
    return cfg


def joined(cfg: CfgNode) -> EgoExoDataset:  # noqa: F811
    dataset = build_dataset("ego_exo", cfg, "train")
    assert isinstance(dataset, EgoExoDataset)
    return dataset


def with_frames(cfg: CfgNode, tmp_path: Path) -> CfgNode:  # noqa: F811
    add_frames(cfg)
    write_frames(tmp_path / "wall")
    mine_from_config(cfg)
    return cfg


def test_pairs_are_mined_over_both_sets_and_counted(
    two_sets: CfgNode, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        report = mine_from_config(two_sets)
    counts = re.search(r"exo set EXO: (\d+) pairs, 4 .*exo set wall: (\d+) pairs, 4", caplog.text)
    assert counts
    pairs = [int(count) for count in counts.groups()]
    assert report.exo_segments == 8
    assert sum(pairs) == report.pairs
    assert min(pairs) > 0


def test_a_clip_has_labels_of_its_own_set(two_sets: CfgNode, tmp_path: Path) -> None:
    dataset = joined(with_frames(two_sets, tmp_path))
    assert [len(segment.labels) for segment in dataset.exo.segments] == [4] * 8
    seen = set()
    for epoch in range(8):
        sample = dataset[SampleKey(epoch, 0)]
        assert isinstance(sample, PairedSample)
        own = int(sample.exo.index >= 4)
        seen.add(own)
        absent = [bool((y == -1).all()) for y in sample.exo.labels]
        assert absent == [own == 1] * 2 + [own == 0] * 2
        assert all((y >= 0).all() for y in sample.exo.labels[2 * own : 2 * own + 2])
    assert seen == {0, 1}


def test_clips_are_drawn_by_weight(two_sets: CfgNode, tmp_path: Path) -> None:
    two_sets.EXO.WEIGHTS = [1, 4]
    dataset = joined(with_frames(two_sets, tmp_path))
    sets = Counter(dataset.partner(SampleKey(epoch, 0)) >= 4 for epoch in range(500))
    candidates = dataset.pairs.indices[0]
    candidates = candidates[candidates >= 0]
    other = 4 * (candidates >= 4).sum()
    assert sets[True] / 500 == pytest.approx(other / (other + (candidates < 4).sum()), abs=0.06)
    others = Counter(dataset.other_exo(SampleKey(epoch, 0)) >= 4 for epoch in range(500))
    assert others[True] / 500 == pytest.approx(0.8, abs=0.06)


def test_every_list_is_part_of_the_identity(two_sets: CfgNode, tmp_path: Path) -> None:
    with_frames(two_sets, tmp_path)
    before = joined(two_sets).digests
    assert before == joined(two_sets).digests
    write_annotations(tmp_path / "wall", splits={"train": ["v1"]})
    mine_from_config(two_sets)
    after = joined(two_sets).digests
    assert before["exo list"] != after["exo list"]
    assert before["list"] == after["list"]


def test_a_missing_video_of_a_further_set(two_sets: CfgNode, tmp_path: Path) -> None:
    with_frames(two_sets, tmp_path)
    for image in (tmp_path / "wall" / "frames" / "v2").iterdir():
        image.unlink()
    with pytest.raises(UserError, match=r"exo set wall: video v2 .* has no frame .*wall"):
        joined(two_sets)
    two_sets.DATA.ON_MISSING_VIDEO = "skip"
    dataset = joined(two_sets)
    kept = {segment.video_id for segment in dataset.exo.segments}
    assert kept == {"v1", "v2", "wall/v1"}
    assert max(dataset.partner(SampleKey(epoch, 0)) for epoch in range(50)) < len(dataset.exo)


def test_each_set_has_heads_with_names_of_its_own(two_sets: CfgNode) -> None:
    assert [head.name for head in exo_heads(two_sets)] == [
        *("verb", "noun", "wall_verb", "wall_noun")
    ]
    two_sets.merge_from_list(["MODEL.MODEL_NAME", "EgoExoSlowFast", "RESNET.WIDTH_PER_GROUP", 8])
    two_sets.NUM_GPUS = 0
    names = list(published_state_dict(build_model(two_sets)))
    assert not [n for n in Weights.of_model(build_model(two_sets)).ego.heads if "wall" in n]
    two_sets.EXO.MORE = []
    of_one = list(published_state_dict(build_model(two_sets)))
    added = [name for name in names if name not in of_one]
    assert [name for name in names if name in of_one] == of_one
    assert {name.rpartition(".")[0] for name in added} == {
        *("head_exo_wall.projections.0", "head_exo_wall.projections.1")
    }


def test_the_loss_of_a_head_ignores_clips_of_other_sets() -> None:
    logits = torch.randn(3, 5, requires_grad=True)
    targets = torch.tensor([[1.0, 0, 0, 1, 0], [-1] * 5, [0, 1, 0, 0, 0]])
    (loss,) = multilabel_of_own_set([logits], [targets])
    (expected,) = multilabel([logits[[0, 2]]], [targets[[0, 2]]])
    assert loss.item() == pytest.approx(expected.item() * 2 / 3)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[1].any()
    (none,) = multilabel_of_own_set([logits], [torch.full((3, 5), -1.0)])
    assert none.item() == 0
    assert none.requires_grad


def test_clips_of_different_sets_do_not_have_the_same_label() -> None:
    absent = torch.full((3, 2), -1.0)
    first, second = absent.clone(), absent.clone()
    first[:2] = torch.tensor([[1.0, 0], [1, 0]])
    second[2] = torch.tensor([1.0, 0])
    same = same_classes([first, second], [first, second])
    assert same.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_each_set_has_a_label_map_of_its_own(two_sets: CfgNode, tmp_path: Path) -> None:
    """The copied set calls wash what the first one calls put, and has no cup."""
    two_sets.SUML.PAIRS.MINING = "text"
    two_sets.SUML.NEGATIVES = "drop_same_label"
    with_frames(two_sets, tmp_path)
    before = joined(two_sets)
    (tmp_path / "map.csv").write_text("kind,exo,ego_class\nverb,put,wash\nnoun,cup,\n")
    two_sets.EXO.MORE = [wall(tmp_path, LABEL_MAP=str(tmp_path / "map.csv"))]
    dataset = joined(two_sets)
    own = {"get": 0, "put": 1, "wash": 2, "cup": 0, "plate": 1, "knife": 2}
    of_wall = own | {"put": 2, "cup": None}
    for index, segment in enumerate(dataset.exo.segments):
        classes = of_wall if segment.segment_id.startswith("wall/") else own
        labels = segment.labels[2:] if classes is of_wall else segment.labels[:2]
        wanted = [
            {classes[words[k]] for k in ids if classes.get(words[k]) is not None}
            for words, ids in zip((VERBS, NOUNS), labels, strict=True)
        ]
        found = dataset._mix.classes(index)  # type: ignore[union-attr]
        assert found is not None
        assert [set(y.nonzero()[:, 0].tolist()) for y in found] == wanted
    sample = dataset[SampleKey(0, 0)]
    assert isinstance(sample, PairedSample)
    assert sample.ego.ego_classes is None
    assert [y.shape for y in sample.exo.ego_classes or ()] == [(4,), (3,)]
    name = "exo labels as ego classes"
    assert before.digests[name] != dataset.digests[name]
    two_sets.SUML.NEGATIVES = "all"
    assert name not in joined(two_sets).digests


def test_a_set_without_class_names_is_not_compared(
    two_sets: CfgNode, caplog: pytest.LogCaptureFixture
) -> None:
    source = build_source(two_sets.EXO.DATASET, two_sets, "train", "exo")
    annotations = source.annotations()
    assert isinstance(annotations, UnionAnnotations)
    first, second = annotations.parts
    nameless = replace(annotations, parts=[first, replace(second, class_names=())])
    classes = shared_classes(two_sets, nameless)
    assert classes is not None
    assert [has.shape for has in classes] == [(8, 4), (8, 3)]
    assert classes[0][:4].any(axis=1).all()
    assert not classes[0][4:].any()
    assert "does not compare exo set wall with others: " in caplog.text
    nothing = replace(annotations, parts=[replace(p, class_names=()) for p in annotations.parts])
    assert shared_classes(two_sets, nothing) is None


def test_one_set_has_the_loss_as_before(cfg: CfgNode) -> None:  # noqa: F811
    assert exo_recognition(cfg)._losses._multilabel is multilabel


@pytest.mark.parametrize(
    ("more", "weights", "message"),
    [
        ([{}], [1.0], "EXO.WEIGHTS is [1.0], but there are 2 exo sets; give one weight for EXO"),
        ([{}], [1.0, 0.0], "EXO.WEIGHTS is [1.0, 0.0]; give numbers above 0"),
        ([], [1.0], "EXO.WEIGHTS is set, but EXO.MORE is empty; set EXO.WEIGHTS []"),
        ([{}, {"PATH_TO_DATA_DIR": "x"}], [], "has the name wall twice; give each set a different"),
        ([{}, {"NAME": "b"}], [], "exo set b of EXO.MORE reads the same data as wall (lemma in"),
        ([{"NAME": "Wall/1"}], [], "EXO.MORE[0].NAME is 'Wall/1'; give each set a name"),
        ([{"VIDEOS": 1}], [], "EXO.MORE[0].VIDEOS: VIDEOS is not a key of EXO"),
        ([{"NUM_FRAMES": 8}], [], "NUM_FRAMES is the same for all exo sets"),
        ([{"NUM_CLASSES_LIST": [3]}], [], "give as many names as sizes"),
        (
            [{"NUM_CLASSES_LIST": "many"}],
            [],
            "EXO.MORE[0].NUM_CLASSES_LIST is 'many', but its type",
        ),
    ],
)
def test_sets_that_do_not_fit(
    cfg: CfgNode,  # noqa: F811
    tmp_path: Path,
    more: list[dict[str, Any]],
    weights: list[float],
    message: str,
) -> None:
    cfg.EXO.MORE = [wall(tmp_path, **keys) for keys in more]
    cfg.EXO.WEIGHTS = weights
    with pytest.raises(UserError, match=re.escape(message)):
        validate(cfg)
