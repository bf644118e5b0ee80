"""Ego segments joined with unpaired exo ones (SUM-L): the joined data set `ego_exo`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch.utils.data import Dataset

from slowfast.config.derived import aligns_by_factor, compares_labels, uses_exo
from slowfast.config.exo_sources import exo_sources
from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.from_cfg import checked_annotations, segment_dataset
from slowfast.datasets.pairing.ego_labels import shared_classes
from slowfast.datasets.pairing.exo_mix import ExoMix
from slowfast.datasets.pairing.narrations import NarrationTable
from slowfast.datasets.pairing.pairs import IMPORTED, PairTable
from slowfast.datasets.partial import LeftOut, kept_positions, listed_segments
from slowfast.datasets.registry import JOINED_REGISTRY, build_source
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import (
    ClipSample,
    PairedSample,
    SampleKey,
    Segment,
    UnionAnnotations,
)
from slowfast.utils.digests import array_digest, file_digest
from slowfast.utils.errors import UserError
from slowfast.utils.paths import input_path, local_path
from slowfast.utils.reading import require_file
from slowfast.utils.seeding import Stream, generator

logger = logging.getLogger(__name__)


def ego_exo(cfg: CfgNode, split: str) -> EgoExoDataset | SegmentDataset:
    """EGO.DATASET joined with EXO.DATASET for training; the ego data set alone otherwise.

    Raises: UserError for bad data, or a pair table or narration cache that does not fit it.
    """
    ego = segment_dataset(build_source(cfg.EGO.DATASET, cfg, split, "ego"))
    if split != "train":
        return ego
    for source in exo_sources(cfg) if cfg.SUML.PAIRS.MINING != "text" else ():
        if label_map := source.cfg.SUML.PAIRS.LABEL_MAP:
            digest = file_digest(local_path(label_map, "SUML.PAIRS.LABEL_MAP"))
            ego.digests[f"label map {source.name}".strip()] = digest
    exo_source = build_source(cfg.EXO.DATASET, cfg, split, "exo")
    annotations = checked_annotations(exo_source)
    exo = segment_dataset(exo_source, annotations=annotations)
    path = input_path(cfg.SUML.PAIRS.FILE)
    pairs = PairTable.load(path)
    pairs.check(path, listed_segments(ego), listed_segments(exo), mining_settings(cfg))
    if ego.left_out is not None or exo.left_out is not None:
        pairs = pairs.restricted(kept_positions(ego), kept_positions(exo))
    by_factor = aligns_by_factor(cfg)
    if by_factor and pairs.settings["mining"] == IMPORTED:
        raise UserError(
            "SUML.ALIGN.KIND factorised needs partners by verb and by noun, which the imported pair"
            f" table {path} does not tell apart; run tools/mine_pairs.py with this config"
        )
    if cfg.SUML.PAIRS.SHUFFLE:
        logger.warning("SUML.PAIRS.SHUFFLE is True: pairs are random, for a control experiment")
        pairs = shuffled(pairs, generator(cfg.RNG_SEED, 0, 0, Stream.PAIR_SHUFFLE))
    mix = None
    if isinstance(annotations, UnionAnnotations):
        mix = _exo_mix(cfg, exo, annotations)
        logger.info("%s", mix.counts(pairs.indices))
    texts = [segment.narration for segment in (*ego.segments, *exo.segments)]
    narrations = NarrationTable.load(
        cfg.SUML.CACHE_DIR, cfg.SUML.ENCODER, cfg.SUML.EMBED_DIM, texts
    )
    logger.info(
        "pairs: %d ego and %d exo segments, %d distinct narrations, table %s",
        len(ego),
        len(exo),
        len(narrations.vectors),
        path,
    )
    return EgoExoDataset(
        ego,
        exo,
        pairs,
        narrations,
        seed=cfg.RNG_SEED,
        by_factor=by_factor,
        exo_stream=cfg.SUML.EXO_STREAM,
        exo_frames=uses_exo(cfg),
        mix=mix,
    )


def _exo_mix(cfg: CfgNode, exo: SegmentDataset, annotations: UnionAnnotations) -> ExoMix:
    """Draws of several exo sets. annotations: of the whole list."""
    classes = shared_classes(cfg, annotations) if compares_labels(cfg) else None
    if classes is not None:
        classes = [has[kept_positions(exo)] for has in classes]
    return ExoMix(exo_sources(cfg), exo.segments, classes)


def shuffled(pairs: PairTable, rng: np.random.Generator) -> PairTable:
    """Shuffle the rows of candidates; similarities and tiers become 0, as they are unknown."""
    return replace(
        pairs,
        indices=pairs.indices[rng.permutation(pairs.ego_count)],
        similarity=np.zeros_like(pairs.similarity),
        tier=np.zeros_like(pairs.tier),
    )


def mining_settings(cfg: CfgNode) -> dict[str, str | int]:
    """Config values that a pair table depends on; keys as in PairTable.settings.

    Raises: UserError if the list of given pairs cannot be read.
    """
    mining, pairs = cfg.SUML.PAIRS.MINING, cfg.SUML.PAIRS
    if pairs.MODE == "paired":
        partners = local_path(pairs.PAIRED_FILE, "SUML.PAIRS.PAIRED_FILE")
        require_file(partners, "a list of pairs", "set SUML.PAIRS.PAIRED_FILE")
        return {"mining": "paired", "encoder": cfg.SUML.ENCODER, "partners": file_digest(partners)}
    settings: dict[str, str | int] = {
        "mining": mining,
        "top_k": cfg.SUML.PAIRS.TOP_K,
        "encoder": cfg.SUML.ENCODER,
        "label_map": cfg.SUML.PAIRS.LABEL_MAP if mining != "text" else "",
    }
    for source in exo_sources(cfg)[1:] if mining != "text" else ():
        settings[f"label_map {source.name}"] = source.cfg.SUML.PAIRS.LABEL_MAP
    if pairs.INDEX == "ivf" and mining in ("text", "tiers_text"):
        settings["index"] = f"ivf of {pairs.IVF_LISTS} lists, {pairs.IVF_PROBES} probes"
    return settings


class EgoExoDataset(Dataset[PairedSample]):
    """One item per ego segment: its clip, and a clip of one of its exo candidates.

    A new candidate is drawn in every epoch. An ego segment without candidates is joined with
    any exo segment; the alignment threshold then rejects the pair. All clips carry the
    embedding of their narration.

    by_factor: an item has two partners, by verb and by noun; each says whether it shares the label.
    exo_stream: an item has a second exo clip, drawn from the whole exo set.
    exo_frames: False if nothing uses the pixels of exo clips; their frames are then not decoded.
    mix: draws the exo clips if they are of several sets; None: they are of one.
    """

    def __init__(
        self,
        ego: SegmentDataset,
        exo: SegmentDataset,
        pairs: PairTable,
        narrations: NarrationTable,
        *,
        seed: int,
        by_factor: bool = False,
        exo_stream: bool = False,
        exo_frames: bool = True,
        mix: ExoMix | None = None,
    ) -> None:
        """seed: seed of the pairing; `ego` and `exo` have their own.

        Raises: UserError for a narration that the table lacks.
        """
        if (pairs.ego_count, pairs.exo_count) != (len(ego), len(exo)):
            raise ValueError(f"pairs of {pairs.ego_count} and {pairs.exo_count} segments")
        self.ego = ego
        self.exo = exo
        self.pairs = pairs
        # other_exo needs a separate data set, because its clips are stored in separate memory.
        self._other = exo.drawing_from(Stream.OTHER_EXO_CLIP) if by_factor or exo_stream else None
        self._tables: Sequence[PairTable] = pairs.by_factor if by_factor else [pairs]
        self._by_factor = by_factor
        self._exo_frames = exo_frames
        self._mix = mix
        self._seed = seed
        self._vectors = narrations.vectors
        self._ego_rows = narrations.rows([segment.narration for segment in ego.segments])
        self._exo_rows = narrations.rows([segment.narration for segment in exo.segments])

    @property
    def segments(self) -> Sequence[Segment]:
        return self.ego.segments

    @property
    def transform(self) -> DeviceTransform:
        return self.ego.transform

    @property
    def left_out(self) -> LeftOut | None:
        return self.ego.left_out

    @property
    def digests(self) -> dict[str, str]:
        rows = (self._ego_rows, self._exo_rows, self._vectors.numpy())
        classes = self._mix.ego_classes if self._mix is not None else None
        return {
            **self.ego.digests,
            **{f"exo {name}": digest for name, digest in self.exo.digests.items()},
            "pair table": self.pairs.digest,
            "narrations": array_digest(*rows),
            **({} if classes is None else {"exo labels as ego classes": array_digest(*classes)}),
        }

    def __len__(self) -> int:
        return len(self.ego)

    def __getitem__(self, key: int | SampleKey) -> PairedSample:
        sample = key if isinstance(key, SampleKey) else SampleKey(0, key)
        ego = self.ego.train_clip(sample)
        ego.text = self._vectors[self._ego_rows[sample.index]]
        exo = self._exo_clip(self.exo, sample, self.partner(sample))
        if self._other is None:
            return PairedSample(ego, exo)
        other = self._exo_clip(self._other, sample, self.other_exo(sample))
        if self._by_factor:
            for clip, table in zip((exo, other), self._tables, strict=True):
                clip.shares_label = torch.tensor(table.has_candidate(sample.index))
        return PairedSample(ego, exo, other)

    def partner(self, key: SampleKey) -> int:
        """The ego segment's exo partner in the epoch; with by_factor, its partner by verb."""
        rng = generator(self._seed, key.epoch, key.index, Stream.PAIR)
        return self._drawn(self._tables[0], key.index, rng)

    def other_exo(self, key: SampleKey) -> int:
        """The exo segment of the item's second exo clip in the epoch."""
        rng = generator(self._seed, key.epoch, key.index, Stream.OTHER_EXO)
        if self._by_factor:
            return self._drawn(self._tables[1], key.index, rng)
        if self._mix is not None:
            return self._mix.draw(np.empty(0, np.int64), rng)
        return int(rng.integers(len(self.exo)))

    def clip_sources(self) -> list[SegmentDataset]:
        """The data sets of an item's clips, in their order."""
        return [self.ego, self.exo] if self._other is None else [self.ego, self.exo, self._other]

    def clip(self, index: int, view: int | None = None) -> ClipSample:
        """The validation view of one ego segment, or test view `view`."""
        return self.ego.clip(index, view)

    def _drawn(self, table: PairTable, row: int, rng: np.random.Generator) -> int:
        if self._mix is None:
            return table.draw(row, rng)
        candidates = table.indices[row]
        return self._mix.draw(candidates[candidates >= 0], rng)

    def _exo_clip(self, exo: SegmentDataset, key: SampleKey, segment: int) -> ClipSample:
        # The exo clip's own randomness comes from this number, so that two ego segments that
        # draw the same exo segment in one epoch see different clips of it.
        draw = key.epoch * len(self) + key.index
        if self._exo_frames:
            clip = exo.train_clip(SampleKey(draw, segment))
        else:
            clip = exo.frameless_clip(segment)
        clip.text = self._vectors[self._exo_rows[segment]]
        if self._mix is not None:
            clip.labels = self._mix.labels(clip.labels, segment)
            clip.ego_classes = self._mix.classes(segment)
        return clip


JOINED_REGISTRY.add("ego_exo", ego_exo)
