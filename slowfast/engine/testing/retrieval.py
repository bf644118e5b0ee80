"""TEST.TASK retrieval: EPIC-KITCHENS-100 multi-instance retrieval by features and narrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from slowfast.datasets.sources.frame_lists import list_paths
from slowfast.datasets.sources.sentences import (
    SENTENCES_FILE,
    Described,
    describe_clips,
    describe_sentences,
)
from slowfast.datasets.types import Segment
from slowfast.evaluation.retrieval import (
    ActionClasses,
    chance_retrieval,
    multi_instance_retrieval,
)
from slowfast.semantics.build import Encode, encode_narrations
from slowfast.utils.paths import join, local_path, optional_path


@dataclass(frozen=True)
class RetrievalLists:
    """Clips, in the order of the segments, sentences, and the narration embeddings (m, D)."""

    clips: ActionClasses
    sentences: ActionClasses
    vectors: NDArray[np.float32]


def read_retrieval_lists(
    cfg: CfgNode, segments: Sequence[Segment], encode: Encode = encode_narrations
) -> RetrievalLists:
    """Read TEST.DATA_LIST and TEST.RETRIEVAL.SENTENCES, and encode the sentences.

    Raises: UserError for lists that do not fit, or a missing encoder.
    """
    folder, num_nouns = cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES_LIST[1]
    clips = describe_clips(list_paths(folder, cfg.TEST.DATA_LIST), segments, num_nouns)
    if cfg.TEST.RETRIEVAL.SENTENCES:
        key = "TEST.RETRIEVAL.SENTENCES"
        path: Path | None = local_path(join(folder, cfg.TEST.RETRIEVAL.SENTENCES), key)
    else:
        path = optional_path(join(folder, SENTENCES_FILE), "DATA.PATH_TO_DATA_DIR")
    sentences = describe_sentences(path, segments, clips)
    return RetrievalLists(
        _classes(clips, num_nouns),
        _classes(sentences, num_nouns),
        encode(sentences.texts, cfg),
    )


def retrieval_results(lists: RetrievalLists, projected: NDArray[np.float32]) -> dict[str, Any]:
    """Values in percent, and chance; projected: (n, D) of the clips."""
    return {
        "task": "retrieval",
        "num_segments": len(projected),
        "num_sentences": len(lists.vectors),
        **multi_instance_retrieval(projected, lists.vectors, lists.clips, lists.sentences),
        **chance_retrieval(lists.clips, lists.sentences),
    }


def _classes(items: Described, num_nouns: int) -> ActionClasses:
    return ActionClasses.from_lists(items.verbs, items.nouns, num_nouns)
