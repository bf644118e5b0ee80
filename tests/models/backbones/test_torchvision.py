"""Video models of torchvision: pooled features, stages and names, at the smallest size they take.

Skipped where torchvision is missing or built for another torch.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast.config import load_config
from slowfast.models.build import build_test_model
from slowfast.models.published_names import published_state_dict
from slowfast.utils.errors import UserError

try:
    from torchvision.models import video
except (ImportError, RuntimeError) as error:
    pytest.skip(f"torchvision cannot be imported ({error})", allow_module_level=True)

# Frames and pixels that are enough; mvit has fixed positions.
SIZES = {
    **dict.fromkeys(("r3d_18", "mc3_18", "r2plus1d_18"), (8, 32)),
    "s3d": (16, 224),
    **dict.fromkeys(("mvit_v1_b", "mvit_v2_s"), (16, 224)),
    "swin3d_t": (4, 64),
}


def config(folder: Path, name: str, frames: int, size: int):  # type: ignore[no-untyped-def]
    (folder / "base.yaml").write_text("MODEL:\n  NUM_CLASSES_LIST: [5, 7]\n")
    return load_config(
        folder / "base.yaml",
        [
            *("MODEL.BACKBONE", f"torchvision:{name}", "DATA.NUM_FRAMES", str(frames)),
            *("DATA.TRAIN_CROP_SIZE", str(size), "DATA.TEST_CROP_SIZE", str(size)),
            *("DATA.TRAIN_JITTER_SCALES", f"[{size}, {size}]", "EXO.NUM_FRAMES", str(frames)),
        ],
    )


@pytest.mark.parametrize("name", SIZES)
def test_pooled_feature_is_the_librarys(name: str, tmp_path: Path) -> None:
    """The input of the library's classifier, by a hook, with the same weights."""
    frames, size = SIZES[name]
    model = build_test_model(config(tmp_path, name, frames, size)).eval()
    own = getattr(video, name)(weights=None).eval()
    state = {k: v for k, v in published_state_dict(model).items() if not k.startswith("head")}
    loaded = own.load_state_dict(state, strict=False)
    assert loaded.unexpected_keys == []
    assert all(key.split(".")[0] in ("fc", "head", "classifier") for key in loaded.missing_keys)
    classifier = next(own.get_submodule(n) for n in ("fc", "head", "classifier") if hasattr(own, n))
    layer = next(m for m in classifier.modules() if isinstance(m, (nn.Linear, nn.Conv3d)))
    seen: list[torch.Tensor] = []
    layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    clip = torch.randn(1, 3, frames, size, size)
    with torch.no_grad():
        own(clip)
        found = model.features([clip[:, :, :1], clip])
    torch.testing.assert_close(found, seen[0].flatten(1), atol=1e-5, rtol=0)
    assert model.backbone.num_stages >= 5
    stages = model.backbone.stage_of_parameters()
    assert sum(stage == 0 for stage in stages.values()) <= 2


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="torchvision:i3d is not known; choose one of r3d_18"):
        config(tmp_path, "i3d", 8, 32)


def test_fixed_positions_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expects 16 frames of 224 pixels"):
        build_test_model(config(tmp_path, "mvit_v2_s", 8, 224))
