"""Ego segments joined with unpaired exo ones (SUM-L): the data set `ego_exo` from its config."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry
from torch.utils.data import Dataset

from slowfast.datasets.device_transform import DeviceTransform
from slowfast.datasets.epic import epickitchen
from slowfast.datasets.narrations import NarrationTable
from slowfast.datasets.pairs import PairTable
from slowfast.datasets.registry import DATASET_REGISTRY
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import ClipSample, PairedSample, SampleKey, Segment
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream, generator

logger = logging.getLogger(__name__)


@DATASET_REGISTRY.register()
def ego_exo(cfg: CfgNode, split: str) -> EgoExoDataset | SegmentDataset:
    """The joined training set; in validation and test the ego data set.

    Raises: UserError for bad data, or a pair table or narration cache that does not fit it.
    """
    ego = epickitchen(cfg, split)
    if split != "train":
        return ego
    exo: SegmentDataset = exo_entry(DATASET_REGISTRY, cfg)(cfg, split)
    path = Path(cfg.SUML.PAIRS.FILE)
    pairs = PairTable.load(path)
    pairs.check(path, ego.segments, exo.segments, mining_settings(cfg))
    if cfg.SUML.PAIRS.SHUFFLE:
        logger.warning("SUML.PAIRS.SHUFFLE True: the pairs mean nothing, which is a control")
        pairs = shuffled(pairs, generator(cfg.RNG_SEED, 0, 0, Stream.PAIR_SHUFFLE))
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
    return EgoExoDataset(ego, exo, pairs, narrations, seed=cfg.RNG_SEED)


def shuffled(pairs: PairTable, rng: np.random.Generator) -> PairTable:
    """The rows of candidates in another order; similarities and tiers are then not known: 0."""
    return replace(
        pairs,
        indices=pairs.indices[rng.permutation(pairs.ego_count)],
        similarity=np.zeros_like(pairs.similarity),
        tier=np.zeros_like(pairs.tier),
    )


def exo_entry(registry: Registry, cfg: CfgNode) -> Callable[[CfgNode, str], Any]:
    """What a registry holds for EXO.DATASET. Raises: UserError for an unknown name."""
    if cfg.EXO.DATASET not in registry:
        known = ", ".join(sorted(name for name, _ in registry))
        raise UserError(f"EXO.DATASET {cfg.EXO.DATASET} is unknown; choose one of {known}")
    entry: Callable[[CfgNode, str], Any] = registry.get(cfg.EXO.DATASET)
    return entry


def mining_settings(cfg: CfgNode) -> dict[str, str | int]:
    """What a pair table depends on beside the two lists; keys as in PairTable.settings."""
    mining, pairs = cfg.SUML.PAIRS.MINING, cfg.SUML.PAIRS
    settings: dict[str, str | int] = {
        "mining": mining,
        "top_k": cfg.SUML.PAIRS.TOP_K,
        "encoder": cfg.SUML.ENCODER,
        "label_map": cfg.SUML.PAIRS.LABEL_MAP if mining != "text" else "",
    }
    if pairs.INDEX == "ivf" and mining != "tiers":
        settings["index"] = f"ivf of {pairs.IVF_LISTS} lists, {pairs.IVF_PROBES} probes"
    return settings


class EgoExoDataset(Dataset[PairedSample]):
    """One item per ego segment: its clip, and a clip of one of its exo candidates.

    The candidate is drawn anew in every epoch; an ego segment without candidates is joined with
    any exo segment, which the threshold of the alignment then sorts out. Both clips carry the
    embedding of their narration.
    """

    def __init__(
        self,
        ego: SegmentDataset,
        exo: SegmentDataset,
        pairs: PairTable,
        narrations: NarrationTable,
        *,
        seed: int,
    ) -> None:
        """seed: of the draw; `ego` and `exo` have their own.

        Raises: UserError for a narration that the table lacks.
        """
        if (pairs.ego_count, pairs.exo_count) != (len(ego), len(exo)):
            raise ValueError(f"pairs of {pairs.ego_count} and {pairs.exo_count} segments")
        self.ego = ego
        self.exo = exo
        self.pairs = pairs
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

    def __len__(self) -> int:
        return len(self.ego)

    def __getitem__(self, key: int | SampleKey) -> PairedSample:
        sample = key if isinstance(key, SampleKey) else SampleKey(0, key)
        partner = self.partner(sample)
        ego = self.ego.train_clip(sample)
        # The exo clip's own randomness comes from this number, so that two ego segments that
        # draw the same exo segment in one epoch see different clips of it.
        draw = sample.epoch * len(self) + sample.index
        exo = self.exo.train_clip(SampleKey(draw, partner))
        ego.text = self._vectors[self._ego_rows[sample.index]]
        exo.text = self._vectors[self._exo_rows[partner]]
        return PairedSample(ego, exo)

    def partner(self, key: SampleKey) -> int:
        """The exo segment that the ego segment is joined with in the epoch."""
        return self.pairs.draw(key.index, self._generator(key))

    def clip(self, index: int, view: int | None = None) -> ClipSample:
        """The validation view of one ego segment, or test view `view`."""
        return self.ego.clip(index, view)

    def _generator(self, key: SampleKey) -> np.random.Generator:
        return generator(self._seed, key.epoch, key.index, Stream.PAIR)
