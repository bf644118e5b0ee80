"""Mining as a config asks for it: lists, narrations, class maps, the written table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode

from slowfast.datasets.ego_exo import exo_entry, mining_settings
from slowfast.datasets.pairing.label_map import build_label_map, class_table_paths
from slowfast.datasets.pairing.pairs import IMPORTED, PairTable
from slowfast.datasets.registry import ANNOTATION_REGISTRY
from slowfast.datasets.sources.epic_annotations import read_segments
from slowfast.datasets.sources.lemma_annotations import LemmaAnnotations
from slowfast.datasets.types import Annotations, Segment
from slowfast.semantics.encoder import encode_cached
from slowfast.semantics.ivf_search import IvfSearch, sampled_recall
from slowfast.semantics.label_tiers import ExoLabels
from slowfast.semantics.mining import MiningReport, make_table, mine_pairs, report
from slowfast.semantics.published_pairs import import_pairs
from slowfast.semantics.text_search import Narrations, Search
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

# Sentences and a config -> (n, D) float32, rows of norm 1.
Encode = Callable[[Sequence[str], CfgNode], np.ndarray]


@dataclass(frozen=True)
class MiningInput:
    """The two training lists of a config, with what pairs are mined from.

    exo_labels: None without class tables.
    """

    ego: list[Segment]
    exo: list[Segment]
    ego_text: Narrations
    exo_text: Narrations
    exo_labels: ExoLabels | None


def encode_narrations(texts: Sequence[str], cfg: CfgNode) -> np.ndarray:
    """Embeddings (n, D) float32, rows of norm 1, by SUML.ENCODER, cached in SUML.CACHE_DIR.

    Raises: UserError for an encoder that is not there or whose width is not SUML.EMBED_DIM.
    """
    return encode_cached(
        texts, encoder=cfg.SUML.ENCODER, folder=cfg.SUML.CACHE_DIR, width=cfg.SUML.EMBED_DIM
    )


def mine_from_config(cfg: CfgNode) -> MiningReport:
    """Encode the narrations of the training sets, mine their pairs, write SUML.PAIRS.FILE.

    Needs annotations, not frames. Raises: UserError for bad input.
    """
    settings = mining_settings(cfg)
    search = index_search(cfg) if "index" in settings else None
    given = mining_input(cfg, labels_required=settings["mining"] != "text")
    table = mine_pairs(
        given.ego,
        given.exo,
        given.ego_text,
        given.exo_text,
        settings=settings,
        exo_labels=given.exo_labels,
        search=search,
    )
    return _write(table, given.ego_text, given.exo_text, given.exo_labels is not None, cfg)


def mining_input(cfg: CfgNode, labels_required: bool) -> MiningInput:
    """Read both lists, encode their narrations, map the exo labels.

    Raises: UserError for bad input, and for missing class tables where they are required.
    """
    ego, exo = ego_train_segments(cfg), exo_train_annotations(cfg)
    exo_labels = map_exo_labels(cfg, exo, required=labels_required)
    return MiningInput(ego, exo.segments, *_narrations(ego, exo.segments, cfg), exo_labels)


def index_search(cfg: CfgNode) -> Search:
    """The approximate search of a config; it logs its recall on a sample of the rows.

    Raises: UserError where faiss is not installed.
    """
    ivf = IvfSearch(cfg.SUML.PAIRS.IVF_LISTS, cfg.SUML.PAIRS.IVF_PROBES)
    ivf.require()

    def search(queries: np.ndarray, keys: np.ndarray, k: int) -> np.ndarray:
        found = ivf(queries, keys, k)
        share, rows = sampled_recall(queries, keys, found)
        logger.info(
            "SUML.PAIRS.INDEX ivf finds %.1f %% of the %d nearest exo narrations (sample: %d ego "
            "narrations); raise SUML.PAIRS.IVF_PROBES %d to find more",
            100 * share,
            k,
            rows,
            ivf.probes,
        )
        return found

    return search


def import_from_config(cfg: CfgNode, json_path: Path, text_path: Path | None) -> MiningReport:
    """Write the published pair files as SUML.PAIRS.FILE, with the narrations' embeddings.

    Raises: UserError for bad input, or files that belong to other data.
    """
    ego, exo = ego_train_segments(cfg), exo_train_annotations(cfg)
    if not isinstance(exo, LemmaAnnotations):
        raise UserError(f"published pairs are of lemma, EXO.DATASET is {cfg.EXO.DATASET}")
    indices = import_pairs(json_path, len(ego), exo, text_path)
    exo_labels = map_exo_labels(cfg, exo, required=False)
    ego_text, exo_text = _narrations(ego, exo.segments, cfg)
    settings: dict[str, str | int] = {
        "mining": IMPORTED,
        "top_k": indices.shape[1],
        "encoder": cfg.SUML.ENCODER,
        "label_map": cfg.SUML.PAIRS.LABEL_MAP,
    }
    table = make_table(ego, exo.segments, indices, ego_text, exo_text, settings, exo_labels)
    return _write(table, ego_text, exo_text, exo_labels is not None, cfg)


def ego_train_segments(cfg: CfgNode) -> list[Segment]:
    """The segments of the ego training list, in its order."""
    return read_segments(
        Path(cfg.DATA.PATH_TO_DATA_DIR) / cfg.TRAIN.TRAIN_DATA_LIST,
        epic_100=cfg.DATA.EPIC_100,
        num_classes=cfg.MODEL.NUM_CLASSES_LIST,
        labelled=True,
    )


def exo_train_annotations(cfg: CfgNode) -> Annotations:
    """The exo training set without its frames."""
    annotations: Annotations = exo_entry(ANNOTATION_REGISTRY, cfg)(cfg, "train")
    return annotations


def _narrations(
    ego: Sequence[Segment], exo: Sequence[Segment], cfg: CfgNode
) -> tuple[Narrations, Narrations]:
    """The embedded narrations of both lists; one call, so that the encoder is loaded once."""
    distinct = [list(dict.fromkeys(one.narration for one in view)) for view in (ego, exo)]
    for view, segments in (("ego", ego), ("exo", exo)):
        silent = [segment for segment in segments if not segment.narration.strip()]
        if silent:
            raise UserError(
                f"{len(silent)} {view} segment(s) such as {silent[0].segment_id} have no "
                "narration; SUM-L needs one of every training segment"
            )
    vectors = encode_narrations([*distinct[0], *distinct[1]], cfg)
    parts = vectors[: len(distinct[0])], vectors[len(distinct[0]) :]
    result = []
    for texts, part, segments in zip(distinct, parts, (ego, exo), strict=True):
        row = {text: number for number, text in enumerate(texts)}
        rows = np.array([row[segment.narration] for segment in segments], np.int64)
        result.append(Narrations(part, rows))
    return result[0], result[1]


def map_exo_labels(cfg: CfgNode, exo: Annotations, required: bool) -> ExoLabels | None:
    """The exo labels as ego classes; None without class tables, unless they are required."""
    tables = class_table_paths(Path(cfg.DATA.PATH_TO_DATA_DIR), cfg.DATA.EPIC_100)
    if not required and not all(path.is_file() for path in tables):
        logger.warning(
            "no class tables %s: how far the labels of the pairs agree is not known",
            " and ".join(map(str, tables)),
        )
        return None
    override = Path(cfg.SUML.PAIRS.LABEL_MAP) if cfg.SUML.PAIRS.LABEL_MAP else None
    label_map = build_label_map(exo.class_names, tables, override)
    for kind, mapped, words in zip(
        ("verbs", "nouns"), (label_map.verbs, label_map.nouns), exo.class_names, strict=True
    ):
        without = [word for word, ego in zip(words, mapped, strict=True) if ego is None]
        logger.info(
            "%d of %d exo %s have no ego class: %s",
            len(without),
            len(words),
            kind,
            ", ".join(without),
        )
    verbs, nouns = (
        [[mapped[label] for label in segment.labels[task]] for segment in exo.segments]
        for task, mapped in enumerate((label_map.verbs, label_map.nouns))
    )
    return ExoLabels(verbs, nouns, *cfg.MODEL.NUM_CLASSES_LIST)


def _write(
    table: PairTable, ego_text: Narrations, exo_text: Narrations, labelled: bool, cfg: CfgNode
) -> MiningReport:
    path = Path(cfg.SUML.PAIRS.FILE)
    result = report(table, ego_text, exo_text, cfg.SUML.ALIGN.THRESHOLD, labelled)
    try:
        table.save(path)
    except OSError as error:
        raise UserError(
            f"pair table {path} cannot be written: {error.strerror}; set SUML.PAIRS.FILE"
        ) from error
    for line in result.lines():
        logger.info("%s", line)
    logger.info("pair table %s", path)
    return result
