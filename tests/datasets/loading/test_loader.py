import itertools
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from slowfast.config.defaults import get_cfg
from slowfast.datasets.clips.collate import collate, collate_clips
from slowfast.datasets.clips.views import TestViews
from slowfast.datasets.loading.loader import BatchLoader, build_loader
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from slowfast.datasets.types import ClipBatch, ClipSample, PairedBatch, PairedSample, SegmentViews
from slowfast.utils.errors import UserError
from tests.commands import environment
from tests.datasets.frames.tiny_videos import make_segment


def keys(sampler):
    return [[key.index for key in batch] for batch in sampler]


def sampler_at(epoch, *args, **kwargs):
    sampler = GlobalBatchSampler(*args, **kwargs)
    sampler.set_epoch(epoch)
    return sampler


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


def settings(**changes):
    cfg = get_cfg()
    cfg.TRAIN.BATCH_SIZE = 4
    cfg.DATA_LOADER.NUM_WORKERS = 0
    for key, value in changes.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


@pytest.fixture
def segments():
    return [make_segment(start, start + 14) for start in range(1, 42, 4)]


class TestGlobalBatches:
    @pytest.mark.parametrize("world", [1, 2, 4])
    def test_are_the_same_on_any_number_of_ranks(self, world):
        whole = keys(sampler_at(2, 26, 8, seed=1))
        parts = [keys(sampler_at(2, 26, 8, rank, world, seed=1)) for rank in range(world)]
        assert len(whole) == 3
        assert [flat(batch) for batch in zip(*parts, strict=True)] == whole

    @pytest.mark.parametrize("world", [1, 2, 3, 5])
    @pytest.mark.parametrize("count", [1, 2, 7, 15, 16])
    def test_without_drop_every_sample_comes_once(self, world, count):
        parts = []
        for rank in range(world):
            sampler = GlobalBatchSampler(
                count, world * 2, rank, world, shuffle=False, drop_last=False
            )
            parts.append(keys(sampler))
            assert len(sampler) == len(parts[-1])
        assert sorted(flat(flat(parts))) == list(range(count))

    def test_epochs_differ_and_repeat(self):
        sampler = GlobalBatchSampler(20, 4, seed=1)
        first = keys(sampler)
        sampler.set_epoch(1)
        second = keys(sampler)
        sampler.set_epoch(0)
        assert keys(sampler) == first != second
        assert sorted(flat(first)) == list(range(20))
        assert keys(GlobalBatchSampler(20, 4, seed=2)) != first

    def test_keys_carry_the_epoch(self):
        sampler = sampler_at(7, 4, 2)
        assert {key.epoch for batch in sampler for key in batch} == {7}

    def test_starting_inside_an_epoch_gives_its_rest(self):
        sampler = GlobalBatchSampler(20, 4, seed=1)
        whole = keys(sampler)
        sampler.set_epoch(0, start_batch=3)
        assert len(sampler) == 2
        assert keys(sampler) == whole[3:]
        assert sampler.batches_per_epoch == 5


class TestSamples:
    def read(self, dataset, workers, rank=0, world=1):
        cfg = settings(DATA_LOADER__NUM_WORKERS=workers)
        loader = build_loader(cfg, dataset, "train", rank, world)
        clips = {}
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            for step, batch in enumerate(loader):
                for frames, index in zip(batch.frames, batch.indices, strict=True):
                    clips[epoch, step, int(index)] = frames.clone()
        return clips

    def test_do_not_depend_on_workers_or_ranks(self, make_dataset, segments):
        dataset = make_dataset(segments)
        alone = self.read(dataset, 0)
        ranks = {**self.read(dataset, 0, 0, 2), **self.read(dataset, 2, 1, 2)}
        for other in (self.read(dataset, 2), ranks):
            assert other.keys() == alone.keys()
            assert all(other[key].equal(alone[key]) for key in alone)

    def test_batches_of_worker_and_main_process_are_equal(self, make_dataset, segments):
        dataset = make_dataset(segments, lighting_std=0.1)
        for workers in (0, 1):
            loader = build_loader(settings(DATA_LOADER__NUM_WORKERS=workers), dataset, "train")
            batch = next(iter(loader))
            assert isinstance(batch, ClipBatch)
            assert batch.frames.shape == (4, 8, 24, 24, 3)
            assert [label.tolist() for label in batch.labels] == [[1] * 4, [2] * 4]
            assert batch.lighting.shape == (4, 3)
            assert batch.text is None

    def test_validation_reads_every_segment_once(self, make_dataset, segments):
        dataset = make_dataset(segments, "val")
        seen = []
        for rank in range(2):
            for batch in build_loader(settings(), dataset, "val", rank, 2):
                seen += batch.indices.tolist()
        assert sorted(seen) == list(range(len(segments)))

    @pytest.mark.parametrize("workers", [0, 1])
    def test_test_segments_come_one_by_one(self, make_dataset, segments, workers):
        dataset = make_dataset(segments[:5], "test", views=TestViews(2, 1))
        seen = []
        for rank in range(2):
            cfg = settings(DATA_LOADER__NUM_WORKERS=workers)
            for item in build_loader(cfg, dataset, "test", rank, 2):
                assert isinstance(item, SegmentViews)
                seen.append(item.index)
        assert sorted(seen) == list(range(5))

    def test_pairs_are_collated_side_by_side(self):
        def clip(value, labels):
            frames = torch.full((2, 3, 3, 3), value, dtype=torch.uint8)
            return ClipSample(frames, labels, value, text=torch.full((4,), float(value)))

        hot = (torch.tensor([1.0, 0.0]),)
        pairs = [PairedSample(clip(i, (torch.tensor(i),)), clip(i + 5, hot)) for i in range(3)]
        batch = collate(pairs)
        assert isinstance(batch, PairedBatch)
        assert batch.ego.indices.tolist() == [0, 1, 2]
        assert batch.exo.indices.tolist() == [5, 6, 7]
        assert batch.exo.labels[0].shape == (3, 2)
        assert batch.ego.text[:, 0].tolist() == [0, 1, 2]
        assert batch.ego.frames[2].unique().tolist() == [2]


