"""Properties of a run that follow from several keys together."""

from fvcore.common.config import CfgNode

from slowfast.config.clip_geometry import OWN

# Values of SUML.NEGATIVES under which clips mean the same by their labels.
BY_LABEL = ("drop_same_label", "multi_positive")


def backbone_of(cfg: CfgNode, view: str) -> str:
    """Name of the backbone of a view: MODEL.BACKBONE, for `exo` EXO.BACKBONE if it is set."""
    exo = cfg.EXO.BACKBONE if view == "exo" else ""
    return str(exo or cfg.MODEL.BACKBONE)


def alpha_of(cfg: CfgNode, view: str) -> int:
    """Frame-rate ratio of the fast to the slow pathway of a view.

    SLOWFAST.ALPHA for SlowFast. Other backbones only use the fast pathway, so the slow one has a
    single frame.
    """
    if backbone_of(cfg, view) == OWN:
        return int(cfg.SLOWFAST.ALPHA)
    return int((cfg.EXO if view == "exo" else cfg.DATA).NUM_FRAMES)


def data_workers(cfg: CfgNode) -> int:
    """Processes that make batches. Features are in memory, so others would only copy them."""
    return 0 if cfg.TRAIN.ON_FEATURES else int(cfg.DATA_LOADER.NUM_WORKERS)


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


def compares_labels(cfg: CfgNode) -> bool:
    """Whether clips of SUM-L mean the same by their labels."""
    return cfg.SUML.NEGATIVES in BY_LABEL


def has_second_exo(cfg: CfgNode) -> bool:
    """Whether a training sample of SUM-L has two exo clips."""
    return aligns_by_factor(cfg) or bool(cfg.SUML.EXO_STREAM)
