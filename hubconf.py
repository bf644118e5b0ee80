"""Models for torch.hub: `torch.hub.load(PATH, NAME, checkpoint=FILE, source="local")`.

Each gives `(model, transform)`: `model(transform(clip))` are probabilities per head for a clip
(frames, height, width, 3) uint8 RGB. PATH is a checkout of this repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

dependencies = ["torch", "fvcore", "yacs", "cv2", "av"]

_CONFIGS = Path(__file__).resolve().parent / "configs"


def slowfast_r101_epic100(checkpoint: str, **options: Any) -> tuple[Any, Any]:
    """SlowFast 8x8 R101 on EPIC-KITCHENS-100: 97 verbs, 300 nouns."""
    return _load("epic-kitchen-100", checkpoint, options)


def slowfast_r101_epic55(checkpoint: str, **options: Any) -> tuple[Any, Any]:
    """SlowFast 8x8 R101 on EPIC-KITCHENS-55: 125 verbs, 352 nouns."""
    return _load("epic-kitchen-55", checkpoint, options)


def suml(checkpoint: str, **options: Any) -> tuple[Any, Any]:
    """The model of any checkpoint that this project wrote, by the config inside it."""
    from slowfast import load_model

    loaded = load_model(checkpoint, **options)
    return loaded.model, loaded.transform


def _load(data: str, checkpoint: str, options: dict[str, Any]) -> tuple[Any, Any]:
    return suml(checkpoint, cfg=_CONFIGS / data / "Ego_Exo_SLOWFAST_8x8_R101.yaml", **options)
