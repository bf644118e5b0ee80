import numpy as np
import pytest
import torch

from slowfast.datasets.build import load_clip
from slowfast.datasets.clips.collate import collate_clips
from slowfast.datasets.clips.labels import labels_in
from slowfast.datasets.clips.sampling import ClipSampling
from slowfast.datasets.clips.transforms import Geometry, place_float
from slowfast.datasets.clips.views import TestViews
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.types import SampleKey, Segment
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream
from tests.datasets.conftest import heads
from tests.datasets.frames.tiny_videos import make_segment, make_video


class CountingStore:
    """Counts how often each frame is read."""

    def __init__(self, root):
        self.store = VideoStore([str(root)], make_decoder("auto"))
        self.reads = []

    def check(self, segments):
        self.store.check(segments)

    def open(self, segment):
        source, reads = self.store.open(segment), self.reads

        class Source:
            def read(self, numbers):
                reads.extend(numbers)
                return source.read(numbers)

        return Source()


def test_training_clips(make_dataset):
    dataset = make_dataset()
    assert len(dataset) == 2
    clip = dataset[SampleKey(0, 1)]
    assert clip.frames.shape == (8, 24, 24, 3)
    assert clip.frames.dtype == torch.uint8
    assert [int(label) for label in clip.labels] == [1, 2]
    assert clip.index == 1
    assert clip.lighting is None


def test_a_sample_depends_on_seed_epoch_index_and_stream_alone(make_dataset):
    dataset = make_dataset()
    first = dataset[SampleKey(3, 0)].frames
    for key in (SampleKey(0, 1), SampleKey(3, 1), 0):
        dataset[key]
    assert dataset[SampleKey(3, 0)].frames.equal(first)
    assert make_dataset()[SampleKey(3, 0)].frames.equal(first)
    assert make_dataset()[0].frames.equal(dataset[SampleKey(0, 0)].frames)
    others = [
        dataset[SampleKey(4, 0)].frames,
        make_dataset(seed=8)[SampleKey(3, 0)].frames,
        make_dataset(stream=Stream.EXO)[SampleKey(3, 0)].frames,
    ]
    assert not any(other.equal(first) for other in others)


def test_validation_is_the_same_in_every_epoch(make_dataset):
    dataset = make_dataset(split="val")
    assert dataset[SampleKey(0, 0)].frames.equal(dataset[SampleKey(5, 0)].frames)
    assert load_clip(dataset, 0)[1].shape == (3, 8, 24, 24)
    assert load_clip(dataset, 0)[0].shape == (3, 2, 24, 24)


def test_validation_may_be_random_as_published(make_dataset):
    dataset = make_dataset(split="val", random_in_validation=True, lighting_std=0.1)
    clips = [dataset[SampleKey(epoch, 0)] for epoch in range(4)]
    assert not all(clip.frames.equal(clips[0].frames) for clip in clips)
    assert all(clip.lighting is None for clip in clips)


def test_lighting_in_training_only(make_dataset):
    dataset = make_dataset(lighting_std=0.1)
    clip = dataset[SampleKey(0, 0)]
    assert clip.lighting.shape == (3,)
    assert not dataset[SampleKey(1, 0)].lighting.equal(clip.lighting)
    # Lighting is drawn last: the clip is the one without it.
    assert make_dataset()[SampleKey(0, 0)].frames.equal(clip.frames)


def test_each_frame_is_decoded_once(make_dataset, video_root):
    frames = CountingStore(video_root)
    segments = [make_segment(1, 4), make_segment(1, 40)]
    for split in ("train", "val", "test"):
        dataset = make_dataset(segments, split, frames=frames)
        for index in range(2):
            frames.reads.clear()
            dataset[index]
            assert len(frames.reads) == len(set(frames.reads))
            assert frames.reads == sorted(frames.reads)


def test_short_segments_repeat_their_ends(make_dataset):
    dataset = make_dataset([make_segment(10, 12)], split="val")
    frames = dataset[0].frames
    assert frames.shape[0] == 8
    # Positions 0, 2 and then the last again: two different frames.
    assert len({frame.numpy().tobytes() for frame in frames}) == 2


