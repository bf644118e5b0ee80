"""TEST.TASK zero_shot: class names as sentences, compared with the projections of clips.

Legend: n segments, K classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from slowfast.datasets.pairing.label_map import class_table_paths, read_class_table
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
    """The classes of the public tables in the sentences of TEST.ZERO_SHOT, encoded.

    Raises: UserError where a table is missing or has other classes than the model.
    """
    folder = Path(cfg.DATA.PATH_TO_DATA_DIR)
    tables = class_table_paths(folder, cfg.DATA.EPIC_100)
    prompts = (cfg.TEST.ZERO_SHOT.VERB_PROMPTS, cfg.TEST.ZERO_SHOT.NOUN_PROMPTS)
    vectors = []
    for path, count, templates in zip(tables, cfg.MODEL.NUM_CLASSES_LIST, prompts, strict=True):
        names = [readable(key) for key in read_class_table(path).keys]
        if len(names) != count:
            raise UserError(
                f"{path} has {len(names)} classes, MODEL.NUM_CLASSES_LIST says {count}; set it to "
                "what the table has"
            )
        texts = [template.replace("{}", name) for template in templates for name in names]
        encoded = encode(texts, cfg).reshape(len(templates), count, -1).mean(axis=0)
        vectors.append(encoded / np.linalg.norm(encoded, axis=1, keepdims=True))
    return ClassSentences(tuple(vectors))


def readable(key: str) -> str:
    """A class key in words: `put-down` is put down, `board:chopping` is chopping board."""
    return " ".join(reversed(key.split(":"))).replace("-", " ")


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
