"""Predictions over the time of a video: windows, labels, files, explanations."""

from __future__ import annotations

import itertools
import json
import runpy
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from slowfast.config.heads import HeadSpec
from slowfast.inference.best_labels import best_labels
from slowfast.inference.clip_transform import ArrayFrames
from slowfast.inference.grad_cam import grad_cam
from slowfast.inference.loaded_model import LoadedModel
from slowfast.inference.prompts import PromptModel, load_prompt_model
from slowfast.inference.sliding import SlidingOptions, VideoPrediction, predict_video
from slowfast.inference.video_source import VideoSource, open_video
from slowfast.models.backbone import Backbone
from slowfast.models.heads import Head
from slowfast.models.recognizer import Recognizer
from slowfast.utils.errors import UserError
from tests.commands import TOOLS

SPAN = 7


def _source(frames: np.ndarray, fps: float = 10.0) -> VideoSource:
    return VideoSource("v", "", ArrayFrames(frames), 0, len(frames), fps)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """100 frames (100, 40, 52, 3) uint8: several chunks at a stride of 2."""
    return np.random.default_rng(1).integers(0, 256, (100, 40, 52, 3), np.uint8)


def test_windows_are_scored_as_single_clips(loaded: LoadedModel, frames: np.ndarray) -> None:
    """Every window equals its clip alone, and the last one ends with the video."""
    prediction = predict_video(loaded, _source(frames), SlidingOptions(stride_sec=0.2))
    starts = (prediction.starts * 10).round().astype(int)
    assert prediction.window_sec == SPAN / 10
    assert starts[0] == 0
    assert starts[-1] + SPAN == len(frames)
    assert np.diff(starts).max() <= 2
    for row in (0, 17, len(starts) - 1):
        clip = frames[starts[row] : starts[row] + SPAN]
        with torch.inference_mode():
            wanted = loaded.model(loaded.transform(clip, "bgr"))
        for head, scores in zip(loaded.heads, wanted, strict=True):
            found = torch.from_numpy(prediction.scores[head.name][row])
            torch.testing.assert_close(found, scores[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 39, 40])
def test_every_length_is_covered(loaded: LoadedModel, frames: np.ndarray, length: int) -> None:
    prediction = predict_video(loaded, _source(frames[:length]), SlidingOptions(0.2))
    starts = (prediction.starts * 10).round().astype(int)
    assert starts[0] == 0
    assert starts[-1] + min(SPAN, length) == length
    assert len(set(starts)) == len(starts) == len(prediction.scores["verb"])


@pytest.fixture
def prediction() -> VideoPrediction:
    """Three windows of random probabilities."""
    rng = np.random.default_rng(0)
    heads = (HeadSpec("verb", 4, False), HeadSpec("noun", 5, False))
    return VideoPrediction(
        "v",
        np.array([0.0, 0.5, 1.0]),
        1.0,
        {h.name: rng.dirichlet(np.ones(h.num_classes), 3).astype(np.float32) for h in heads},
        heads,
        {"verb": tuple("abcd"), "noun": tuple("klmno")},
    )


def test_action_is_the_best_product(prediction: VideoPrediction) -> None:
    best = best_labels(prediction, 3)["action"]
    verb, noun = prediction.scores["verb"], prediction.scores["noun"]
    for window in range(3):
        products = {
            (v, n): float(verb[window, v]) * float(noun[window, n])
            for v, n in itertools.product(range(4), range(5))
        }
        wanted = sorted(products, key=lambda pair: -products[pair])[:3]
        assert [label.name for label in best[window]] == [
            f"{'abcd'[v]} {'klmno'[n]}" for v, n in wanted
        ]
        assert [label.class_id for label in best[window]] == [v * 5 + n for v, n in wanted]