@pytest.mark.parametrize("views", [TestViews(4, 3), TestViews(10, 3), TestViews(3, 1)])
@pytest.mark.parametrize("stop", [9, 15, 16, 40])
def test_views_at_once_are_the_views_one_by_one(make_dataset, views, stop):
    dataset = make_dataset([make_segment(1, stop)], "test", views=views)
    segment = dataset[0]
    clips = segment.batch(0, len(segment.views)).frames
    assert sum(view.weight for view in segment.views) == len(views)
    distinct = {}
    for view in range(len(views)):
        alone = dataset.test_clip(0, view).frames
        matches = [i for i, clip in enumerate(clips) if clip.equal(alone)]
        assert matches
        distinct[matches[0]] = distinct.get(matches[0], 0) + 1
    assert [distinct[i] for i in range(len(clips))] == [view.weight for view in segment.views]
    if stop <= dataset.sampling.span:
        assert len(segment.views) == views.spatial


def test_one_view_and_one_crop_is_the_validation_clip(make_dataset):
    dataset = make_dataset([make_segment(1, 40)], "test", views=TestViews(1, 1))
    segment = dataset[0]
    assert len(segment.views) == 1
    validation = make_dataset([make_segment(1, 40)], "val")[0].frames
    assert segment.batch(0, 1).frames[0].equal(validation)
    assert load_clip(dataset, 0, 0)[1].equal(load_clip(dataset, 0)[1])


def test_square_frames_have_one_crop(make_dataset, tmp_path):
    make_video(tmp_path / "P01_01", 20, size=(30, 30))
    store = VideoStore([str(tmp_path)], make_decoder("auto"))
    dataset = make_dataset([make_segment(1, 20)], "test", frames=store, views=TestViews(2, 3))
    assert [view.weight for view in dataset[0].views] == [3, 3]


def test_first_frame_views_are_one(make_dataset):
    sampling = ClipSampling(8, 2, "first_frame")
    dataset = make_dataset([make_segment(20, 40)], "test", sampling=sampling)
    assert [view.weight for view in dataset[0].views] == [4, 4, 4]


def test_view_out_of_range_is_an_error(make_dataset):
    with pytest.raises(IndexError, match="view 12 of 12"):
        load_clip(make_dataset(), 0, 12)


def test_training_clips_have_the_labels_of_their_frames(make_dataset):
    """A clip has the labels that occur in its frames; a test has all labels of the segment."""
    times = (((1, 1, 20), (3, 41, 60), (1, 55, 60)), ((6, 10, 9),))
    segment = Segment("s", "P01_01", "P01", 1, 60, "", ((1, 3), (6,)), times)
    assert labels_in(segment, np.array([20, 30, 40])) == [(1,), ()]
    assert labels_in(segment, np.array([41, 56])) == [(3, 1), ()]
    dataset = make_dataset([segment], heads=heads(multi_label=True))
    drawn = {tuple(dataset[SampleKey(epoch, 0)].labels[0].tolist()) for epoch in range(30)}
    assert (0, 1, 0, 0, 0) in drawn
    assert (0, 0, 0, 1, 0) in drawn
    whole = make_dataset([segment], "val", heads=heads(multi_label=True))[0].labels
    assert [label.sum() for label in whole] == [2, 1]


def test_labels(make_dataset):
    several = Segment("s", "P01_01", "P01", 1, 20, "", ((1, 3), ()))
    hot = make_dataset([several], heads=heads(multi_label=True)).labels(0)
    assert [label.tolist() for label in hot] == [[0, 1, 0, 1, 0], [0] * 7]
    unlabelled = Segment("s", "P01_01", "P01", 1, 20, "", ((), ()))
    labels = make_dataset([unlabelled]).labels(0)
    assert [(int(label), label.dtype) for label in labels] == [(-1, torch.int64)] * 2


def test_frames_of_two_sizes_are_an_error(make_dataset, tmp_path):
    make_video(tmp_path / "P01_01", 20)
    make_video(tmp_path / "P01_01", 3, first=10, size=(40, 56))
    store = VideoStore([str(tmp_path)], make_decoder("auto"))
    for split in ("val", "test"):
        with pytest.raises(UserError, match=r"P01_01 .*56x32 and 56x40"):
            make_dataset([make_segment(1, 20)], split, frames=store)[0]


