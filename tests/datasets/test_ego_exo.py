"""The joined training set: the exo clip of an ego clip, and what the pair depends on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.config import get_cfg
from slowfast.datasets import build_dataset, load_clip
from slowfast.datasets.ego_exo import EgoExoDataset, shuffled
from slowfast.datasets.pairing.narrations import NarrationTable
from slowfast.datasets.pairing.pairs import PairTable, narration_hash
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import PairedSample, SampleKey, Segment
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream
from tests.datasets.conftest import heads

EGO = [Segment(f"e{n}", "P01_01", "P01", 1, 40, f"ego {n % 2}", ((1,), (2,))) for n in range(4)]
EXO = [Segment(f"x{n}", "P01_01", "P01", 1, 40, f"exo {n}", ((0, 3), (1, 4))) for n in range(3)]
TEXTS = [segment.narration for segment in (*EGO, *EXO)]


@pytest.fixture
def joined(make_dataset: Callable[..., SegmentDataset]) -> Callable[..., EgoExoDataset]:
    """The joined set of EGO and EXO: ego 0 and 1 have candidates 0 and 1, 2 has 2, 3 has none."""

    def build(seed: int = 7, **second_exo: bool) -> EgoExoDataset:
        indices = np.array([[0, 1], [0, 1], [2, -1], [-1, -1]], np.int32)
        pairs = PairTable(
            indices=indices,
            similarity=np.zeros(indices.shape, np.float32),
            tier=np.zeros(indices.shape, np.uint8),
            settings={},
            ego_hash=narration_hash(EGO),
            exo_hash=narration_hash(EXO),
            exo_count=3,
        )
        distinct = list(dict.fromkeys(TEXTS))
        narrations = NarrationTable(distinct, torch.eye(len(distinct)))
        exo = make_dataset(
            EXO, stream=Stream.EXO, heads=heads(multi_label=True), lighting_std=0.1, seed=seed
        )
        ego = make_dataset(EGO, seed=seed)
        return EgoExoDataset(ego, exo, pairs, narrations, seed=seed, **second_exo)

    return build


def test_pairs_carry_clips_labels_and_texts(joined: Callable[..., EgoExoDataset]) -> None:
    dataset = joined()
    assert len(dataset) == 4
    for index in range(4):
        key = SampleKey(3, index)
        pair = dataset[key]
        assert isinstance(pair, PairedSample)
        partner = dataset.partner(key)
        assert (pair.ego.index, pair.exo.index) == (index, partner)
        assert pair.ego.labels[0].item() == 1
        assert pair.exo.labels[0].tolist() == [1, 0, 0, 1, 0]
        assert pair.ego.lighting is None
        assert pair.exo.lighting is not None
        for clip, segment in ((pair.ego, EGO[index]), (pair.exo, EXO[partner])):
            assert clip.text is not None
            row = list(dict.fromkeys(TEXTS)).index(segment.narration)
            assert clip.text.argmax() == row


def test_partners_are_the_rows_candidates(joined: Callable[..., EgoExoDataset]) -> None:
    dataset = joined()
    drawn = [{dataset.partner(SampleKey(epoch, row)) for epoch in range(40)} for row in range(4)]
    assert drawn == [{0, 1}, {0, 1}, {2}, {0, 1, 2}]


def test_a_pair_depends_on_seed_epoch_and_index_alone(joined: Callable[..., EgoExoDataset]) -> None:
    key = SampleKey(2, 1)
    one, same, other = joined(), joined(), joined(seed=8)
    _ = same[SampleKey(0, 3)]
    first, second = one[key], same[key]
    assert torch.equal(first.ego.frames, second.ego.frames)
    assert torch.equal(first.exo.frames, second.exo.frames)
    partners = [[d.partner(SampleKey(e, 0)) for e in range(20)] for d in (one, other)]
    assert partners[0] != partners[1]


def test_the_ego_clip_is_that_of_the_ego_set_alone(joined: Callable[..., EgoExoDataset]) -> None:
    dataset = joined()
    key = SampleKey(1, 2)
    assert torch.equal(dataset[key].ego.frames, dataset.ego.train_clip(key).frames)


def test_one_exo_segment_gives_different_clips_in_one_epoch(
    joined: Callable[..., EgoExoDataset],
) -> None:
    dataset = joined()
    epoch = next(
        epoch
        for epoch in range(20)
        if dataset.partner(SampleKey(epoch, 0)) == dataset.partner(SampleKey(epoch, 1))
    )
    clips = [dataset[SampleKey(epoch, row)].exo for row in (0, 1)]
    assert clips[0].index == clips[1].index
    assert clips[0].lighting is not None
    assert clips[1].lighting is not None
    assert not torch.equal(clips[0].lighting, clips[1].lighting)


def test_an_independent_exo_clip(joined: Callable[..., EgoExoDataset]) -> None:
    """It may be any exo segment; the rest of the sample does not change."""
    plain, dataset = joined(), joined(exo_stream=True)
    drawn = [[dataset.other_exo(SampleKey(e, row)) for e in range(40)] for row in range(4)]
    assert [set(row) for row in drawn] == [{0, 1, 2}] * 4
    assert len({tuple(row) for row in drawn}) == 4
    for index in range(4):
        key = SampleKey(5, index)
        pair, bare = dataset[key], plain[key]
        assert bare.other_exo is None
        assert pair.other_exo is not None
        assert pair.other_exo.index == dataset.other_exo(key)
        assert pair.other_exo.text is not None
        assert pair.other_exo.text.argmax() == 2 + pair.other_exo.index
        assert pair.other_exo.shares_label is None
        for ours, theirs in ((pair.ego, bare.ego), (pair.exo, bare.exo)):
            assert torch.equal(ours.frames, theirs.frames)


def test_one_exo_segment_twice_in_a_sample(joined: Callable[..., EgoExoDataset]) -> None:
    """The partner and the independent clip are two different clips of it."""
    dataset = joined(exo_stream=True)
    keys = (SampleKey(epoch, 2) for epoch in range(40))
    pair = dataset[next(key for key in keys if dataset.other_exo(key) == dataset.partner(key))]
    assert pair.other_exo is not None
    assert pair.other_exo.index == pair.exo.index
    assert pair.exo.lighting is not None
    assert pair.other_exo.lighting is not None
    assert not torch.equal(pair.exo.lighting, pair.other_exo.lighting)


def test_partners_by_verb_and_by_noun(joined: Callable[..., EgoExoDataset]) -> None:
    """The table's first half is by verb, its second by noun."""
    dataset = joined(by_factor=True)
    keys = [[SampleKey(epoch, row) for epoch in range(40)] for row in range(4)]
    verb = [{dataset.partner(key) for key in row} for row in keys]
    noun = [{dataset.other_exo(key) for key in row} for row in keys]
    anything = {0, 1, 2}
    assert verb == [{0}, {0}, {2}, anything]
    assert noun == [{1}, {1}, anything, anything]
    for index, shared in enumerate([(True, True), (True, True), (True, False), (False, False)]):
        pair = dataset[SampleKey(1, index)]
        assert pair.other_exo is not None
        assert pair.ego.shares_label is None
        assert (pair.exo.shares_label, pair.other_exo.shares_label) == shared


