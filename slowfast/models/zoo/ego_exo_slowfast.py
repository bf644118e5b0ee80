"""The dual model of SUM-L (arXiv 2308.11489)."""

from __future__ import annotations

from fvcore.common.config import CfgNode

from slowfast.config.derived import aligns, aligns_by_factor
from slowfast.config.heads import ego_heads
from slowfast.models import ego_exo
from slowfast.models.build import build_recognizer, initialise
from slowfast.models.published_names import EXO_HEAD
from slowfast.models.registry import register_model
from slowfast.models.zoo.slowfast import MultiTaskSlowFast, head_layers, slowfast_backbone


@register_model(views=("ego", "exo"), heads=ego_heads, tested_as="MultiTaskSlowFast")
def EgoExoSlowFast(cfg: CfgNode) -> ego_exo.EgoExoSlowFast:
    """MultiTaskSlowFast and an exo half; parts whose losses all weigh 0 are not used."""
    counts = cfg.EXO.NUM_CLASSES_LIST
    layers = head_layers(EXO_HEAD, len(counts))
    weights = cfg.SUML.WEIGHTS
    by_factor = aligns_by_factor(cfg)
    by_clip = aligns(cfg) and not by_factor
    ego = MultiTaskSlowFast(cfg)
    model = ego_exo.EgoExoSlowFast(
        ego,
        build_recognizer(cfg, slowfast_backbone(cfg, frozen_stages=0), counts, layers, "sigmoid"),
        cfg.SUML.EMBED_DIM,
        use_exo_head=weights.EXO_CLS > 0,
        use_ego_projection=by_clip or weights.EGO_TEXT > 0,
        use_exo_projection=by_clip or weights.EXO_TEXT > 0,
        by_factor=by_factor,
    )
    for projection in model.projections:
        initialise(projection, cfg)
    return model
