"""The task that a config trains."""

from __future__ import annotations

from fvcore.common.config import CfgNode

from slowfast.config.derived import aligns, uses_exo
from slowfast.datasets.from_cfg import device_transform
from slowfast.losses.classification import cross_entropy, multilabel
from slowfast.models.registry import model_spec
from slowfast.tasks.base import Task
from slowfast.tasks.ego_exo_alignment import AlignmentSettings, EgoExoAlignmentTask
from slowfast.tasks.recognition import RecognitionTask
from slowfast.utils.seeding import Stream

_CRITERIA = {"cross_entropy": cross_entropy, "bce_logit": multilabel}


def build_task(cfg: CfgNode) -> Task:
    """SUM-L for the dual model, recognition from one view for every other."""
    spec = model_spec(cfg)
    if spec.is_dual:
        ego, exo = (device_transform(cfg, view) for view in ("ego", "exo"))
        return EgoExoAlignmentTask(_alignment(cfg), ego, exo, cfg.RNG_SEED)
    return RecognitionTask(
        heads=tuple(head.name for head in spec.heads(cfg)),
        criterion=_CRITERIA[cfg.MODEL.LOSS_FUNC],
        transform=device_transform(cfg, spec.view),
        seed=cfg.RNG_SEED,
        stream=Stream.EXO_DROPOUT if spec.view == "exo" else Stream.EGO_DROPOUT,
    )


def _alignment(cfg: CfgNode) -> AlignmentSettings:
    suml, align, weights = cfg.SUML, cfg.SUML.ALIGN, cfg.SUML.WEIGHTS
    queue = cfg.SUML.QUEUE
    return AlignmentSettings(
        temperature=suml.TEMPERATURE,
        kind=align.KIND,
        threshold=align.THRESHOLD,
        sigma=align.SIGMA,
        margin=align.MARGIN,
        relevance=align.RELEVANCE,
        negatives=suml.NEGATIVES,
        text_negatives=suml.TEXT_NEGATIVES,
        queue=queue.SIZE,
        queue_momentum=queue.MOMENTUM,
        gather=suml.GATHER,
        aligns=aligns(cfg),
        uses_exo=uses_exo(cfg),
        exo_cls=weights.EXO_CLS,
        align=weights.ALIGN,
        ego_text=weights.EGO_TEXT,
        exo_text=weights.EXO_TEXT,
    )
