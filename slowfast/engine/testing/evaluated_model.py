"""A model made ready for a test: on its device, in its precision, without batch norms."""

from __future__ import annotations

import logging

import torch
from fvcore.common.config import CfgNode
from torch import nn

from slowfast.engine.step.precision import set_precision
from slowfast.models.norms import fold_batch_norms

logger = logging.getLogger(__name__)


def ready_for_test(model: nn.Module, cfg: CfgNode, device: torch.device) -> nn.Module:
    """The model, in eval mode, as TEST.FOLD_BN and TEST.PRECISION say; behind its weights."""
    model.to(device).eval()
    if cfg.TEST.FOLD_BN:
        logger.info("%d batch norms folded into convolutions", fold_batch_norms(model))
    set_precision(model, cfg.TEST.PRECISION, device)
    return model
