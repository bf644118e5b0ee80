"""The dual model of SUM-L (arXiv 2308.11489)."""

from __future__ import annotations

from fvcore.common.config import CfgNode

from slowfast.config.derived import aligns_by_factor
from slowfast.config.exo_sources import exo_sources
from slowfast.config.heads import ego_heads, exo_heads
from slowfast.models.build import build_recognizer, initialise
from slowfast.models.ego_exo import EgoExoModel
from slowfast.models.published_names import EXO_HEAD, EXO_SET_HEAD
from slowfast.models.recognizer import Recognizer
from slowfast.models.registry import register_model
from slowfast.models.zoo.slowfast import MultiTaskSlowFast, build_backbone, head_layers


@register_model(views=("ego", "exo"), heads=ego_heads, tested_as="MultiTaskSlowFast")
def EgoExoSlowFast(cfg: CfgNode) -> EgoExoModel:
    """MultiTaskSlowFast and an exo half with the heads of all exo sets."""
    counts = [head.num_classes for head in exo_heads(cfg)]
    layers = head_layers(EXO_HEAD, len(cfg.EXO.NUM_CLASSES_LIST))
    for source in exo_sources(cfg)[1:]:
        layers += head_layers(EXO_SET_HEAD + source.name, len(source.cfg.EXO.NUM_CLASSES_LIST))
    ego = MultiTaskSlowFast(cfg)
    shared = ego.backbone if cfg.MODEL.SHARE_BACKBONE else None
    backbone = shared or build_backbone(cfg, "exo", second=True)
    exo = build_recognizer(cfg, backbone, counts, layers, "sigmoid", is_built=shared is not None)
    return dual_model(cfg, ego, exo)


def dual_model(cfg: CfgNode, ego: Recognizer, exo: Recognizer) -> EgoExoModel:
    """Two initialised recognisers, with projections to SUML.EMBED_DIM."""
    model = EgoExoModel(ego, exo, cfg.SUML.EMBED_DIM, by_factor=aligns_by_factor(cfg))
    for projection in model.projections:
        initialise(projection, cfg)
    return model
