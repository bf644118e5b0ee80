"""Video transformers of Hugging Face as backbones: `transformers:FOLDER`.

FOLDER holds the config.json of a VideoMAE, TimeSformer, ViViT or V-JEPA 2 model; a hub name works
if its files are in the local cache. The submodules keep their names, so that its weights load
by TRAIN.CHECKPOINT_FILE_PATH. Legend: N clips, C channels, L tokens.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from slowfast.config.clip_geometry import ClipGeometry
from slowfast.models.backbone import Backbone
from slowfast.models.backbones.registry import library, real_tensors, register_family
from slowfast.utils.errors import UserError
from slowfast.utils.reading import reading, require_file


class _Kind(NamedTuple):
    """One architecture.

    layers: the list of its transformer layers. frames, size: names in its config. class_token:
    whether the first token describes the clip, rather than the mean of all. unused: children that
    recognition does not run.
    """

    layers: str
    frames: str
    size: str
    class_token: bool
    unused: tuple[str, ...] = ()


_KINDS = {
    "videomae": _Kind("encoder.layer", "num_frames", "image_size", False),
    "timesformer": _Kind("encoder.layer", "num_frames", "image_size", True),
    "vivit": _Kind("layers", "num_frames", "image_size", True, ("pooler",)),
    "vjepa2": _Kind("encoder.layer", "frames_per_clip", "crop_size", False, ("predictor",)),
}


def _clips(name: str) -> ClipGeometry:
    """Sizes of the model's config, normalisation of its preprocessor, else of ImageNet."""
    config, kind = _config(name)
    preprocessor = _preprocessor(name)
    mean, std = (preprocessor.get(key) for key in ("image_mean", "image_std"))
    size = getattr(config, kind.size)
    size = size if isinstance(size, int) else size[0]
    clips = ClipGeometry(getattr(config, kind.frames), 2, size)
    mean, std = (preprocessor.get(key) for key in ("image_mean", "image_std"))
    return replace(clips, mean=tuple(mean), std=tuple(std)) if mean and std else clips


@register_family("transformers", _clips)
def transformers_backbone(name: str, clips: ClipGeometry) -> Backbone:
    """The model of a folder, with random weights, for clips of that geometry.

    Raises: UserError for clips of another size than the model's positions.
    """
    config, kind = _config(name)
    own = _clips(name)
    if (own.num_frames, own.size) != (clips.num_frames, clips.size):
        raise UserError(
            f"MODEL.BACKBONE transformers:{name} expects {own.num_frames} frames of {own.size} "
            f"pixels, but the config has {clips.num_frames} of {clips.size}; set "
            "DATA.NUM_FRAMES or EXO.NUM_FRAMES, DATA.TRAIN_CROP_SIZE and DATA.TEST_CROP_SIZE to "
            "the values of the model"
        )
    transformers = library("transformers", "transformers")
    with real_tensors():
        model = transformers.AutoModel.from_config(config)
    return _Transformer(model, kind)


class _Transformer(Backbone):
    """Features are the tokens (N, C, L, 1, 1)."""

    keeps_own_init = True

    def __init__(self, model: Any, kind: _Kind) -> None:
        super().__init__()
        # Its submodules are registered under their own names, so that its weights load. The model
        # itself is in a tuple, which is not registered.
        self._hidden = (model,)
        for name, child in model.named_children():
            if name not in kind.unused:
                self.add_module(name, child)
        self._class_token = kind.class_token
        embeddings = "embeddings" if hasattr(model, "embeddings") else "encoder.embeddings"
        layers = range(len(model.get_submodule(kind.layers)))
        self.stage_parts = ((embeddings,), *((f"{kind.layers}.{k}",) for k in layers))
        self.out_channels = (model.config.hidden_size,)

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        frames_first = clip[-1].transpose(1, 2)
        tokens = self._tokens(frames_first)
        return [tokens.transpose(1, 2)[..., None, None]]

    def _tokens(self, frames: Tensor) -> Tensor:
        """(N, T, 3, H, W) -> (N, L, C)."""
        (model,) = self._hidden
        if model.config.model_type == "vjepa2":
            # Without the predictor, which only pre-training uses.
            output = model(pixel_values_videos=frames, skip_predictor=True)
        else:
            output = model(pixel_values=frames)
        tokens: Tensor = output.last_hidden_state
        return tokens

    def summary(self, features: list[Tensor]) -> list[Tensor]:
        return [features[0][:, :, :1]] if self._class_token else features


@cache
def _config(name: str) -> tuple[Any, _Kind]:
    """The config of a model, and its architecture; nothing is downloaded."""
    if not name:
        raise UserError("MODEL.BACKBONE transformers: names no folder; set transformers:FOLDER")
    transformers = library("transformers", "transformers")
    with reading(name, "a folder of a transformers model", "name a folder with its config.json"):
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=True)
    if config.model_type not in _KINDS:
        raise UserError(
            f"MODEL.BACKBONE transformers:{name} is a {config.model_type}; choose one of "
            f"{', '.join(_KINDS)}"
        )
    return config, _KINDS[config.model_type]


def _preprocessor(name: str) -> dict[str, Any]:
    """preprocessor_config.json of a local folder; {} without one."""
    path = Path(name) / "preprocessor_config.json"
    if not path.is_file():
        path = Path(name) / "video_preprocessor_config.json"
    if not path.is_file():
        return {}
    with reading(path, "the config of a preprocessor"):
        content = json.loads(require_file(path, "JSON").read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
