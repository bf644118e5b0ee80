"""Load the tested part of a checkpoint, with the transform and the class names it needs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import nn

from slowfast.config.heads import HeadSpec
from slowfast.config.load import load_config, saved_config
from slowfast.datasets.from_cfg import clip_settings
from slowfast.datasets.names import class_names, evaluated_source
from slowfast.engine.checkpoint import read_checkpoint
from slowfast.engine.checkpoints.checkpoint_file import CheckpointFile
from slowfast.engine.checkpoints.start import load_test_weights
from slowfast.inference.clip_transform import ClipTransform
from slowfast.models.build import build_test_model
from slowfast.models.registry import model_spec
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath

logger = logging.getLogger(__name__)

# Settings for classifying single clips, whatever those of the run.
_OVERRIDES = (
    *("TEST.NO_ACT", "False", "MODEL.COMPILE", "False", "MODEL.SPEED_OPTIONS", "as_set"),
    *("DATA.RESIZE_ON", "worker"),
)


class Label(NamedTuple):
    """One answer of a head: the class, its id, and its probability."""

    name: str
    class_id: int
    probability: float


@dataclass(frozen=True)
class LoadedModel:
    """The model that a test would run, ready for clips in memory.

    model: in eval mode; `model(transform(clip))` gives probabilities, [(N, K) per head].
    transform: from a clip (L, H, W, 3) uint8 to the model's input.
    heads: one per score tensor. names: per head the name of every class.
    frame_rate: frames per second that the model's clips were sampled from; None: not known.
    cfg: the config that the model was built with.
    """

    model: nn.Module
    transform: ClipTransform
    heads: tuple[HeadSpec, ...]
    names: Mapping[str, tuple[str, ...]]
    frame_rate: float | None
    cfg: CfgNode

    @torch.inference_mode()
    def labels(
        self, clip: np.ndarray, top: int = 5, channel_order: str = "rgb"
    ) -> dict[str, list[Label]]:
        """The most probable classes of one clip per head, best first.

        clip: (L, H, W, 3) uint8, L frames at the frame rate of the training videos.
        channel_order: of the clip, rgb or bgr.

        Raises: UserError for an array of another shape or type.
        """
        device = next(self.model.parameters()).device
        pathways = [x.to(device) for x in self.transform(clip, channel_order)]
        scores = {h.name: s[0].cpu() for h, s in zip(self.heads, self.model(pathways), strict=True)}
        return {name: self._best(name, row, top) for name, row in scores.items()}

    def _best(self, head: str, scores: torch.Tensor, top: int) -> list[Label]:
        values, ids = scores.topk(min(top, len(scores)))
        pairs = zip(values.tolist(), ids.tolist(), strict=True)
        return [Label(self.names[head][k], k, value) for value, k in pairs]


def load_model(
    path: InputPath,
    *,
    cfg: str | Path | None = None,
    overrides: Sequence[Any] = (),
    device: str | torch.device = "cpu",
) -> LoadedModel:
    """Load the model of a checkpoint; every weight comes from the file.

    path: .pyth or .safetensors file, or its URL; of a dual model the ego half is loaded.
    cfg: YAML file of the model; None: the config in the checkpoint.
    overrides: `[KEY, VALUE, ...]` over it.

    Raises: UserError for a file that cannot be read or does not have all weights, for a model of
        stored features, and where the file holds no config and `cfg` names none.
    """
    checkpoint = read_checkpoint(path, key="path")
    settings = _config(checkpoint, path, cfg, [*overrides, *_OVERRIDES])
    if settings.TRAIN.ON_FEATURES:
        raise UserError(
            f"{path} is of a model of stored features (MODEL.BACKBONE {settings.MODEL.BACKBONE}),"
            " which takes no frames; test it with tools/run_net.py on FEATURES.EGO, or name a"
            " checkpoint of a model of frames"
        )
    model = build_test_model(settings)
    load_test_weights(model, path, settings)
    spec = model_spec(settings)
    heads = spec.heads(settings)
    return LoadedModel(
        model=model.eval().requires_grad_(False).to(device),
        transform=ClipTransform(clip_settings(settings, spec.view, heads)),
        heads=heads,
        names=_names(checkpoint, settings, spec.view, heads),
        frame_rate=evaluated_source(settings, spec.view).frame_rate,
        cfg=settings,
    )


def _config(
    checkpoint: CheckpointFile, path: InputPath, cfg: str | Path | None, overrides: Sequence[Any]
) -> CfgNode:
    if cfg is not None:
        return load_config(cfg, overrides)
    if not checkpoint.cfg_text:
        raise UserError(f"{path} holds no config; name the YAML file of its model (cfg, --cfg)")
    return saved_config(checkpoint.cfg_text, str(path), overrides)


def _names(
    checkpoint: CheckpointFile, cfg: CfgNode, view: str, heads: Sequence[HeadSpec]
) -> dict[str, tuple[str, ...]]:
    """The class names in the file, else those of the data set, else numbers (`verb 3`)."""
    saved = checkpoint.extra.get("class_names") or class_names(cfg, view, heads)
    names = {}
    for head in heads:
        found = tuple(saved.get(head.name, ()))
        if len(found) != head.num_classes:
            logger.warning("no names for the %d classes of head %s", head.num_classes, head.name)
            found = tuple(f"{head.name} {k}" for k in range(head.num_classes))
        names[head.name] = found
    return names