class TestMistakes:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_bad_frame_is_one_line_from_any_process(
        self, make_dataset, segments, video_root, workers
    ):
        file = video_root / "P01" / "P01_01" / "frame_0000000041.jpg"
        file.write_bytes(file.read_bytes()[:200])
        cfg = settings(DATA_LOADER__NUM_WORKERS=workers)
        loader = build_loader(cfg, make_dataset(segments, "val"), "val")
        with pytest.raises(UserError) as raised:
            list(loader)
        message = str(raised.value)
        assert "frame_0000000041.jpg" in message
        assert "\n" not in message
        assert "Traceback" not in message

    def test_our_own_faults_keep_their_traceback(self, make_dataset, segments):
        dataset = make_dataset(segments)
        dataset.geometry = None
        loader = build_loader(settings(DATA_LOADER__NUM_WORKERS=1), dataset, "train")
        with pytest.raises(AttributeError, match="Traceback"):
            list(loader)

    def test_batch_that_does_not_divide(self, make_dataset, segments):
        with pytest.raises(UserError, match=r"TRAIN\.BATCH_SIZE 4 .* 3 processes.*BATCH_SIZE 3"):
            build_loader(settings(), make_dataset(segments), "train", 0, 3)

    def test_less_than_one_batch(self, make_dataset, segments):
        with pytest.raises(UserError, match=r"TRAIN\.BATCH_SIZE 4 is more than the 3"):
            build_loader(settings(), make_dataset(segments[:3]), "train")


class Stuck(torch.utils.data.Dataset):
    """Data set that hangs, or ends its process."""

    def __init__(self, dies):
        self.dies = dies

    def __len__(self):
        return 4

    def __getitem__(self, key):
        if self.dies:
            os._exit(1)
        time.sleep(2)


@pytest.mark.parametrize(
    ("dies", "message"),
    [(True, r"worker has died.*DATA_LOADER\.NUM_WORKERS"), (False, r"DATA_LOADER\.TIMEOUT")],
)
def test_dead_or_hanging_workers_are_an_error(dies, message):
    # A worker that dies must not be taken for one that is slow to start.
    seconds = 60 if dies else 1
    loader = BatchLoader(Stuck(dies), GlobalBatchSampler(4, 2), num_workers=1, timeout_sec=seconds)
    with pytest.raises(UserError, match=message):
        list(loader)


def test_a_worker_that_dies_while_its_batch_is_worked_on():
    """torch raises the error at any line of the main thread."""
    loader = BatchLoader(Numbers(), GlobalBatchSampler(8, 2), num_workers=1, prefetch_batches=1)

    def work():
        with loader.naming_lost_workers():
            next(iter(loader))
            os.kill(loader._loader._iterator._workers[0].pid, signal.SIGKILL)
            time.sleep(60)

    with pytest.raises(UserError, match=r"worker has died"):
        work()


def test_clips_of_different_shape_do_not_stack():
    clips = [ClipSample(torch.zeros(n, 2, 2, 3, dtype=torch.uint8), (), 0) for n in (1, 2)]
    with pytest.raises(RuntimeError):
        collate_clips(clips)


UNCLOSED = """
import sys
from slowfast.datasets.loading.loader import BatchLoader
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from tests.datasets.loading.test_loader import Numbers
loader = BatchLoader(Numbers(), GlobalBatchSampler(8, 2), num_workers=2)
next(iter(loader))
print("begun", flush=True)
"""


class Numbers:
    """Clips of one pixel whose label is their index."""

    def __len__(self):
        return 8

    def __getitem__(self, key):
        pixel = torch.full((1, 1, 1, 3), key.index, dtype=torch.uint8)
        return ClipSample(pixel, (torch.tensor(key.index),), key.index)


def test_workers_of_a_loader_that_nobody_closed_end_with_the_process():
    """They must end although they ignore SIGTERM for 30 seconds."""
    ended = subprocess.run(
        [sys.executable, "-c", UNCLOSED],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "begun\n", "")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_batch_is_rebuilt_as_it_was(rank):
    loader = BatchLoader(Numbers(), GlobalBatchSampler(8, 4, rank, 2, seed=3))
    loader.set_epoch(5)
    batches = list(loader)
    for number, batch in enumerate(batches):
        again = loader.rebuild(5, number)
        assert torch.equal(again.frames, batch.frames)
        assert again.indices.tolist() == batch.indices.tolist()
