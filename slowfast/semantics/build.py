"""Mining from a config: reads lists, narrations and class maps, writes the pair table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode

from slowfast.config.exo_sources import exo_sources
from slowfast.config.heads import ego_heads
from slowfast.datasets.ego_exo import mining_settings
from slowfast.datasets.from_cfg import checked_annotations
from slowfast.datasets.names import class_names
from slowfast.datasets.pairing.exo_mix import ExoMix
from slowfast.datasets.pairing.label_map import TIER_HEADS
from slowfast.datasets.pairing.pairs import IMPORTED, PairTable
from slowfast.datasets.registry import build_source
from slowfast.datasets.types import Annotations, ImageListAnnotations, Segment
from slowfast.semantics.encoder import encode_cached
from slowfast.semantics.exo_labels import map_exo_labels
from slowfast.semantics.ivf_search import IvfSearch, sampled_recall
from slowfast.semantics.label_tiers import ExoLabels
from slowfast.semantics.mining import make_table, mine_pairs
from slowfast.semantics.mining_report import MiningReport, report
from slowfast.semantics.pair_details import pair_details
from slowfast.semantics.paired import paired_candidates
from slowfast.semantics.published_pairs import import_pairs
from slowfast.semantics.text_search import Narrations, Search
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, input_path

logger = logging.getLogger(__name__)

# Sentences and a config -> (n, D) float32, rows of norm 1.
Encode = Callable[[Sequence[str], CfgNode], np.ndarray]


@dataclass(frozen=True)
class MiningInput:
    """The two training lists of a config, with the embeddings and labels that mining uses.

    exo_labels: None without class tables.
    """

    ego: list[Segment]
    exo: list[Segment]
    ego_text: Narrations
    exo_text: Narrations
    exo_labels: ExoLabels | None


def encode_narrations(texts: Sequence[str], cfg: CfgNode) -> np.ndarray:
    """Embeddings (n, D) float32, rows of norm 1, by SUML.ENCODER, cached in SUML.CACHE_DIR.

    Raises: UserError for an encoder that is missing or whose width is not SUML.EMBED_DIM.
    """
    return encode_cached(
        texts, encoder=cfg.SUML.ENCODER, folder=cfg.SUML.CACHE_DIR, width=cfg.SUML.EMBED_DIM
    )


def mine_from_config(cfg: CfgNode) -> MiningReport:
    """Encode the narrations of the training sets, mine or read their pairs, write SUML.PAIRS.FILE.

    Needs annotations, not frames. Raises: UserError for bad input.
    """
    _written_table(cfg)
    settings = mining_settings(cfg)
    search = index_search(cfg) if "index" in settings else None
    given = mining_input(cfg, labels_required=settings["mining"] not in ("text", "paired"))
    if settings["mining"] == "paired":
        pairs = cfg.SUML.PAIRS
        path, columns = input_path(pairs.PAIRED_FILE), pairs.PAIRED_COLUMNS
        indices = paired_candidates(path, columns, given.ego, given.exo)
        lists = (given.ego_text, given.exo_text)
        table = make_table(given.ego, given.exo, indices, *lists, settings, given.exo_labels)
        return _write(table, given, cfg)
    table = mine_pairs(
        given.ego,
        given.exo,
        given.ego_text,
        given.exo_text,
        settings=settings,
        exo_labels=given.exo_labels,
        search=search,
    )
    return _write(table, given, cfg)


def mining_input(cfg: CfgNode, labels_required: bool) -> MiningInput:
    """Read both lists, encode their narrations, map the exo labels.

    Raises: UserError for bad input, and for missing class tables if they are required.
    """
    ego, exo = ego_train_segments(cfg), exo_train_annotations(cfg)
    exo_labels = map_exo_labels(cfg, exo, required=labels_required)
    return MiningInput(ego, exo.segments, *_narrations(ego, exo.segments, cfg), exo_labels)


def index_search(cfg: CfgNode) -> Search:
    """The approximate search of a config; logs its recall on a sample of the rows.

    Raises: UserError if faiss is not installed.
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


