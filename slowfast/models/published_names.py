"""Names and order of the weights in published checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from slowfast.models.ego_exo import EgoExoSlowFast
from slowfast.models.recognizer import Recognizer

# Published order of the dual model's stages: the halves take turns.
_DUAL_STAGES = (
    *("ego.s1", "ego.s1_fuse", "ego.s2", "ego.s2_fuse"),
    *("exo.s1", "exo.s1_fuse", "exo.s2", "exo.s2_fuse"),
    *("ego.s3", "ego.s3_fuse", "exo.s3", "exo.s3_fuse"),
    *("ego.s4", "ego.s4_fuse", "ego.s5", "exo.s4", "exo.s4_fuse", "exo.s5"),
)
EXO_HEAD = "head_lemma"
EGO_PROJECTION = "global_con_head.fpv_global_proj"
EXO_PROJECTION = "global_con_head.tpv_global_proj"


def _prefixes(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Our module prefix and the published one, in the published order."""
    if isinstance(model, EgoExoSlowFast):
        for name in _DUAL_STAGES:
            half, stage = name.split(".")
            yield f"{half}.backbone.{stage}.", f"{stage}{'_t' if half == 'exo' else ''}."
        yield "ego.head.", f"{model.ego.published_head}."
        yield "exo.head.", f"{EXO_HEAD}."
        yield "ego_projection.linear.", f"{EGO_PROJECTION}."
        yield "exo_projection.linear.", f"{EXO_PROJECTION}."
    elif isinstance(model, Recognizer):
        yield "backbone.", ""
        yield "head.", f"{model.published_head}."
    else:
        raise TypeError(f"{type(model).__name__} has no published names")


def to_published(model: nn.Module) -> dict[str, str]:
    """Our name of every parameter and buffer -> the published one, in the published order."""
    names = list(model.state_dict())
    return {
        name: published + name.removeprefix(ours)
        for ours, published in _prefixes(model)
        for name in names
        if name.startswith(ours)
    }


def published_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The weights and buffers of the model (not copied) under their published names."""
    state = model.state_dict()
    return {published: state[name] for name, published in to_published(model).items()}


def published_parameter_order(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """(published name, parameter) in the published order."""
    parameters = dict(model.named_parameters())
    return [
        (published, parameters[name])
        for name, published in to_published(model).items()
        if name in parameters
    ]
