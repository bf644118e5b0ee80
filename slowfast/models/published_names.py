"""Names and order of the weights in published checkpoints.

Inside a backbone our names are the published ones. A model that was never published keeps its
names.
"""

from __future__ import annotations

from torch import Tensor, nn

from slowfast.models.ego_exo import EgoExoModel
from slowfast.models.recognizer import Recognizer

# Stages of the published dual model, in its order: the halves alternate, exo names end in _t.
_DUAL_STAGES = (
    *("s1", "s1_fuse", "s2", "s2_fuse", "s1_t", "s1_fuse_t", "s2_t", "s2_fuse_t"),
    *("s3", "s3_fuse", "s3_t", "s3_fuse_t"),
    *("s4", "s4_fuse", "s5", "s4_t", "s4_fuse_t", "s5_t"),
)
EXO_HEAD = "head_lemma"
# Start of the head's name of a further exo set (EXO.MORE), followed by the name of the set.
EXO_SET_HEAD = "head_exo_"
# Head of a model of the exo view alone.
EXO_ONLY_HEAD = "readout"
# Projections by verb and by noun, which were never published, are named like the published ones.
EGO_PROJECTIONS = {
    f"ego_{kind}projection": f"global_con_head.fpv_{published}_proj"
    for kind, published in (("", "global"), ("verb_", "verb"), ("noun_", "noun"))
}
EXO_PROJECTIONS = {
    name.replace("ego", "exo"): published.replace("fpv", "tpv")
    for name, published in EGO_PROJECTIONS.items()
}
PROJECTIONS = EGO_PROJECTIONS | EXO_PROJECTIONS


def to_published(model: nn.Module) -> dict[str, str]:
    """Our name of every parameter and buffer -> the published one, in the published order."""
    names = list(model.state_dict())
    if isinstance(model, Recognizer):
        return {name: _in_recognizer(model, name) for name in names}
    if isinstance(model, EgoExoModel):
        if model.shares_backbone:
            # Its weights are those of the ego half.
            names = [name for name in names if not name.startswith("exo.backbone.")]
        renamed = {name: _in_dual(model, name) for name in names}
        return dict(sorted(renamed.items(), key=lambda item: _dual_rank(item[1])))
    return {name: name for name in names}


def published_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The weights and buffers of the model (not copied) under their published names."""
    state = model.state_dict()
    return {published: state[name] for name, published in to_published(model).items()}


def published_parameter_order(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """(published name, parameter) of every parameter, in the published order."""
    parameters = dict(model.named_parameters())
    return [
        (published, parameters[name])
        for name, published in to_published(model).items()
        if name in parameters
    ]


def _in_recognizer(recognizer: Recognizer, name: str) -> str:
    part, rest = name.split(".", 1)
    if part == "backbone":
        # A parameter of the backbone itself (a class token) belongs to no stage; SlowFast has none.
        return rest if "." in rest else f"backbone.{rest}"
    if not rest.startswith("projections."):
        # A probe, which no published model has.
        return f"{recognizer.published_layers[0].partition('.')[0]}.{rest}"
    task, leaf = rest.removeprefix("projections.").split(".")
    return f"{recognizer.published_layers[int(task)]}.{leaf}"


def _in_dual(model: EgoExoModel, name: str) -> str:
    part, rest = name.split(".", 1)
    if part in PROJECTIONS:
        return f"{PROJECTIONS[part]}.{rest.removeprefix('linear.')}"
    published = _in_recognizer(model.get_submodule(part), rest)  # type: ignore[arg-type]
    if part == "ego" or rest.startswith("head."):
        return published
    stage, leaf = published.split(".", 1)
    return f"{stage}_t.{leaf}"


def _dual_rank(published: str) -> int:
    """Position of the weight's stage; other names keep their order at the end."""
    stage = published.split(".")[0]
    return _DUAL_STAGES.index(stage) if stage in _DUAL_STAGES else len(_DUAL_STAGES)
