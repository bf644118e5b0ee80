"""Pictures, histograms and hyperparameters in TensorBoard's file."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from slowfast.config import get_cfg
from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.engine.monitor.confusion import confusion_pictures
from slowfast.engine.monitor.hyperparameters import final_metrics, hyperparameters
from slowfast.engine.monitor.pair_monitor import PairMonitor, build_pair_monitor
from slowfast.engine.monitor.pictures import confusion_picture, pair_picture
from slowfast.engine.monitor.tensorboard import ScalarWriter
from slowfast.evaluation.confusion import confusion_counts
from tests.evaluation.verb_noun import verb_noun_heads

# Of frames, B, G, R: a colour that shows a swapped order.
ORANGE = (10, 130, 250)


@pytest.fixture
def writer(tmp_path: Path) -> ScalarWriter:
    cfg = get_cfg()
    cfg.OUTPUT_DIR = str(tmp_path)
    cfg.TENSORBOARD.ENABLE = True
    return ScalarWriter(cfg)


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    found.Reload()
    return found


def test_confusion_counts_have_a_row_per_true_class() -> None:
    scores = np.eye(3)[[0, 1, 1, 2]]
    counts = confusion_counts(scores, [0, 0, 1, -1])
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def dark_cells(picture: np.ndarray) -> set[tuple[bool, bool]]:
    """Cells (lower, right) of a matrix of two classes that are of the darkest blue."""
    darkest = np.abs(picture.astype(int) - np.array([8, 48, 107])).sum(axis=2) < 12
    # The colour bar is at the right; cell borders are near the middle of what is left.
    y, x = np.nonzero(darkest[:, : int(0.75 * picture.shape[1])])
    middle = (y.min() + y.max()) / 2, (x.min() + x.max()) / 2
    lower, right = y > middle[0], x > middle[1]
    shares = {
        (row, column): np.mean((lower == row) & (right == column))
        for row, column in itertools.product((False, True), repeat=2)
    }
    return {cell for cell, share in shares.items() if share > 1 / 4}


def test_an_error_is_in_the_row_of_its_true_class() -> None:
    right = confusion_picture(np.diag([9, 4]), ["a", "b"])
    assert dark_cells(right) == {(False, False), (True, True)}
    swapped = confusion_picture(np.array([[0, 9], [4, 0]]), ["a", "b"])
    assert dark_cells(swapped) == {(False, True), (True, False)}


def test_at_most_fifty_classes_are_drawn_and_names_are_no_formulas() -> None:
    many = confusion_picture(np.diag(np.arange(1, 301)), [f"class $_{k}" for k in range(300)])
    fifty = confusion_picture(
        np.diag(np.arange(251, 301)), [f"class $_{k}" for k in range(250, 300)]
    )
    # The title with the number of classes takes a line.
    assert many.shape == fifty.shape
    assert max(many.shape) < 1300


def test_heads_without_labelled_clips_have_no_picture() -> None:
    counts = {"verb": np.diag([1, 2]), "noun": np.zeros((3, 3), np.int64)}
    assert [head for head, _ in confusion_pictures(counts, {})] == ["verb"]


def test_a_pair_has_the_ego_strip_above() -> None:
    ego, exo = (np.full((5, 32, 32, 3), value, np.uint8) for value in (250, 20))
    picture = pair_picture(ego, exo, ("cut $ onion " * 30, "cut"), "similarity 0.9")
    column = picture[:, picture.shape[1] // 2].mean(axis=1)
    dark = np.flatnonzero(column < 40)
    assert dark.min() > len(column) / 2
    assert picture.shape[1] == 650


def clips(colour: tuple[int, int, int], indices: list[int], text: torch.Tensor) -> ClipBatch:
    frames = torch.tensor(colour, dtype=torch.uint8).expand(len(indices), 8, 16, 16, 3)
    return ClipBatch(frames.contiguous(), [], torch.tensor(indices), text=text)


def monitor(pictures: int, *, histogram: bool) -> PairMonitor:
    """Monitor of two views with different means and channel orders."""

    def half(order: str, mean: float) -> SimpleNamespace:
        segments = [SimpleNamespace(narration=f"{order} {k}") for k in range(9)]
        return SimpleNamespace(
            transform=DeviceTransform([mean, 0.4, 0.5], [0.2, 0.3, 0.25], order, 4),
            segments=segments,
        )

    data = SimpleNamespace(ego=half("bgr", 0.1), exo=half("rgb", 0.3))
    return PairMonitor(data, pictures, histogram=histogram, threshold=0.5)


def batch() -> PairedBatch:
    text = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), dim=1)
    fixed = torch.tensor([[1.0, 0.0]]).expand(3, 2)
    return PairedBatch(clips(ORANGE, [4, 5, 6], text), clips((200, 100, 0), [1, 2, 3], fixed))


def test_pairs_are_drawn_as_the_model_sees_them(tmp_path: Path, writer: ScalarWriter) -> None:
    pairs = monitor(2, histogram=True)
    pairs.watch(batch(), 0)
    pairs.watch(batch(), 1)
    pairs.write(writer, 25)
    # Nothing is left for the next epoch.
    pairs.write(writer, 50)
    writer.close()
    found = events(tmp_path)
    assert sorted(found.Tags()["images"]) == ["pairs/0", "pairs/1"]
    assert [event.step for event in found.Images("pairs/0")] == [25]
    encoded = found.Images("pairs/0")[0].encoded_image_string
    picture = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    colours = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    # Frames are B, G, R; the pictures R, G, B.
    assert {ORANGE[::-1], (0, 100, 200)} < colours
    (histogram,) = found.Histograms("pairs/similarity")
    assert histogram.histogram_value.num == 6
    assert histogram.histogram_value.max == pytest.approx(1.0)
    assert histogram.histogram_value.min == pytest.approx(0.0)


def test_exo_clips_without_frames_have_similarities_only(
    tmp_path: Path, writer: ScalarWriter
) -> None:
    frameless = batch()
    frameless.exo.frames = torch.empty(3, 0, dtype=torch.uint8)
    pairs = monitor(2, histogram=True)
    pairs.watch(frameless, 0)
    pairs.write(writer, 25)
    writer.close()
    assert events(tmp_path).Tags()["images"] == []
    assert events(tmp_path).Tags()["histograms"] == ["pairs/similarity"]


def test_nothing_is_watched_where_nothing_is_asked_for() -> None:
    cfg = get_cfg()
    cfg.TENSORBOARD.PAIRS = 3
    assert build_pair_monitor(cfg, None) is None
    cfg.TENSORBOARD.ENABLE = True
    # Not a data set of pairs.
    assert build_pair_monitor(cfg, []) is None


def test_hyperparameters_name_the_final_metrics(tmp_path: Path, writer: ScalarWriter) -> None:
    cfg = get_cfg()
    cfg.SOLVER.BASE_LR = 0.5
    cfg.SOLVER.STEPS = [0, 3]
    cfg.OUTPUT_DIR = "elsewhere"
    cfg.TEST.ENABLE = True
    values = hyperparameters(cfg)
    assert values == {"SOLVER.BASE_LR": 0.5, "SOLVER.STEPS": [0, 3]}
    tags = final_metrics(cfg, verb_noun_heads(3, 4))
    assert {"val/action_top1", "test/verb_top1"} < set(tags)
    writer.add_hparams(values, tags)
    writer.add("val", {"action_top1": 7.0}, 3)
    writer.close()
    found = events(tmp_path)
    content = found.PluginTagToContent(metadata.PLUGIN_NAME)
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["SOLVER.BASE_LR"].number_value == 0.5
    assert start.hparams["SOLVER.STEPS"].string_value == "[0, 3]"
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert [info.name.tag for info in experiment.metric_infos] == tags
    # No second run and no scalars of zero.
    assert found.Tags()["scalars"] == ["val/action_top1"]