class _Patch(Backbone):
    """One pathway: average grey of cells of 8 pixels, and the opposite."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = (2,)

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        cells = torch.nn.functional.avg_pool3d(clip[0].mean(1, keepdim=True), (1, 8, 8))
        return [torch.cat([cells, 1 - cells], 1)]


def test_grad_cam_finds_the_place_that_counts() -> None:
    """Class 0 counts bright cells: the map is largest on the bright patch, at its time."""
    model = Recognizer(_Patch(), Head(2, [2]), ["head.0"]).eval()
    with torch.no_grad():
        model.head.projections[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    clip = torch.zeros(1, 3, 4, 32, 32)
    clip[:, :, 2, 8:16, 16:24] = 1.0
    (cam,) = grad_cam(model, [clip], 0, torch.tensor([0]))
    assert cam.shape == (1, 4, 32, 32)
    assert cam.max() == 1.0
    frame, row, column = np.unravel_index(int(cam[0].argmax()), cam[0].shape)
    assert (frame, row // 8, column // 8) == (2, 1, 2)
    (other,) = grad_cam(model, [clip], 0, torch.tensor([1]))
    assert other[0, 2, 11, 19] < other[0, 2, 27, 3]


def test_prompts_are_soft_maxed_cosines(checkpoint: Path, clip: np.ndarray) -> None:
    def encode(texts, cfg) -> np.ndarray:  # type: ignore[no-untyped-def]
        vectors = np.random.default_rng(len(texts)).normal(size=(len(texts), cfg.SUML.EMBED_DIM))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    prompts = load_prompt_model(checkpoint, ["cut onion", "wash pan"], encode)
    model = prompts.model
    assert isinstance(model, PromptModel)
    x = prompts.transform(clip)
    z = model.projection(model.recognizer.features(x))
    assert torch.allclose(z.norm(dim=1), torch.ones(1))
    wanted = (z @ model.sentences.T / prompts.cfg.SUML.TEMPERATURE).softmax(1)
    torch.testing.assert_close(model(x)[0], wanted)
    labels = prompts.labels(clip)["prompt"]
    assert {label.name for label in labels} == {"cut onion", "wash pan"}


def test_prompts_need_a_dual_model(loaded: LoadedModel, tmp_path: Path) -> None:
    from slowfast.inference.export import export

    ego = ["MODEL.MODEL_NAME", "MultiTaskSlowFast", "TRAIN.DATASET", "epickitchen"]
    path = export(loaded, "safetensors", tmp_path / "ego.safetensors").path
    with pytest.raises(UserError, match="is of MultiTaskSlowFast, which embeds no sentences"):
        load_prompt_model(path, ["cut onion"], overrides=ego)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, frames: np.ndarray) -> Path:
    """A folder of 24 JPEG frames."""
    path = tmp_path_factory.mktemp("videos") / "P01_01"
    path.mkdir()
    for number, frame in enumerate(frames[:24], start=1):
        cv2.imwrite(str(path / f"frame_{number:010d}.jpg"), frame)
    return path


@pytest.fixture(scope="module")
def predict() -> Callable[[list[str]], None]:
    """`main` of the command, in this process."""
    main: Callable[[list[str]], None] = runpy.run_path(str(TOOLS / "predict.py"))["main"]
    return main


def test_command_writes_all_files(
    predict: Callable[[list[str]], None], checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    words = [str(folder), "--checkpoint", str(checkpoint), "--out", str(tmp_path)]
    predict([*words, "--fps", "10", "--explain", "--top", "2"])
    made = tmp_path / "P01_01"
    assert {file.name for file in made.iterdir()} == {
        *("predictions.json", "predictions.csv", "timeline.png", "explain.png", "overlay.mp4")
    }
    content = json.loads((made / "predictions.json").read_text())
    assert content["fps"] == 10
    windows = content["windows"]
    assert windows[-1]["stop_sec"] == 2.4
    assert len(windows[0]["verb"]) == len(windows[0]["action"]) == 2
    table = pd.read_csv(made / "predictions.csv")
    assert len(table) == len(windows) * 3 * 2
    assert list(table.columns)[:4] == ["start_sec", "stop_sec", "head", "rank"]
    for name in ("timeline.png", "explain.png"):
        picture = cv2.imread(str(made / name))
        assert picture is not None
        assert picture.std() > 10
    with av.open(str(made / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 24


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nowhere.mp4", "--checkpoint", "C"], "nowhere.mp4 does not exist; name a video file"),
        (["EMPTY", "--checkpoint", "C"], "holds no frames"),
        (["EMPTY"], "name a --checkpoint, or the --cfg of a run"),
        (["EMPTY", "--checkpoint", "C", "--top", "0"], "--top is 0; set it above 0"),
        (["EMPTY", "--checkpoint", "C", "--prompts", "a", "--explain"], "leave out --prompts"),
    ],
)
def test_mistakes_end_in_one_line(
    predict: Callable[[list[str]], None],
    checkpoint: Path,
    tmp_path: Path,
    words: list[str],
    error: str,
) -> None:
    names = {"EMPTY": str(tmp_path), "C": str(checkpoint)}
    with pytest.raises(UserError, match=error):
        predict([names.get(word, word) for word in words])


def test_video_file_is_read_by_time(tmp_path: Path, frames: np.ndarray) -> None:
    """A file of 24 frames at 12 per second, counted at 24: 48 numbers, each frame twice."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.height, stream.width, stream.pix_fmt = 40, 52, "yuv420p"
        for value in range(24):
            picture = np.full((40, 52, 3), 10 * value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    source = open_video(path, 24.0)
    assert source.num_frames == 48
    read = source.store.open(source.segment(1, 48, ())).read([1, 2, 3, 4, 47, 48])
    grey = [round(float(frame.mean()) / 10) for frame in read]
    assert grey == [0, 0, 1, 1, 23, 23]
