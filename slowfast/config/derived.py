"""What several keys together ask for."""

from fvcore.common.config import CfgNode


def aligns(cfg: CfgNode) -> bool:
    """Whether SUM-L ties the views to each other."""
    return bool(cfg.SUML.ALIGN.KIND != "none" and cfg.SUML.WEIGHTS.ALIGN > 0)


def aligns_by_factor(cfg: CfgNode) -> bool:
    """Whether it ties them by verb and by noun, with projections of their own."""
    return aligns(cfg) and bool(cfg.SUML.ALIGN.KIND == "factorised")


def uses_exo(cfg: CfgNode) -> bool:
    """Whether a term of SUM-L needs the exo clips."""
    weights = cfg.SUML.WEIGHTS
    return aligns(cfg) or bool(weights.EXO_CLS > 0 or weights.EXO_TEXT > 0)


def has_second_exo(cfg: CfgNode) -> bool:
    """Whether a training sample of SUM-L has two exo clips."""
    return aligns_by_factor(cfg) or bool(cfg.SUML.EXO_STREAM)
