"""The exo verbs and nouns as ego classes, from a config.

Legend: m exo segments, K ego classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fvcore.common.config import CfgNode

from slowfast.config.exo_sources import exo_sources
from slowfast.config.heads import ego_heads, exo_heads
from slowfast.datasets.pairing.label_map import (
    TIER_HEADS,
    ClassMap,
    ClassNamesMissing,
    ClassTable,
    ExoClasses,
    build_label_map,
)
from slowfast.datasets.registry import build_source
from slowfast.datasets.types import Annotations, UnionAnnotations
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


def label_maps(cfg: CfgNode, exo: Annotations) -> tuple[ClassMap, ...]:
    """Per head, verb and noun, the ego class of every class of one exo set.

    Raises: ClassNamesMissing if a view has no verbs and nouns, or no names for its classes;
        UserError for a label map that cannot be used.
    """
    return vocabularies(cfg, exo).maps(cfg.SUML.PAIRS.LABEL_MAP or None)


def ego_labels(cfg: CfgNode, exo: Annotations) -> tuple[ExoClasses, ...]:
    """Per head, verb and noun, the ego classes of every segment of one exo set.

    Raises: ClassNamesMissing if a view has no verbs and nouns, or no names for its classes.
    """
    labels = []
    for head, classes in enumerate(label_maps(cfg, exo)):
        _log_unmapped(TIER_HEADS[head], exo.class_names[head], classes)
        labels.append([[classes[label] for label in s.labels[head]] for s in exo.segments])
    return tuple(labels)


def shared_classes(cfg: CfgNode, exo: UnionAnnotations) -> list[np.ndarray] | None:
    """The ego classes by which clips of several exo sets are compared.

    The segments of a set whose labels cannot be compared have none; the log names it.

    Returns: per head, verb and noun, multi-hot (m, K) bool; None if no set has any.
    """
    of_sets = []
    for source, part in zip(exo_sources(cfg), exo.parts, strict=True):
        try:
            of_sets.append(ego_labels(source.cfg, part))
        except ClassNamesMissing as error:
            logger.warning(
                "SUML.NEGATIVES %s does not compare exo set %s with others: %s",
                cfg.SUML.NEGATIVES,
                source.name or "EXO",
                error,
            )
            of_sets.append(((((),) * len(part.segments)),) * len(TIER_HEADS))
    heads = ego_heads(cfg)[: len(TIER_HEADS)]
    if not any(any(classes) for of_set in of_sets for classes in of_set):
        return None
    return [
        multi_hot([classes for part in parts for classes in part], head.num_classes)
        for head, parts in zip(heads, zip(*of_sets, strict=True), strict=True)
    ]


def multi_hot(classes: ExoClasses, count: int) -> np.ndarray:
    """Ego classes per segment as (m, K) bool; labels without an ego class are left out."""
    has = np.zeros((len(classes), count), bool)
    for segment, labels in enumerate(classes):
        has[segment, [label for label in labels if label is not None]] = True
    return has


def vocabularies(cfg: CfgNode, exo: Annotations) -> Vocabularies:
    """Names of the verbs and nouns of both views, from a config.

    Raises: ClassNamesMissing if a view lacks the heads verb and noun, or names for its classes.
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