def test_exo_clips_that_nothing_looks_at_are_not_read(
    joined: Callable[..., EgoExoDataset],
) -> None:
    plain, dataset = joined(), joined(exo_frames=False)

    def fail(*_: object) -> None:
        raise AssertionError("an exo video was opened")

    dataset.exo.frames.open = fail  # type: ignore[method-assign,assignment]
    for index in range(4):
        ours, theirs = dataset[SampleKey(2, index)], plain[SampleKey(2, index)]
        assert torch.equal(ours.ego.frames, theirs.ego.frames)
        assert ours.exo.frames.numel() == 0
        assert ours.exo.index == theirs.exo.index
        assert ours.exo.labels[0].equal(theirs.exo.labels[0])
        assert ours.exo.text is not None
        assert ours.exo.text.equal(theirs.exo.text)  # type: ignore[arg-type]


def test_evaluated_as_the_ego_set(joined: Callable[..., EgoExoDataset]) -> None:
    dataset = joined()
    assert dataset.segments is dataset.ego.segments
    assert dataset.transform is dataset.ego.transform
    for mine, ego in zip(load_clip(dataset, 1), load_clip(dataset.ego, 1), strict=True):
        assert torch.equal(mine, ego)


def test_a_narration_without_embedding(make_dataset: Callable[..., SegmentDataset]) -> None:
    indices = np.zeros((4, 1), np.int32)
    pairs = PairTable(indices, indices.astype(np.float32), indices.astype(np.uint8), {}, "", "", 3)
    narrations = NarrationTable(TEXTS[:-1], torch.eye(len(TEXTS) - 1))
    with pytest.raises(UserError, match=r"'exo 2'; run tools/mine_pairs.py"):
        EgoExoDataset(make_dataset(EGO), make_dataset(EXO), pairs, narrations, seed=1)


def test_unknown_exo_set(tmp_path: Path, video_root: Path) -> None:
    lines = [
        "narration_id,participant_id,video_id,start_frame,stop_frame,narration,verb_class,noun_class",
        "P01_01_0,P01,P01_01,1,40,open door,1,2",
    ]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    cfg = get_cfg()
    cfg.DATA.EPIC_100 = True
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path)
    cfg.DATA.PATH_PREFIX = str(video_root)
    cfg.TRAIN.TRAIN_DATA_LIST = "train.csv"
    cfg.EXO.DATASET = "lema"
    with pytest.raises(UserError, match=r"EXO.DATASET 'lema' is not .*; choose one of .*lemma"):
        build_dataset("ego_exo", cfg, "train")


def test_shuffled_rows_keep_their_candidates(joined: Callable[..., EgoExoDataset]) -> None:
    """Rows are permuted by the seed; each exo segment stays a candidate equally often."""
    pairs = joined().pairs
    orders = {}
    for seed in range(8):
        rows = shuffled(pairs, np.random.default_rng(seed)).indices
        again = shuffled(pairs, np.random.default_rng(seed)).indices
        assert (rows == again).all()
        assert sorted(map(tuple, rows)) == sorted(map(tuple, pairs.indices))
        orders[tuple(map(tuple, rows))] = seed
    assert len(orders) > 2
