"""The exo verbs and nouns as ego classes, from a config."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from fvcore.common.config import CfgNode

from slowfast.config.exo_sources import exo_sources
from slowfast.config.heads import ego_heads, exo_heads
from slowfast.datasets.pairing.label_map import (
    ClassMap,
    ClassNamesMissing,
    ClassTable,
    build_label_map,
)
from slowfast.datasets.registry import build_source
from slowfast.datasets.types import Annotations, UnionAnnotations
from slowfast.semantics.label_tiers import TIER_HEADS, ExoLabels
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Vocabularies:
    """The verbs and nouns of both views; every field is by head.

    exo: name of every exo class. ego: the ego class tables. exo_words: the exo class tables, or ().
    """

    exo: tuple[tuple[str, ...], ...]
    ego: tuple[ClassTable, ...]
    exo_words: tuple[ClassTable, ...]

    def maps(self, override: InputPath | None = None) -> tuple[ClassMap, ...]:
        """Ego class by exo class; arguments and errors as in `build_label_map`."""
        return build_label_map(self.exo, self.ego, override, TIER_HEADS, self.exo_words)


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
        maps = vocabularies(cfg, exo).maps(cfg.SUML.PAIRS.LABEL_MAP or None)
    except ClassNamesMissing as error:
        if required:
            raise UserError(
                f"SUML.PAIRS.MINING {cfg.SUML.PAIRS.MINING} compares labels, but {error}, or set"
                " SUML.PAIRS.MINING text"
            ) from error
        logger.info("labels of the pairs are not compared: %s", error)
        return None
    labels: list[list[list[int | None]]] = []
    for head, classes in enumerate(maps):
        _log_unmapped(TIER_HEADS[head], exo.class_names[head], classes)
        labels.append([[classes[label] for label in s.labels[head]] for s in exo.segments])
    verb, noun = ego_heads(cfg)[: len(TIER_HEADS)]
    return ExoLabels(labels[0], labels[1], verb.num_classes, noun.num_classes)


def vocabularies(cfg: CfgNode, exo: Annotations) -> Vocabularies:
    """The verbs and nouns of a config.

    Raises: ClassNamesMissing if a view has no verbs and nouns, or no names for its classes.
    """
    for section, heads in (("MODEL", ego_heads(cfg)), ("EXO", exo_heads(cfg))):
        names = tuple(head.name for head in heads)
        if names[: len(TIER_HEADS)] != TIER_HEADS:
            raise ClassNamesMissing(
                f"{section}.HEAD_NAMES is {list(names)}; to compare them, name the heads"
                f" {' and '.join(TIER_HEADS)} first"
            )
    if not exo.class_names:
        raise ClassNamesMissing(
            f"EXO.DATASET {cfg.EXO.DATASET} has no names for its classes; to compare them, give its"
            " annotations `class_names`"
        )
    count = len(TIER_HEADS)
    tables = build_source(cfg.EGO.DATASET, cfg, "train", "ego").class_tables()
    return Vocabularies(exo.class_names[:count], tables[:count], _exo_tables(cfg))


def _exo_tables(cfg: CfgNode) -> tuple[ClassTable, ...]:
    """The class tables of the exo set; () if it only names its classes."""
    try:
        return build_source(cfg.EXO.DATASET, cfg, "train", "exo").class_tables()
    except ClassNamesMissing:
        return ()


def _log_unmapped(head: str, names: Sequence[str], classes: ClassMap) -> None:
    without = [name for name, ego in zip(names, classes, strict=True) if ego is None]
    logger.info(
        "%d of %d exo %ss have no ego class: %s",
        len(without),
        len(names),
        head,
        ", ".join(without),
    )
