"""The test loop: every segment once, on whichever rank, whatever their number."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from fvcore.common.config import CfgNode

from slowfast.datasets.build import VideoDataset, build_dataset
from slowfast.datasets.loader import build_loader
from slowfast.engine.checkpoint import load_test_weights, newest_checkpoint
from slowfast.engine.outcome import write_outcome
from slowfast.engine.progress import progress_line
from slowfast.engine.view_scoring import SegmentScorer, SegmentScores
from slowfast.models.build import build_test_model
from slowfast.utils import distributed
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)


@dataclass
class TestPlan:
    """What a test needs that can be found out before a training: its segments, its chunks."""

    # Not a test case, whatever its name.
    __test__ = False

    dataset: VideoDataset
    chunk_views: int


def plan_test(cfg: CfgNode) -> TestPlan:
    """Raises: UserError for lists, folders, files or sizes that do not fit."""
    chunk_views = min(cfg.TEST.CHUNK_VIEWS, _views_in_flight(cfg))
    named = _path(cfg.TEST.CHECKPOINT_FILE_PATH)
    if named is not None and not named.is_file():
        raise UserError(f"TEST.CHECKPOINT_FILE_PATH {named} is no file; correct the path")
    return TestPlan(build_dataset(cfg.TEST.DATASET, cfg, "test"), chunk_views)


def test(cfg: CfgNode, device: torch.device, plan: TestPlan, trained: Path | None) -> None:
    """Score every test segment; rank 0 writes predictions and results below OUTPUT_DIR.

    trained: the checkpoint of the training that just ended in this run.
    """
    path = checkpoint_to_test(cfg, trained)
    dataset = plan.dataset
    loader = build_loader(cfg, dataset, "test", distributed.rank(), distributed.world_size())
    model = build_test_model(cfg)
    load_test_weights(model, path, cfg)
    model.to(device).eval()
    scorer = SegmentScorer(
        model,
        dataset.transform,
        chunk_views=plan.chunk_views,
        method=cfg.DATA.ENSEMBLE_METHOD,
        logits=cfg.TEST.NO_ACT,
        device=device,
    )
    logger.info(
        "testing %d segments, %d x %d views, %d views in a forward pass",
        len(dataset),
        cfg.TEST.NUM_ENSEMBLE_VIEWS,
        cfg.TEST.NUM_SPATIAL_CROPS,
        scorer.chunk_views,
    )
    mine: dict[int, SegmentScores] = {}
    with progress_line("test", len(loader), "segments") as line:
        for segment in loader:
            mine[segment.index] = scorer(segment)
            line.advance()
    loader.close()
    scored: dict[int, SegmentScores] = {}
    for part in distributed.gather_objects(mine):
        scored.update(part)
    if len(scored) != len(dataset):
        raise RuntimeError(f"{len(scored)} of {len(dataset)} test segments were scored")
    if distributed.is_main():
        write_outcome(cfg, dataset.segments, [scored[i] for i in range(len(dataset))])


def checkpoint_to_test(cfg: CfgNode, trained: Path | None) -> Path:
    """TEST.CHECKPOINT_FILE_PATH, else the run's own, else TRAIN's, else OUTPUT_DIR's newest.

    The log names the one taken and those passed over (OUTPUT_DIR is looked at, which reads whole
    files, only where nothing is named). Raises: UserError where there is none.
    """
    named: list[tuple[str, Path | None]] = [
        ("TEST.CHECKPOINT_FILE_PATH", _path(cfg.TEST.CHECKPOINT_FILE_PATH)),
        ("this training", trained),
        ("TRAIN.CHECKPOINT_FILE_PATH", _path(cfg.TRAIN.CHECKPOINT_FILE_PATH)),
    ]
    usable = [(source, path) for source, path in named if path is not None]
    if not usable and (newest := newest_checkpoint(cfg)):
        usable = [("the newest in OUTPUT_DIR", newest)]
    if not usable:
        raise UserError(
            f"no checkpoint to test: OUTPUT_DIR {cfg.OUTPUT_DIR} holds none; "
            "set TEST.CHECKPOINT_FILE_PATH"
        )
    (source, taken), *others = usable
    logger.info("testing checkpoint %s (%s)", taken, source)
    for other_source, other in others:
        if other != taken:
            logger.info("passed over checkpoint %s (%s)", other, other_source)
    return taken


def _views_in_flight(cfg: CfgNode) -> int:
    """This process's part of TEST.BATCH_SIZE. Raises: UserError where it does not divide."""
    total, world = cfg.TEST.BATCH_SIZE, distributed.world_size()
    if total % world:
        raise UserError(
            f"TEST.BATCH_SIZE {total} does not divide over {world} processes; "
            f"set TEST.BATCH_SIZE {max(1, round(total / world)) * world}"
        )
    return int(total // world)


def _path(text: str) -> Path | None:
    return Path(text) if text else None
