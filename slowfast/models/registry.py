"""Models by MODEL.MODEL_NAME, with a description of what each supports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fvcore.common.config import CfgNode
from torch import nn

from slowfast.config.heads import HeadSpec
from slowfast.utils.registry import Registry

Build = Callable[[CfgNode], nn.Module]
BuildT = TypeVar("BuildT", bound=Build)


@dataclass(frozen=True)
class ModelSpec:
    """Inputs and outputs of a model; other code reads these fields, never the model's name.

    build: the model on the CPU, with initial weights.
    views: the halves of the data that it is trained on, `ego`, `exo` or both; the first one is
        validated and tested.
    heads: the classification heads of that view.
    losses: values of MODEL.LOSS_FUNC that its heads train with.
    tested_as: name of the model that is tested instead (the ego half of a dual model); empty: the
        same model.
    """

    name: str
    build: Build
    views: tuple[str, ...]
    heads: Callable[[CfgNode], tuple[HeadSpec, ...]]
    losses: tuple[str, ...]
    tested_as: str = ""

    @property
    def view(self) -> str:
        """The view that is validated and tested."""
        return self.views[0]

    @property
    def is_dual(self) -> bool:
        """Whether it takes an ego and an exo clip in training."""
        return len(self.views) == 2


MODEL_REGISTRY: Registry[ModelSpec] = Registry(
    "model", "MODEL.MODEL_NAME", package="slowfast.models.zoo"
)


def register_model(
    *,
    views: tuple[str, ...],
    heads: Callable[[CfgNode], tuple[HeadSpec, ...]],
    losses: tuple[str, ...] = ("cross_entropy", "bce_logit"),
    tested_as: str = "",
) -> Callable[[BuildT], BuildT]:
    """Register a builder under its own name; arguments as the fields of `ModelSpec`."""

    def register(build: BuildT) -> BuildT:
        name = build.__name__
        MODEL_REGISTRY.add(name, ModelSpec(name, build, views, heads, losses, tested_as))
        return build

    return register


def model_spec(cfg: CfgNode) -> ModelSpec:
    """The spec of MODEL.MODEL_NAME. Raises: UserError for an unknown name."""
    return MODEL_REGISTRY.get(cfg.MODEL.MODEL_NAME)
