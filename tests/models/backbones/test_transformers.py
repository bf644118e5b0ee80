"""Tiny video transformers of every kind, with random weights: features, stages, names, steps."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from slowfast.config import load_config
from slowfast.engine.solver import build_optimizer, set_lr
from slowfast.models.build import build_model, build_test_model
from slowfast.models.ego_exo import EgoExoModel
from slowfast.models.published_names import published_state_dict
from slowfast.tasks.build import build_training
from slowfast.utils.errors import UserError

transformers = pytest.importorskip("transformers", reason="the transformers extra is missing")

_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_IMAGE = {"image_size": 32, "num_frames": 4, "intermediate_size": 24, **_SIZES}
_VJEPA = {"crop_size": 32, "frames_per_clip": 4, "patch_size": 16, "mlp_ratio": 2, **_SIZES}
_PREDICTOR = {
    "pred_hidden_size": 8,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
}
KINDS = {
    "videomae": lambda: transformers.VideoMAEConfig(patch_size=16, tubelet_size=2, **_IMAGE),
    "timesformer": lambda: transformers.TimesformerConfig(patch_size=16, **_IMAGE),
    "vivit": lambda: transformers.VivitConfig(tubelet_size=[2, 16, 16], **_IMAGE),
    "vjepa2": lambda: transformers.VJEPA2Config(tubelet_size=2, **_VJEPA, **_PREDICTOR),
}


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp(request.param)
    KINDS[request.param]().save_pretrained(path)
    return path


def config(folder: Path, *overrides: object):  # type: ignore[no-untyped-def]
    (folder / "base.yaml").write_text("TRAIN:\n  DATASET: ego_exo\n")
    return load_config(
        folder / "base.yaml",
        [
            *("MODEL.MODEL_NAME", "EgoExoSlowFast", "MODEL.BACKBONE", f"transformers:{folder}"),
            *("MODEL.NUM_CLASSES_LIST", "[5, 7]", "EXO.NUM_CLASSES_LIST", "[4, 6]"),
            *("SUML.EMBED_DIM", "8", "SUML.PAIRS.FILE", "pairs.npz", *map(str, overrides)),
        ],
    )


@pytest.fixture
def clip() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    fast = torch.randn(2, 3, 4, 32, 32, generator=draw)
    return [fast[:, :, :1], fast]


def test_clip_geometry_is_the_models_unless_set(folder: Path) -> None:
    cfg = config(folder)
    assert (cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE, cfg.EXO.NUM_FRAMES) == (4, 32, 4)
    assert (cfg.DATA.CHANNEL_ORDER, cfg.DATA.MEAN[0]) == ("rgb", 0.485)
    assert config(folder, "DATA.SAMPLING_RATE", 7).DATA.SAMPLING_RATE == 7


def test_pooled_feature_is_the_librarys(folder: Path, clip: list[torch.Tensor]) -> None:
    """The mean of the tokens, or the class token, of the library's own model with these weights."""
    model = build_test_model(config(folder)).eval()
    own = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(folder))
    state = model.backbone.state_dict()
    assert own.load_state_dict(state, strict=False).unexpected_keys == []
    frames = clip[1].transpose(1, 2)
    kind = own.config.model_type
    options = {"pixel_values_videos": frames} if kind == "vjepa2" else {"pixel_values": frames}
    with torch.no_grad():
        tokens = own.eval()(**options).last_hidden_state
        found = model.features(clip)
    wanted = tokens[:, 0] if kind in ("timesformer", "vivit") else tokens.mean(1)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_train_step_copy_and_checkpoint_names(folder: Path, clip: list[torch.Tensor]) -> None:
    """Every trained parameter gets a gradient; a copy gives the same scores; names are unique."""
    cfg = config(folder, "MODEL.PROBE", "attentive")
    model, _ = build_training(cfg)
    assert isinstance(model, EgoExoModel)
    output = model.train()(clip, clip)
    parts = [*output.ego_logits, *output.exo_logits, output.z_ego, output.z_exo]
    sum((x**3).sum() + x.sum() for x in parts).backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    without = [name for name, p in trained.items() if p.grad is None]
    assert without == []
    model.eval()
    assert torch.equal(copy.deepcopy(model)(clip)[0], model(clip)[0])
    names = list(published_state_dict(model))
    assert len(set(names)) == len(model.state_dict())


def test_freezing_and_layer_decay(folder: Path) -> None:
    """Embeddings, two layers: with the first stage frozen, the layers learn at 0.25 and 0.5."""
    cfg = config(folder, "MODEL.FREEZE_STAGES", 1, "SOLVER.LAYER_DECAY", 0.5)
    model = build_test_model(cfg)
    assert model.backbone.num_stages == 3
    frozen = [p for p in model.backbone.parameters() if not p.requires_grad]
    stages = model.backbone.stage_of_parameters()
    assert len(frozen) == sum(stage == 1 for stage in stages.values()) > 0
    optimizer = build_optimizer(model, cfg)
    set_lr(optimizer, 0.1)
    rates = {round(group["lr"], 6) for group in optimizer.param_groups}
    assert rates == {0.025, 0.05, 0.1}
    with pytest.raises(UserError, match="set it to 3 or less"):
        build_test_model(config(folder, "MODEL.FREEZE_STAGES", 4))


def test_shared_backbone(folder: Path, clip: list[torch.Tensor]) -> None:
    shared = build_model(config(folder, "MODEL.SHARE_BACKBONE", True))
    own = build_model(config(folder))
    assert shared.exo.backbone is shared.ego.backbone
    weights = sum(p.numel() for p in shared.ego.backbone.parameters())
    sizes = [sum(p.numel() for p in m.parameters()) for m in (own, shared)]
    assert sizes[0] - sizes[1] == weights
    names = published_state_dict(shared)
    assert not any(name.partition(".")[0].endswith("_t") for name in names)
    shared.use(())
    assert shared.train().ego.backbone.training
    assert all(p.requires_grad for p in shared.ego.backbone.parameters())


def test_clips_of_another_size_are_refused(folder: Path) -> None:
    expected = "expects 4 frames of 32 pixels, but the config has 8 of 32"
    with pytest.raises(UserError, match=expected):
        build_model(config(folder, "DATA.NUM_FRAMES", 8))


def test_unknown_backbones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'timm' is not a registered family of backbones"):
        config(tmp_path, "MODEL.BACKBONE", "timm:x")
    with pytest.raises(UserError, match=r"cannot read .* as a folder of a transformers model"):
        config(tmp_path)


def test_a_compiled_backbone_is_one_graph(folder: Path, clip: list[torch.Tensor]) -> None:
    """Traced and run by torch's own operators: a machine may lack a C++ compiler."""
    model = build_test_model(config(folder)).train()
    torch._dynamo.reset()
    graphs = CompileCounter()
    model.backbone.compile(backend=graphs, fullgraph=True)
    model(clip)
    assert graphs.frame_count == 1