def test_frames_are_the_right_ones(make_dataset):
    """Mean levels of the pictures rise by one a frame (see `picture`)."""
    dataset = make_dataset([make_segment(5, 34)], "val")
    levels = dataset[0].frames.double().mean((1, 2, 3)).numpy()
    # Validation start: round((30 - 15) / 9 * 5) = 8; the step is 2 frames.
    assert np.diff(levels) == pytest.approx(2, abs=0.7)
    first = make_dataset([make_segment(13, 13)], "val")[0].frames.double().mean((1, 2, 3)).numpy()
    assert levels[0] == pytest.approx(first[0], abs=1e-9)


@pytest.mark.parametrize("split", ["train", "val"])
def test_clips_resized_on_the_device_are_those_of_the_worker(make_dataset, split):
    segments = [make_segment(), make_segment(10, 12)]
    finished = make_dataset(segments, split)
    windows = make_dataset(segments, split, resize_on_device=True)
    for index in range(2):
        clip = windows.clip_sample(SampleKey(1, index))
        assert clip.frames.shape == windows.clip_shape == (8, 25, 25, 3)
        ours = windows.transform.clips(collate_clips([clip]))[1]
        other = finished.clip_sample(SampleKey(1, index))
        assert other.frames.shape == finished.clip_shape
        expected = finished.transform.clips(collate_clips([other]))[1]
        # The worker rounds to whole grey levels, at most 1.0 away.
        assert (ours - expected).abs().max() * 255 * 0.225 <= 1.0
        assert [int(label) for label in clip.labels] == [int(label) for label in other.labels]


@pytest.mark.parametrize(("crop", "stored"), [(24, (32, 56)), (40, (32, 56)), (20, (20, 35))])
def test_views_resized_on_the_device_are_the_float_pipeline(make_dataset, crop, stored):
    """Whole frames leave the worker, except for videos much larger than the crop."""
    settings = {
        "geometry": Geometry((40, 44), train_crop=24, test_crop=crop),
        "resize_on_device": True,
    }
    dataset = make_dataset([make_segment(1, 40)], "test", **settings)
    segment = dataset[0]
    assert segment.frames.shape[1:3] == stored
    fast = dataset.transform.clips(segment.batch(0, len(segment.views)))[1]
    assert fast.shape[2:] == (8, crop, crop)
    numbers = dataset.sampling.views(dataset.segments[0], 4)
    source = dataset.frames.open(dataset.segments[0])
    for position in (0, 1, 2, 11):
        clip, place = divmod(position, 3)
        frames = [frame.copy() for frame in source.read(numbers[clip].tolist())]
        exact = place_float(
            torch.from_numpy(np.stack(frames)), dataset.geometry.test(32, 56, place)
        )
        difference = (fast[position] * 0.225 + 0.45) * 255 - exact.permute(3, 0, 1, 2)
        # 0.005: resized on the device in float32; 1.0: in the worker, to whole grey levels.
        assert difference.abs().max() <= (0.005 if stored == (32, 56) else 1.0)
        alone = load_clip(dataset, 0, position)[1]
        assert alone.equal(fast[position])


def test_memory_of_a_segment_is_bounded(make_dataset):
    """Views times frames, however long it is."""
    dataset = make_dataset([make_segment(1, 60)], "test", views=TestViews(2, 3))
    assert dataset[0].frames.nbytes == dataset.item_bytes() == 2 * 8 * 24 * 42 * 3
    long = make_dataset([make_segment(1, 10_000)], "test", views=TestViews(2, 3))
    assert long.item_bytes() == dataset.item_bytes()


def test_frames_go_where_the_loader_says(make_dataset):
    dataset = make_dataset()
    expected = dataset[0].frames
    memory = np.zeros((8, 24, 24, 3), np.uint8)
    dataset.allocate = lambda shape: memory.reshape(shape)
    clip = dataset[0]
    assert clip.frames.equal(expected)
    assert clip.frames.data_ptr() == memory.ctypes.data
