"""Time and memory of a SUM-L epoch on synthetic features of EPIC-KITCHENS-100's size."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode

from slowfast.config.heads import exo_heads
from slowfast.datasets.ego_exo import EgoExoDataset
from slowfast.datasets.features.dataset import FeatureDataset
from slowfast.datasets.features.files import feature_files
from slowfast.datasets.features.store import FeatureStore
from slowfast.datasets.from_cfg import clip_settings
from slowfast.datasets.loading.loader import build_loader
from slowfast.datasets.pairing.narrations import NarrationTable
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.datasets.types import Segment
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.update import Update, update_options
from slowfast.lab.benchmark.report import Check, Report
from slowfast.models.registry import model_spec
from slowfast.tasks.build import build_training

_SHARD = 8192
_EPOCH_SEC, _MEMORY_GB = 60.0, 2.0
_KEYS = (
    *("TRAIN.ON_FEATURES", True, "TRAIN.DATASET", "ego_exo", "SUML.ENABLE", True),
    *("MODEL.MODEL_NAME", "EgoExoSlowFast", "MODEL.NUM_CLASSES_LIST", [97, 300]),
    *("NUM_GPUS", 0, "TRAIN.BATCH_SIZE", 1024, "SOLVER.OPTIMIZING_METHOD", "adamw"),
)


def features_cfg(cfg: CfgNode, width: int, overrides: Sequence[str] = ()) -> CfgNode:
    """SUM-L on features of `width` channels, with the heads of EPIC-100 and LEMMA."""
    cfg.merge_from_list([*_KEYS, "MODEL.BACKBONE", f"features:{width}", *overrides])
    return cfg


def features_benchmark(
    cfg: CfgNode, folder: Path, counts: tuple[int, int], views: int, threads: int
) -> Report:
    """One epoch in this process, with the files already read.

    counts: ego and exo segments. The limits are those of 67,217 and 40,000 segments of 1,024
    channels and 4 views on two cores.
    """
    torch.set_num_threads(threads)
    width = int(cfg.MODEL.BACKBONE.split(":")[1])
    ego, exo = (_segments(view, count) for view, count in zip(("ego", "exo"), counts, strict=True))
    for view, segments in (("ego", ego), ("exo", exo)):
        _write(folder / view, segments, views, width)
    start = time.perf_counter()
    dataset = _joined(cfg, folder, ego, exo, width)
    reading = time.perf_counter() - start
    torch.manual_seed(cfg.RNG_SEED)
    model, task = build_training(cfg)
    update = Update(model, model, task, build_optimizer(model, cfg), update_options(cfg))
    loader = build_loader(cfg, dataset, "train")
    start, used = time.perf_counter(), time.process_time()
    waited, data = start, 0.0
    for number, batch in enumerate(loader):
        data += time.perf_counter() - waited
        update(batch, 0, number)
        waited = time.perf_counter()
    epoch, used = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return Report(
        "features",
        [],
        [
            Check("an epoch", epoch, _EPOCH_SEC, "s"),
            Check("peak memory of the process", peak, _MEMORY_GB, "GB"),
        ],
        [
            f"{counts[0]} ego and {counts[1]} exo segments, {views} views of {width} channels in"
            f" half precision; batches of {cfg.TRAIN.BATCH_SIZE} pairs, {threads} threads",
            f"reading the files takes {reading:.1f} s, batches {data:.1f} s of the epoch, which"
            f" takes {used:.1f} s of processor time",
        ],
    )


def _segments(view: str, count: int) -> list[Segment]:
    draw = np.random.default_rng(len(view)).integers(0, 25, (count, 2)).tolist()
    return [
        Segment(f"{view}_{k}", view, view, 1, 60, f"{verb} {noun}", ((verb,), (noun,)))
        for k, (verb, noun) in enumerate(draw)
    ]


def _write(folder: Path, segments: Sequence[Segment], views: int, width: int) -> None:
    folder.mkdir()
    draw = np.random.default_rng(0)
    for start in range(0, len(segments), _SHARD):
        ids = np.array([segment.segment_id for segment in segments[start : start + _SHARD]])
        made = draw.standard_normal((len(ids), views, width), np.float32).astype(np.float16)
        np.savez(folder / f"{start:08d}.npz", segment_id=ids, views=made)


def _joined(
    cfg: CfgNode, folder: Path, ego: Sequence[Segment], exo: Sequence[Segment], width: int
) -> EgoExoDataset:
    """The training set of both views, with random pairs and narrations."""
    heads = {"ego": model_spec(cfg).heads(cfg), "exo": exo_heads(cfg)}
    sides = [
        FeatureDataset(
            segments,
            "train",
            FeatureStore(feature_files([str(folder / view)], view), segments, width),
            clip_settings(cfg, view, heads[view]),
        )
        for view, segments in (("ego", ego), ("exo", exo))
    ]
    draw = np.random.default_rng(1)
    shape = (len(ego), cfg.SUML.PAIRS.TOP_K)
    pairs = PairTable(
        indices=draw.integers(0, len(exo), shape).astype(np.int32),
        similarity=np.ones(shape, np.float32),
        tier=np.zeros(shape, np.uint8),
        settings={"mining": "text"},
        ego_hash="",
        exo_hash="",
        exo_count=len(exo),
    )
    texts = list(dict.fromkeys(segment.narration for segment in (*ego, *exo)))
    vectors = draw.standard_normal((len(texts), cfg.SUML.EMBED_DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    narrations = NarrationTable(texts, torch.from_numpy(vectors))
    return EgoExoDataset(sides[0], sides[1], pairs, narrations, seed=cfg.RNG_SEED)
