"""Loop over every test segment exactly once, on any number of ranks; resumes where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from slowfast.datasets.build import VideoDataset
from slowfast.datasets.loading.loader import build_loader
from slowfast.datasets.selection import Selection
from slowfast.datasets.types import SegmentViews
from slowfast.engine.testing import shards
from slowfast.engine.testing.fingerprint import Key
from slowfast.engine.testing.shards import Found, Record, ShardWriter
from slowfast.utils import distributed
from slowfast.utils.progress import progress_line

logger = logging.getLogger(__name__)


def run_segments(
    cfg: CfgNode,
    dataset: VideoDataset,
    score: Callable[[SegmentViews], Record],
    folder: Path,
    key: Key,
    *,
    keep: bool,
    ragged: Sequence[str] = (),
    title: str = "test",
) -> tuple[Found, dict[int, Record]]:
    """Score all segments that are missing in `folder`: (stored ones, added ones).

    All processes call it. Only rank 0 knows the stored ones; with `keep`, the records added by this
    process are returned by segment. Records are written every TEST.PARTIAL_SEC seconds and at the
    end, also after an error.
    """
    found, plan = Found(), None
    if distributed.is_main():
        found = _usable(folder, key)
        remaining = sorted(set(range(len(dataset))) - found.done)
        plan = (remaining, found.next_run)
    remaining, run = distributed.broadcast_object(plan)
    writer = ShardWriter(
        folder,
        key,
        run=run,
        rank=distributed.rank(),
        period_sec=cfg.TEST.PARTIAL_SEC,
        ragged=ragged,
    )
    records: dict[int, Record] = {}
    loader = build_loader(
        cfg, Selection(dataset, remaining), "test", distributed.rank(), distributed.world_size()
    )
    try:
        with (
            loader.naming_lost_workers(),
            progress_line(title, len(loader), "segments") as line,
        ):
            for segment in loader:
                record = score(segment)
                writer.add(segment.index, record)
                if keep:
                    records[segment.index] = record
                line.advance()
    finally:
        loader.close()
        writer.flush()
    return found, records


def _usable(folder: Path, key: Key) -> Found:
    found = shards.find(folder, key)
    if found.stale:
        logger.info("files in %s are of another test (%s): not used", folder, found.stale)
    if found.damage:
        logger.warning("%s; until then its segments are scored again", found.damage)
    if found.done:
        logger.info("found %d finished segments in %s", len(found.done), folder)
    return found
