"""A checkpoint as a model for clips in memory, and exported to files."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import slowfast
from slowfast.config import load_config
from slowfast.datasets import build_dataset, load_clip
from slowfast.inference.clip_transform import ArrayFrames
from slowfast.inference.export import FORMATS, export
from slowfast.inference.exportable import FACTS, random_frames
from slowfast.inference.loaded_model import LoadedModel, load_model
from slowfast.inference.model_card import model_card
from slowfast.utils.errors import UserError
from tests.commands import ROOT
from tests.inference.conftest import NAMES, SUML_TINY, TINY


def test_labels_of_a_clip(checkpoint: Path, clip: np.ndarray) -> None:
    labels = slowfast.load_model(checkpoint).labels(clip, top=3)
    assert list(labels) == ["verb", "noun"]
    for head, best in labels.items():
        assert [NAMES[head][label.class_id] for label in best] == [label.name for label in best]
        values = [label.probability for label in best]
        assert values == sorted(values, reverse=True)
        assert 0 < sum(values) < 1


def test_transform_is_that_of_validation(loaded: LoadedModel, clip: np.ndarray) -> None:
    """The clip of 12 frames at step 2: the centre of validation, view 5 of 10."""
    slow, fast = loaded.transform(clip)
    assert slow.shape == (1, 3, 2, 32, 32)
    assert fast.shape == (1, 3, 4, 32, 32)
    bgr = np.ascontiguousarray(clip[..., ::-1])
    assert torch.equal(loaded.transform(bgr, "bgr")[1], fast)
    short = loaded.transform(clip[:1])[1]
    assert torch.equal(short, short[:, :, :1].expand_as(short))


def test_a_clip_from_disk_gets_the_same_input(sample_home: Path, loaded: LoadedModel) -> None:
    annotations = sample_home / "data/sample"
    roots = [f"{annotations}/epic-55/{split}_rgb_frames" for split in ("train", "test")]
    cfg = load_config(
        SUML_TINY,
        [
            *TINY,
            *("DATA.PATH_TO_DATA_DIR", f"{annotations}/epic-100/annotations"),
            *("DATA.PATH_PREFIX", f"{annotations}/epic-100/dataset"),
            *("DATA.FALLBACK_PATH_PREFIXES", str(roots)),
        ],
    )
    data = build_dataset("epickitchen", cfg, "val")
    segment = data.segments[0]
    numbers = range(segment.start_frame, segment.stop_frame + 1)
    frames = np.stack([f.copy() for f in data.frames.open(segment).read(list(numbers))])  # type: ignore[attr-defined]
    wanted = load_clip(data, 0)
    found = loaded.transform(frames, "bgr")
    assert all(torch.equal(a[0], b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    "clip",
    [
        np.zeros((4, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((4, 3, 32, 32), np.uint8),
        np.zeros((0, 32, 32, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(loaded: LoadedModel, clip: np.ndarray) -> None:
    with pytest.raises(UserError, match="a clip is a uint8 array"):
        loaded.labels(clip)


@pytest.mark.parametrize("name", FORMATS)
def test_export_agrees_with_the_model(name: str, loaded: LoadedModel, tmp_path: Path) -> None:
    if name == "onnx":
        pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    path = tmp_path / f"model{FORMATS[name].suffix}"
    written = export(loaded, name, path)
    assert written.difference <= 1e-4
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    frames = random_frames(loaded, 5)
    with torch.inference_mode():
        wanted = loaded.model(loaded.transform.settings.transform(frames.flip(-1)))
    for a, b in zip(FORMATS[name].run(path, frames), wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_a_file_that_disagrees_is_not_written(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = FORMATS["safetensors"]
    monkeypatch.setattr(form, "run", lambda path, x: [torch.ones(len(x), 6), torch.ones(len(x), 8)])
    with pytest.raises(UserError, match="was not written: its probabilities differ"):
        export(loaded, "safetensors", tmp_path / "model.safetensors")
    assert not any(tmp_path.iterdir())


def test_safetensors_hold_the_ego_half_and_the_facts(loaded: LoadedModel, tmp_path: Path) -> None:
    from safetensors import safe_open

    path = export(loaded, "safetensors", tmp_path / "ego.safetensors").path
    with safe_open(path, "pt") as file:
        names, facts = list(file.keys()), json.loads(file.metadata()[FACTS])
    assert names
    assert not any("_t." in name or "projection." in name for name in names)
    assert facts["input"]["frames"] == 4
    assert facts["input"]["size"] == 32
    assert facts["normalisation"]["channel_order"] == "bgr"
    assert facts["outputs"][1]["classes"] == list(NAMES["noun"])
    again = load_model(path)
    assert again.names == NAMES


def test_model_card(loaded: LoadedModel, checkpoint: Path, tmp_path: Path) -> None:
    card = model_card(loaded, checkpoint, tmp_path / "m.onnx", licence="CC BY-NC 4.0")
    assert "| Licence of the weights | CC BY-NC 4.0 |" in card
    assert "| Licence of the data | not stated |" in card
    assert "verb (6 classes), noun (8 classes)" in card
    assert "epickitchen (ego) and lemma (exo, unpaired)" in card
    assert "No `results.json`" in card
    results = checkpoint.parent.parent / "results.json"
    results.write_text('{"verb_top1": 81.9444, "task": "recognition"}')
    assert "| verb_top1 | 81.94 |" in model_card(loaded, checkpoint, tmp_path / "m.onnx")


def test_hub_gives_model_and_transform(checkpoint: Path, clip: np.ndarray) -> None:
    model, transform = torch.hub.load(
        str(ROOT), "suml", checkpoint=str(checkpoint), source="local", verbose=False
    )
    verb, noun = model(transform(clip))
    assert verb.shape == (1, 6)
    assert noun.shape == (1, 8)
    entries = runpy.run_path(str(ROOT / "hubconf.py"))
    assert {"slowfast_r101_epic100", "slowfast_r101_epic55"} <= set(entries)


def test_weights_without_a_config_ask_for_one(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)["model_state"]
    torch.save(state, tmp_path / "bare.pyth")
    with pytest.raises(UserError, match=r"bare.pyth holds no config; name the YAML file"):
        load_model(tmp_path / "bare.pyth")
    cfg = tmp_path / "model.yaml"
    cfg.write_text(load_config(SUML_TINY, TINY).dump())
    nowhere = ["DATA.PATH_TO_DATA_DIR", str(tmp_path)]
    names = load_model(tmp_path / "bare.pyth", cfg=cfg, overrides=nowhere).names
    assert names["verb"][3] == "verb 3"


def test_array_frames_keep_inside_the_clip(clip: np.ndarray) -> None:
    first, last = ArrayFrames(clip).read([-1, 99])
    assert np.array_equal(first, clip[0])
    assert np.array_equal(last, clip[-1])


@pytest.mark.parametrize("page", ["README.md", "docs/inference.md"])
def test_documented_lines_label_a_clip(
    page: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python of the page, with this checkpoint in place of the demo's."""
    text = (ROOT / page).read_text()
    code = text.split("```python\n")[1].split("```")[0]
    demo = "runs/demo/checkpoints/checkpoint_epoch_00018.pyth"
    assert demo in code
    exec(code.replace(demo, str(checkpoint)), {})
    printed = capsys.readouterr().out
    assert "verb" in printed
    assert any(name in printed for name in NAMES["verb"])
