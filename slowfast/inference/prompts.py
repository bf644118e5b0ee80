"""A dual checkpoint that scores the user's sentences in place of classes (zero-shot)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.config.heads import HeadSpec
from slowfast.engine.checkpoint import load_test_weights
from slowfast.inference.clip_transform import ClipTransform
from slowfast.inference.loaded_model import LoadedModel, load_model
from slowfast.models.build import build_model
from slowfast.models.ego_exo import EgoExoModel
from slowfast.models.recognizer import Recognizer
from slowfast.semantics.build import Encode, encode_narrations
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath

HEAD = "prompt"


class PromptModel(nn.Module):
    """A clip -> [(N, K)]: how well each of K sentences fits, soft-max over cosine / temperature."""

    sentences: Tensor

    def __init__(
        self, recognizer: Recognizer, projection: nn.Module, sentences: Tensor, temperature: float
    ) -> None:
        """sentences: (K, D) float32, rows of norm 1."""
        super().__init__()
        self.recognizer = recognizer
        self.projection = projection
        self.temperature = temperature
        self.register_buffer("sentences", sentences)

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        cosines = self.projection(self.recognizer.features(clip)) @ self.sentences.T
        return [(cosines / self.temperature).softmax(1)]


def load_prompt_model(
    path: InputPath, sentences: Sequence[str], encode: Encode = encode_narrations, **options: Any
) -> LoadedModel:
    """As `load_model`, with a single head `prompt` whose classes are the sentences.

    options: as for `load_model`.

    Raises: UserError if the checkpoint is not that of a dual model: only dual models are trained to
    embed clips and sentences in one space.
    """
    loaded = load_model(path, **options)
    dual = build_model(loaded.cfg)
    if not isinstance(dual, EgoExoModel):
        raise UserError(
            f"{path} is of {loaded.cfg.MODEL.MODEL_NAME}, which embeds no sentences; --prompts "
            "needs a checkpoint of a dual model (EgoExoSlowFast)"
        )
    load_test_weights(dual, path, loaded.cfg)
    vectors = torch.from_numpy(encode(list(sentences), loaded.cfg))
    model = PromptModel(dual.ego, dual.ego_projection, vectors, loaded.cfg.SUML.TEMPERATURE)
    device = next(loaded.model.parameters()).device
    heads = (HeadSpec(HEAD, len(sentences), False),)
    return replace(
        loaded,
        model=model.eval().requires_grad_(False).to(device),
        transform=ClipTransform(replace(loaded.transform.settings, heads=heads)),
        heads=heads,
        names={HEAD: tuple(sentences)},
    )
