"""The exo verbs and nouns as ego classes, for mining."""

from __future__ import annotations

import logging

from fvcore.common.config import CfgNode

from slowfast.config.exo_sources import exo_sources
from slowfast.config.heads import ego_heads
from slowfast.datasets.pairing.ego_labels import ego_labels
from slowfast.datasets.pairing.label_map import ClassNamesMissing
from slowfast.datasets.types import Annotations, UnionAnnotations
from slowfast.semantics.label_tiers import ExoLabels
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)


def map_exo_labels(cfg: CfgNode, exo: Annotations, required: bool) -> ExoLabels | None:
    """The exo verbs and nouns as ego classes.

    None if a view has no verbs and nouns, or no names for its classes.
    Raises: UserError if they are required and missing.
    """
    if isinstance(exo, UnionAnnotations):
        sets = zip(exo_sources(cfg), exo.parts, strict=True)
        of_sets = [map_exo_labels(source.cfg, part, required) for source, part in sets]
        known = [labels for labels in of_sets if labels is not None]
        return ExoLabels.joined(known) if len(known) == len(of_sets) else None
    try:
        verbs, nouns = ego_labels(cfg, exo)
    except ClassNamesMissing as error:
        if required:
            raise UserError(
                f"SUML.PAIRS.MINING {cfg.SUML.PAIRS.MINING} compares labels, but {error}, or set"
                " SUML.PAIRS.MINING text"
            ) from error
        logger.info("labels of the pairs are not compared: %s", error)
        return None
    verb, noun = ego_heads(cfg)[:2]
    return ExoLabels(verbs, nouns, verb.num_classes, noun.num_classes)
