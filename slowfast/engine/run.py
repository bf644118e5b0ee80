"""One run: train if TRAIN.ENABLE, then test if TEST.ENABLE."""

from __future__ import annotations

from contextlib import nullcontext

from fvcore.common.config import CfgNode

from slowfast.engine.announce import announce_end
from slowfast.engine.preflight.device_checks import check_device
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.processes.setup import lock_for_test, prepared
from slowfast.engine.processes.signals import StopRequests
from slowfast.engine.tester import plan_test, test
from slowfast.engine.trainer import train


def run(cfg: CfgNode, process: ProcessInfo) -> None:
    """Train and test as the config says, in one process of the run."""
    with StopRequests() as stop, prepared(cfg, process) as check_lock:
        check_device(cfg, process.device, process.world_size)
        # Before training: a mistake in TEST keys must not wait for its end.
        plan = plan_test(cfg) if cfg.TEST.ENABLE else None
        trained = train(cfg, process.device, stop, check_lock) if cfg.TRAIN.ENABLE else None
        if plan is not None:
            with lock_for_test(cfg) if cfg.TRAIN.ENABLE else nullcontext():
                test(cfg, process.device, plan, trained)
        announce_end(cfg)