def import_from_config(
    cfg: CfgNode, json_path: InputPath, text_path: InputPath | None
) -> MiningReport:
    """Write the published pair files as SUML.PAIRS.FILE, with the narrations' embeddings.

    Raises: UserError for bad input, or files that belong to other data.
    """
    _written_table(cfg)
    ego, exo = ego_train_segments(cfg), exo_train_annotations(cfg)
    if not isinstance(exo, ImageListAnnotations):
        raise UserError(
            f"published pairs refer to image files, but EXO.DATASET {cfg.EXO.DATASET} does not list"
            " any; set it to the data set that the pairs were mined from"
        )
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
    return _write(table, MiningInput(ego, exo.segments, ego_text, exo_text, exo_labels), cfg)


def ego_train_segments(cfg: CfgNode) -> list[Segment]:
    """The segments of the ego training set, in its order."""
    return checked_annotations(build_source(cfg.EGO.DATASET, cfg, "train", "ego")).segments


def exo_train_annotations(cfg: CfgNode) -> Annotations:
    """The exo training set without its frames."""
    return checked_annotations(build_source(cfg.EXO.DATASET, cfg, "train", "exo"))


def _narrations(
    ego: Sequence[Segment], exo: Sequence[Segment], cfg: CfgNode
) -> tuple[Narrations, Narrations]:
    """The embedded narrations of both lists, in one call so that the encoder is loaded once."""
    distinct = [list(dict.fromkeys(one.narration for one in view)) for view in (ego, exo)]
    for view, segments in (("ego", ego), ("exo", exo)):
        silent = [segment for segment in segments if not segment.narration.strip()]
        if silent:
            raise UserError(
                f"{len(silent)} {view} segment(s) such as {silent[0].segment_id} have no "
                "narration; SUM-L needs a narration for every training segment"
            )
    vectors = encode_narrations([*distinct[0], *distinct[1]], cfg)
    parts = vectors[: len(distinct[0])], vectors[len(distinct[0]) :]
    result = []
    for texts, part, segments in zip(distinct, parts, (ego, exo), strict=True):
        row = {text: number for number, text in enumerate(texts)}
        rows = np.array([row[segment.narration] for segment in segments], np.int64)
        result.append(Narrations(part, rows))
    return result[0], result[1]


def other_table(cfg: CfgNode) -> str:
    """Describe the table of other settings that mining would overwrite; "" if there is none."""
    path = _written_table(cfg)
    if not path.exists():
        return ""
    try:
        table = PairTable.load(path)
    except UserError as error:
        return f"{path} exists, but is not a readable pair table ({error})"
    settings = mining_settings(cfg)
    if dict(table.settings) == {**settings, **{k: v for k, v in table.settings.items() if not v}}:
        return ""
    mined = ", ".join(f"{name} {value}" for name, value in table.settings.items() if value)
    return f"{path} exists, with {mined}"


def _written_table(cfg: CfgNode) -> Path:
    """SUML.PAIRS.FILE as the file to write. Raises: UserError if it is a URL."""
    path = input_path(cfg.SUML.PAIRS.FILE)
    if isinstance(path, str):
        raise UserError(
            f"SUML.PAIRS.FILE is {path}, but a pair table cannot be written to a URL; set it to a"
            " local file"
        )
    return path


def _write(table: PairTable, given: MiningInput, cfg: CfgNode) -> MiningReport:
    path, labelled = _written_table(cfg), given.exo_labels is not None
    result = report(table, given.ego_text, given.exo_text, cfg.SUML.ALIGN.THRESHOLD, labelled)
    try:
        table.save(path)
    except OSError as error:
        raise UserError(
            f"pair table {path} cannot be written: {error.strerror}; set SUML.PAIRS.FILE"
        ) from error
    names = None
    if labelled:
        known = class_names(cfg, "ego", ego_heads(cfg))
        names = [known[head] for head in TIER_HEADS]
    if cfg.EXO.MORE:
        logger.info("%s", ExoMix(exo_sources(cfg), given.exo).counts(table.indices))
    for line in (*result.lines(), *pair_details(table, given.ego, given.exo, names)):
        logger.info("%s", line)
    logger.info("pair table %s", path)
    return result
