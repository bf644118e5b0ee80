"""TEST.TASK zero_shot: class names as sentences, compared with the projections of clips.

Legend: n segments, K classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from slowfast.config.heads import ego_heads
from slowfast.datasets.pairing.label_map import readable
from slowfast.datasets.registry import build_source
from slowfast.datasets.types import Segment
from slowfast.engine.testing.outcome import epic_protocol
from slowfast.evaluation.results import recognition_results
from slowfast.models.registry import model_spec
from slowfast.semantics.build import Encode, encode_narrations
from slowfast.utils.errors import UserError


@dataclass(frozen=True)
class ClassSentences:
    """Per head (verb, noun) the embedding of every class: (K, D) rows of norm 1."""

    vectors: tuple[NDArray[np.float32], ...]


def encode_class_names(cfg: CfgNode, encode: Encode = encode_narrations) -> ClassSentences:
    """The class names of the ego data set in the sentences of TEST.ZERO_SHOT, encoded.

    Raises: UserError if the data set has no class names, or not the classes of the model.
    """
    tables = build_source(cfg.EGO.DATASET, cfg, "test", "ego").class_tables()
    vectors = []
    for head, table in zip(ego_heads(cfg), tables, strict=True):
        if table.num_classes != head.num_classes:
            raise UserError(
                f"EGO.DATASET {cfg.EGO.DATASET} names {table.num_classes} {head.name} classes, but"
                f" MODEL.NUM_CLASSES_LIST has {head.num_classes}; set it to the classes of the "
                "data set"
            )
        templates = _prompts(cfg, head.name)
        names = [readable(key) for key in table.keys]
        texts = [template.replace("{}", name) for template in templates for name in names]
        encoded = encode(texts, cfg).reshape(len(templates), len(names), -1).mean(axis=0)
        vectors.append(encoded / np.linalg.norm(encoded, axis=1, keepdims=True))
    return ClassSentences(tuple(vectors))


def _prompts(cfg: CfgNode, head: str) -> list[str]:
    """The sentences of a head's classes, `{}` for the name; the name alone for other heads."""
    zero_shot = cfg.TEST.ZERO_SHOT
    prompts = {"verb": zero_shot.VERB_PROMPTS, "noun": zero_shot.NOUN_PROMPTS}
    return list(prompts.get(head, ["{}"]))


def zero_shot_results(
    cfg: CfgNode,
    classes: ClassSentences,
    projected: NDArray[np.float32],
    segments: Sequence[Segment],
) -> dict[str, Any]:
    """As `recognition_results`; scores are cosines over SUML.TEMPERATURE. projected: (n, D)."""
    scores = [projected @ vectors.T / cfg.SUML.TEMPERATURE for vectors in classes.vectors]
    heads = model_spec(cfg).heads(cfg)
    labels = [
        [s.labels[task][0] if s.labels[task] else -1 for s in segments]
        for task in range(len(heads))
    ]
    results = recognition_results(heads, scores, labels, epic_protocol(cfg, segments))
    return {"task": "zero_shot", **results}
