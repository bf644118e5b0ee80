"""Features of a run that follow from several keys together."""

from fvcore.common.config import CfgNode


def aligns(cfg: CfgNode) -> bool:
    """Whether SUM-L aligns the views with each other."""
    return bool(cfg.SUML.ALIGN.KIND != "none" and cfg.SUML.WEIGHTS.ALIGN > 0)


def aligns_by_factor(cfg: CfgNode) -> bool:
    """Whether SUM-L aligns the views by verb and by noun, with a projection for each."""
    return aligns(cfg) and bool(cfg.SUML.ALIGN.KIND == "factorised")


def uses_exo(cfg: CfgNode) -> bool:
    """Whether SUM-L reads frames of the exo clips.

    Every loss term does, except those whose weight key begins with EGO_.
    """
    weights = {key: weight for key, weight in cfg.SUML.WEIGHTS.items() if key != "ALIGN"}
    others = any(weight > 0 for key, weight in weights.items() if not key.startswith("EGO_"))
    return others or aligns(cfg)


def has_second_exo(cfg: CfgNode) -> bool:
    """Whether a training sample of SUM-L has two exo clips."""
    return aligns_by_factor(cfg) or bool(cfg.SUML.EXO_STREAM)
